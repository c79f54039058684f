//! TOML from outside: policy files and configurations.
//!
//! `toml` limits how deeply arrays and inline tables nest, so that its parser, which calls itself for each
//! level, cannot fill the stack, which would end the whole program. Its limit can be got round (1.2: a
//! bracket where a comma must stand counts as a level left, never as one entered: `{ a = 1 [], b = { …`),
//! so the levels are counted here first. **Why that is enough:** a level here is left only by the bracket
//! that closes the innermost one, at which the parser returns from it too; so it is never deeper than what
//! is counted. In good TOML every bracket is closed in turn, so nothing good is refused.

use serde::de::{DeserializeOwned, Error as _};
use toml_parser::{Source, lexer::TokenKind};

/// Most levels of brackets, as in `toml`.
const MAX_DEPTH: usize = 80;

/// Reads a document.
pub fn from_toml<T: DeserializeOwned>(text: &str) -> Result<T, toml::de::Error> {
    if let Some(at) = too_deep(text) {
        let line = text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
        let why = format!("TOML parse error at line {line}: brackets within more than {MAX_DEPTH} others");
        return Err(toml::de::Error::custom(why));
    }
    toml::from_str(text)
}

/// Where the first bracket is that stands within too many others, in bytes.
fn too_deep(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftCurlyBracket => open.push(TokenKind::RightCurlyBracket),
            TokenKind::LeftSquareBracket => open.push(TokenKind::RightSquareBracket),
            kind if open.last() == Some(&kind) => drop(open.pop()),
            _ => {}
        }
        if open.len() > MAX_DEPTH {
            return Some(token.span().start());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<toml::Table, String> {
        from_toml(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_nests_too_deeply_is_refused_with_its_line() {
        let nested = |depth| format!("x = 1\na = {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(read(&nested(70)).is_ok());
        for open in [
            "[",
            "{ a = ",
            "{ a = 1 [], b = ",
            "{ a = [ { ] , b = ",
            "{ a = \"}\" {}, b = ",
            "{ b\"\n[]\nr = ",
        ] {
            let error = read(&format!("x = 1\na = {}", open.repeat(100_000))).unwrap_err();
            assert!(error.contains("line "), "{open}: {error}");
        }
    }

    #[test]
    fn brackets_in_texts_and_comments_are_none() {
        let many = "[{".repeat(1000);
        let table = read(&format!("# {many}\na = \"{many}\"\nb = '''\n{many}'''\n[c]\n[[d]]\n")).unwrap();
        assert_eq!(table.len(), 4);
        assert_eq!(read(&"[[d]]\n".repeat(1000)).unwrap()["d"].as_array().map(Vec::len), Some(1000));
    }
}
