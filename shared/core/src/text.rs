//! What came from outside, as far as an error repeats it. An error is logged, stored and answered: it
//! must stay readable, whatever the size of what it is about.

/// Longest piece of one value that an error repeats, in bytes.
pub const LONGEST_VALUE: usize = 256;
/// Longest account of what is wrong that is taken over from a parser, in bytes.
pub const LONGEST_CAUSE: usize = 1024;

/// A value as an error repeats it.
pub fn excerpt(value: &str) -> String {
    cut(value, LONGEST_VALUE)
}

/// A parser's own words, which hold the value they are about.
pub fn cause(error: impl std::fmt::Display) -> String {
    cut(&error.to_string(), LONGEST_CAUSE)
}

/// Beginning and end of `text`, together at most `most` bytes: parsers say the place last.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let head = text.floor_char_boundary(most - most / 4);
    let tail = text.ceil_char_boundary(text.len() - most / 4);
    format!("{} […] {}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_keeps_its_beginning_and_its_end() {
        assert_eq!(excerpt("short é"), "short é");
        let long = cause(format!("unknown field {}, at line 7", "é".repeat(5000)));
        assert!(long.len() < LONGEST_CAUSE + 10, "{}", long.len());
        assert!(long.starts_with("unknown field é") && long.ends_with(", at line 7"), "{long}");
    }
}
