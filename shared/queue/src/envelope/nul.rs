//! Finds an escaped NUL in JSON text. Valid JSON holds control characters only as escapes, so after
//! a successful parse this is the only way a NUL can be in a string.

const NUL: &[u8] = br"\u0000";
/// The replacement character, in as many bytes.
const REPLACEMENT: &[u8] = br"\ufffd";

/// Whether `json` contains an escaped NUL, and not merely an escaped backslash before `u0000`.
pub(super) fn has_escaped_nul(json: &[u8]) -> bool {
    find(json, 0).is_some()
}

/// Puts the replacement character in the place of every escaped NUL.
pub(super) fn replace_escaped_nul(json: &mut [u8]) {
    let mut from = 0;
    while let Some(at) = find(json, from) {
        from = at + NUL.len();
        json[at..from].copy_from_slice(REPLACEMENT);
    }
}

/// Where the first escaped NUL begins; `from` is not within an escape.
fn find(json: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let at = from + json.get(from..)?.iter().position(|byte| *byte == b'\\')?;
        if json[at..].starts_with(NUL) {
            return Some(at);
        }
        // A backslash and what it escapes.
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use super::{has_escaped_nul, replace_escaped_nul};

    #[test]
    fn only_a_real_nul_counts() {
        assert!(has_escaped_nul(br#"{"a":"x\u0000"}"#));
        assert!(has_escaped_nul(br#""\\\u0000""#));
        assert!(!has_escaped_nul(br#""\\u0000""#));
        assert!(!has_escaped_nul(br#""\u0001\n u0000""#));
        assert!(!has_escaped_nul(b"\\"));
    }

    #[test]
    fn every_nul_is_replaced_and_nothing_else() {
        let mut json = br#"{"a":"\u0000\u0000 \\u0000 \\\u0000"}"#.to_vec();
        replace_escaped_nul(&mut json);
        assert_eq!(json, br#"{"a":"\ufffd\ufffd \\u0000 \\\ufffd"}"#);
        let text: serde_json::Value = serde_json::from_slice(&json).expect("still JSON");
        assert_eq!(text["a"], "\u{fffd}\u{fffd} \\u0000 \\\u{fffd}");
    }
}
