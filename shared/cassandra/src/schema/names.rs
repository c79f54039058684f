//! CQL identifiers: names with anything but lower-case letters, digits and `_`, or reserved words,
//! stand in double quotes, inside which a double quote is doubled.

/// The name as it must stand in a statement. Always quoted: right for reserved words of every
/// version.
pub fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The name as stored, from the name as `DESCRIBE` prints it.
pub fn unquote_name(text: &str) -> String {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_undone() {
        for name in ["plain", "Odd", "with \"quotes\"", "", "select"] {
            assert_eq!(unquote_name(&quote_name(name)), name);
        }
        assert_eq!(unquote_name("plain"), "plain");
        assert_eq!(unquote_name("\""), "\"");
    }
}
