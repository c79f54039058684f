//! CQL as words: as much of it as is needed to read a schema that the Python driver wrote down.

/// A word of a statement, with its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) kind: Kind,
    /// As it is written, quotes and all.
    pub(super) text: &'a str,
    /// The byte after it.
    pub(super) end: usize,
    /// Its first byte.
    pub(super) begin: usize,
}

/// What a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name without quotes, a keyword or a number.
    Plain,
    /// A name in `"…"`.
    Quoted,
    /// A text in `'…'` or `$$…$$`.
    Text,
    /// One character of punctuation.
    Mark,
}

impl Word<'_> {
    /// Whether it is this keyword or mark.
    pub(super) fn is(&self, word: &str) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Mark) && self.text.eq_ignore_ascii_case(word)
    }

    /// The name it stands for: without its quotes, or in lower case.
    pub(super) fn name(&self) -> Option<String> {
        match self.kind {
            Kind::Quoted => Some(self.text[1..self.text.len() - 1].replace("\"\"", "\"")),
            Kind::Plain => Some(self.text.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// The content of a text.
    pub(super) fn content(&self) -> Option<String> {
        let text = self.text;
        match self.kind {
            Kind::Text if text.starts_with("$$") => Some(text[2..text.len() - 2].to_owned()),
            Kind::Text => Some(text[1..text.len() - 1].replace("''", "'")),
            _ => None,
        }
    }
}

/// The statements of a text, without comments and semicolons.
///
/// # Errors
/// A quote or a comment that does not end.
pub(super) fn statements(text: &str) -> Result<Vec<String>, String> {
    let mut statements = Vec::new();
    let mut statement = String::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let comment =
            [("/*", "*/"), ("--", "\n"), ("//", "\n")].into_iter().find(|(open, _)| rest.starts_with(open));
        if let Some((open, close)) = comment {
            let end = rest[2..].find(close).map(|at| 2 + at + close.len());
            rest = match end {
                Some(end) => &rest[end..],
                None if open == "/*" => return Err("a comment does not end".to_owned()),
                None => "",
            };
            statement.push(' ');
        } else if let Some(quoted) = quoted(rest)? {
            statement.push_str(quoted);
            rest = &rest[quoted.len()..];
        } else {
            rest = &rest[next.len_utf8()..];
            if next == ';' {
                push(&mut statements, &mut statement);
            } else {
                statement.push(next);
            }
        }
    }
    push(&mut statements, &mut statement);
    Ok(statements)
}

fn push(statements: &mut Vec<String>, statement: &mut String) {
    let trimmed = statement.trim();
    if !trimmed.is_empty() {
        statements.push(trimmed.to_owned());
    }
    statement.clear();
}

/// The quoted piece that the text begins with, if it does. A doubled quote is part of it.
fn quoted(text: &str) -> Result<Option<&str>, String> {
    let Some(quote) = ["$$", "'", "\""].into_iter().find(|quote| text.starts_with(quote)) else {
        return Ok(None);
    };
    let mut at = quote.len();
    loop {
        let found = text[at..].find(quote).ok_or_else(|| format!("a {quote} does not end"))?;
        at += found + quote.len();
        if quote == "$$" || !text[at..].starts_with(quote) {
            return Ok(Some(&text[..at]));
        }
        at += quote.len();
    }
}

/// The words of a statement.
pub(super) fn words(statement: &str) -> Result<Vec<Word<'_>>, String> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(next) = statement[at..].chars().next() {
        let rest = &statement[at..];
        let (kind, len) = if next.is_whitespace() {
            at += next.len_utf8();
            continue;
        } else if let Some(quoted) = quoted(rest)? {
            (if next == '"' { Kind::Quoted } else { Kind::Text }, quoted.len())
        } else if next.is_alphanumeric() || next == '_' {
            let len = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Kind::Plain, len)
        } else {
            (Kind::Mark, next.len_utf8())
        };
        words.push(Word { kind, text: &rest[..len], begin: at, end: at + len });
        at += len;
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_or_a_comment_ends_nothing() {
        let text = "/* Warning; */ a 'x;''--y' ;\n// VIRTUAL; \n b \"q\"\"u;o\" $$return ';';$$; -- end; \n";
        assert_eq!(statements(text).unwrap(), ["a 'x;''--y'", "b \"q\"\"u;o\" $$return ';';$$"]);
        assert!(statements("a 'x").is_err() && statements("/* x").is_err());
    }

    #[test]
    fn words_know_their_kind_and_place() {
        let words = words("CREATE TABLE ks.\"T\"\"x\" (a 'it''s')").unwrap();
        let texts: Vec<_> = words.iter().map(|word| word.text).collect();
        assert_eq!(texts, ["CREATE", "TABLE", "ks", ".", "\"T\"\"x\"", "(", "a", "'it''s'", ")"]);
        assert_eq!(words[4].name().unwrap(), "T\"x");
        assert_eq!(words[7].content().unwrap(), "it's");
        assert!(words[0].is("create") && !words[4].is("T"));
    }
}
