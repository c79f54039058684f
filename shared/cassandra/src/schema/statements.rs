//! Splitting Cassandra's `create_statement` of a table with dropped columns (`CREATE TABLE …;
//! ALTER TABLE … DROP … USING TIMESTAMP …;`) into single statements, which is all the protocol
//! takes, and putting them into one order.

use std::collections::HashSet;

/// The statements of `text`, without their semicolons. A semicolon inside `'…'`, `"…"` or `$$…$$`
/// ends nothing.
pub fn split(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let mut statements = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        let close: &[u8] = match bytes[at] {
            b'\'' => b"'",
            b'"' => b"\"",
            b'$' if bytes[at..].starts_with(b"$$") => b"$$",
            b';' => {
                push(&mut statements, &text[start..at]);
                at += 1;
                start = at;
                continue;
            }
            _ => {
                at += 1;
                continue;
            }
        };
        // A doubled quote closes and opens again at once, which comes to the same.
        let from = at + close.len();
        at = find(&bytes[from..], close).map_or(bytes.len(), |found| from + found + close.len());
    }
    push(&mut statements, &text[start..]);
    statements
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn push(statements: &mut Vec<String>, statement: &str) {
    let statement = statement.trim();
    if !statement.is_empty() {
        statements.push(statement.to_owned());
    }
}

/// A table's statements in one order on every node. Cassandra lists dropped columns in the order of
/// a hash map that differs from node to node; neither the order of columns in `CREATE TABLE` nor
/// that of changes to different columns means anything. The time of a drop is cut to whole
/// milliseconds, as `system_schema.dropped_columns` keeps it: the node that ran the `ALTER` says
/// microseconds until it restarts, the others never do.
pub fn in_one_order(statements: &[String]) -> Vec<String> {
    let [create, changes @ ..] = statements else { return Vec::new() };
    let mut changes: Vec<&String> = changes.iter().collect();
    // Stable: a column's DROP stays before the ADD that brings it back.
    changes.sort_by_key(|change| changed_column(change));
    let dropped: HashSet<&str> = changes.iter().filter_map(|change| changed_column(change)).collect();

    let mut lines: Vec<&str> = create.lines().collect();
    let places: Vec<usize> = (0..lines.len()).filter(|at| is_column_of(lines[*at], &dropped)).collect();
    let mut definitions: Vec<&str> = places.iter().map(|at| lines[*at].trim_end_matches(',')).collect();
    definitions.sort_unstable();
    let definitions: Vec<String> = places
        .iter()
        .zip(definitions)
        .map(|(at, line)| format!("{line}{}", if lines[*at].ends_with(',') { "," } else { "" }))
        .collect();
    for (at, line) in places.into_iter().zip(&definitions) {
        lines[at] = line;
    }
    std::iter::once(lines.join("\n")).chain(changes.into_iter().map(|change| in_millis(change))).collect()
}

fn in_millis(change: &str) -> String {
    const TIME: &str = " USING TIMESTAMP ";
    let micros = |(head, micros): (&str, &str)| Some((head.to_owned(), micros.parse::<i64>().ok()?));
    match change.rsplit_once(TIME).and_then(micros) {
        // Only the least number there is has no whole millisecond before it.
        Some((head, micros)) => {
            format!("{head}{TIME}{}", micros.checked_sub(micros.rem_euclid(1000)).unwrap_or(micros))
        }
        None => change.to_owned(),
    }
}

/// The column in `ALTER TABLE ks.t DROP column USING …` or `… ADD column type`, as printed.
fn changed_column(change: &str) -> Option<&str> {
    let rest = change.strip_prefix("ALTER TABLE ")?;
    let (_, rest) = rest.split_once(' ')?;
    identifier(rest.strip_prefix("DROP ").or_else(|| rest.strip_prefix("ADD "))?)
}

/// A change to a table, of those that follow its `CREATE TABLE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// `DROP`.
    Drop,
    /// `ADD`.
    Add,
}

/// What a change does, and to which column (without quotes).
pub fn read_change(change: &str) -> Option<(Change, String)> {
    let column = super::unquote_name(changed_column(change)?);
    let (_, rest) = change.strip_prefix("ALTER TABLE ")?.split_once(' ')?;
    Some((if rest.starts_with("DROP ") { Change::Drop } else { Change::Add }, column))
}

/// Whether a line of `CREATE TABLE` defines one of these columns.
fn is_column_of(line: &str, columns: &HashSet<&str>) -> bool {
    line.strip_prefix("    ").and_then(identifier).is_some_and(|column| columns.contains(column))
}

/// The identifier that the text begins with, quotes and all.
fn identifier(text: &str) -> Option<&str> {
    let Some(rest) = text.strip_prefix('"') else { return text.split(' ').next() };
    let mut from = 0;
    loop {
        let quote = from + rest.get(from..)?.find('"')?;
        if !rest[quote + 1..].starts_with('"') {
            return text.get(..quote + 2);
        }
        from = quote + 2;
    }
}

/// The keyspace's statement with another replication map in place of its own.
pub fn with_replication(statement: &str, map: &str) -> Option<String> {
    let (head, rest) = statement.split_once("replication = {")?;
    let (_, tail) = rest.split_once('}')?;
    Some(format!("{head}replication = {map}{tail}"))
}

/// The statement for another keyspace: where a name of `from` stands before a dot, it becomes one of
/// `to`. With `table`, the reference of that number (counted from 0) is to the table and gets that
/// name. What stands in `'…'` or `$$…$$` is left alone.
pub fn with_names(statement: &str, from: &str, to: &str, table: Option<(usize, &str)>) -> String {
    let mut out = String::with_capacity(statement.len() + 32);
    let (mut rest, mut references) = (statement, 0);
    while let Some(next) = rest.chars().next() {
        let quote = match next {
            '\'' => Some("'"),
            '$' if rest.starts_with("$$") => Some("$$"),
            _ => None,
        };
        if let Some(quote) = quote {
            let inner = &rest[quote.len()..];
            let end = inner.find(quote).map_or(rest.len(), |found| found + 2 * quote.len());
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let word = word_of(rest);
        if word.is_empty() {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        }
        rest = &rest[word.len()..];
        let name = rest.strip_prefix('.').map(word_of).filter(|name| !name.is_empty());
        match name {
            Some(name) if super::unquote_name(word) == from => {
                rest = &rest[1 + name.len()..];
                let own = match table {
                    Some((place, table)) if place == references => table.to_owned(),
                    _ => super::unquote_name(name),
                };
                references += 1;
                out.extend([super::quote_name(to).as_str(), ".", super::quote_name(&own).as_str()]);
            }
            _ => out.push_str(word),
        }
    }
    out
}

/// The name that the text begins with, in double quotes or not; empty if it begins with none.
fn word_of(text: &str) -> &str {
    if text.starts_with('"') {
        return identifier(text).unwrap_or(text);
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_written_anew_where_they_are_names() {
        let view = "CREATE MATERIALIZED VIEW k.\"V\" AS SELECT \"k.t\", kk FROM k.t WHERE kk.t = 'k.t''s' AND x = $$k.t$$";
        assert_eq!(
            with_names(view, "k", "N", Some((1, "new"))),
            "CREATE MATERIALIZED VIEW \"N\".\"V\" AS SELECT \"k.t\", kk FROM \"N\".\"new\" WHERE kk.t = 'k.t''s' AND x = $$k.t$$"
        );
        let quoted = "ALTER TABLE \"O\"\"d\".t DROP a USING TIMESTAMP 1.5";
        assert_eq!(
            with_names(quoted, "O\"d", "n", None),
            "ALTER TABLE \"n\".\"t\" DROP a USING TIMESTAMP 1.5"
        );
        let masked = "CREATE TABLE k.t (a int MASKED WITH k.hide(3) PRIMARY KEY)";
        assert_eq!(
            with_names(masked, "k", "n", Some((0, "u"))),
            "CREATE TABLE \"n\".\"u\" (a int MASKED WITH \"n\".\"hide\"(3) PRIMARY KEY)"
        );
    }

    #[test]
    fn semicolons_inside_quotes_end_nothing() {
        let text = "CREATE TABLE \"a;\"\"b\".t (k int) WITH comment = 'it''s; odd';\n\
                    ALTER TABLE t DROP x USING TIMESTAMP 1;\n\
                    CREATE FUNCTION f() AS $$ return '; \"; $$;";
        let got = split(text);
        assert_eq!(got.len(), 3, "{got:?}");
        assert_eq!(got[1], "ALTER TABLE t DROP x USING TIMESTAMP 1");
        assert!(got[2].ends_with("$$"));
    }

    #[test]
    fn replication_is_replaced_and_nothing_else() {
        let text =
            "CREATE KEYSPACE k WITH replication = {'class': 'X', 'dc1': '1'}  AND durable_writes = true";
        let got = with_replication(text, "{'class': 'SimpleStrategy'}").unwrap();
        let want =
            "CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy'}  AND durable_writes = true";
        assert_eq!(got, want);
        assert_eq!(with_replication("CREATE KEYSPACE k", "{}"), None);
    }

    #[test]
    fn dropped_columns_come_in_one_order() {
        let statements = |order: [usize; 3]| {
            let columns = ["    gone int", "    \"A \"\"b\" text static", "    re int"];
            let changes = [
                "ALTER TABLE k.t DROP gone USING TIMESTAMP 3000",
                "ALTER TABLE k.t DROP \"A \"\"b\" USING TIMESTAMP 2000",
                "ALTER TABLE k.t DROP re USING TIMESTAMP 1001;ALTER TABLE k.t ADD re int",
            ];
            let columns = order.map(|at| columns[at]).join(",\n");
            let changes = order.map(|at| changes[at]).join(";\n");
            let create = format!("CREATE TABLE k.t (\n    k int PRIMARY KEY,\n    a int,\n{columns}\n)");
            in_one_order(&split(&format!("{create} WITH x = 1;\n{changes};")))
        };
        let one = statements([0, 1, 2]);
        for other in [[2, 1, 0], [1, 2, 0], [0, 2, 1]] {
            assert_eq!(statements(other), one);
        }
        let create = "CREATE TABLE k.t (\n    k int PRIMARY KEY,\n    a int,\n    \"A \"\"b\" text static,\n    gone int,\n    re int\n) WITH x = 1";
        assert_eq!(one[0], create);
        assert_eq!(one[3..], ["ALTER TABLE k.t DROP re USING TIMESTAMP 1000", "ALTER TABLE k.t ADD re int"]);
    }

    #[test]
    fn a_table_without_dropped_columns_stays_as_it_is() {
        let one = vec!["CREATE TABLE k.t (\n    k int PRIMARY KEY\n)".to_owned()];
        assert_eq!(in_one_order(&one), one);
        assert_eq!(in_one_order(&[]), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn renaming_changes_nothing_but_names_of_the_keyspace(text in "[ak.'\"$ é\n]{0,60}") {
            prop_assert_eq!(with_names(&text, "other", "n", Some((0, "t"))), text);
        }

        #[test]
        fn ordering_never_panics(text in "[aDROP \"\n,;é]{0,60}") {
            let alter = format!("ALTER TABLE k.t DROP {text}");
            prop_assert_eq!(in_one_order(&[text, alter]).len(), 2);
        }

        #[test]
        fn splitting_never_panics_and_loses_only_separators(text in "[a;'\"$ é\n]{0,60}") {
            let letters = |s: &str| s.chars().filter(|c| !c.is_whitespace() && *c != ';').count();
            let got: usize = split(&text).iter().map(|s| letters(s)).sum();
            prop_assert_eq!(got, letters(&text));
        }
    }
}
