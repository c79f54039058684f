//! What is known of one thing: a heading and a value a line.

use std::fmt::Write as _;

use super::{human, one_line};

/// Lines in the order they are added. A heading may come more than once.
#[derive(Debug, Default)]
pub(crate) struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// Adds a line; an empty value is shown as `-`.
    pub(crate) fn add(&mut self, heading: &'static str, value: impl AsRef<str>) {
        let value = match value.as_ref() {
            "" => human::NONE,
            value => value,
        };
        self.0.push((heading, one_line(value)));
    }

    /// Adds a line for each of `values`, or none.
    pub(crate) fn each<T: AsRef<str>>(&mut self, heading: &'static str, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.add(heading, value);
        }
    }

    /// All lines, their values under each other.
    pub(crate) fn render(&self) -> String {
        let width = self.0.iter().map(|(heading, _)| heading.len()).max();
        let width = width.unwrap_or(0) + 2;
        self.0.iter().fold(String::new(), |mut text, (heading, value)| {
            let _ = writeln!(text, "{heading:<width$}{value}");
            text
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_under_each_other() {
        let mut facts = Facts::default();
        facts.add("Mode", "copy");
        facts.add("Download", "1 B\nx");
        facts.each("BLOCKER", ["a", ""]);
        assert_eq!(facts.render(), "Mode      copy\nDownload  1 B x\nBLOCKER   a\nBLOCKER   -\n");
    }
}
