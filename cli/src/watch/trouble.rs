//! The same error on many nodes is one message that names them.

use std::{collections::BTreeMap, fmt::Write as _};

use ringvault_core::TaskError;

/// Names listed before the rest is counted.
const NAMED: usize = 12;

/// An error and where it was met.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trouble<'a> {
    /// One of them: code and next command are those of all.
    pub(crate) error: &'a TaskError,
    /// The message, general where it was met in several places.
    message: String,
    /// Where, in order, each once.
    pub(crate) places: Vec<&'a str>,
}

/// Brings errors of one code and message together, the most frequent first. Messages that differ
/// only in the node they name are the same.
pub(crate) fn gather<'a>(errors: impl IntoIterator<Item = (&'a str, &'a TaskError)>) -> Vec<Trouble<'a>> {
    let mut alike: BTreeMap<(&str, String), Trouble<'a>> = BTreeMap::new();
    for (place, error) in errors {
        let general = without_names(&error.message, place);
        let trouble = alike.entry((&error.code, general.clone())).or_insert_with(|| Trouble {
            error,
            message: error.message.clone(),
            places: Vec::new(),
        });
        if trouble.message != error.message {
            trouble.message = general;
        }
        if !place.is_empty() && !trouble.places.contains(&place) {
            trouble.places.push(place);
        }
    }
    let mut troubles: Vec<_> = alike.into_values().collect();
    for trouble in &mut troubles {
        trouble.places.sort_unstable();
    }
    troubles.sort_by_key(|trouble| std::cmp::Reverse(trouble.places.len()));
    troubles
}

/// The message with `…` for the place it speaks of and for every id.
fn without_names(message: &str, place: &str) -> String {
    const ID: usize = 36;
    let belongs_to_name = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let mut text = String::with_capacity(message.len());
    let mut rest = message;
    let mut within_name = false;
    while let Some(next) = rest.chars().next() {
        let is_id = |word: &&str| uuid::Uuid::try_parse(word).is_ok();
        let is_place = |word: &&str| !word.is_empty() && *word == place;
        let word = rest.get(..ID).filter(is_id).or_else(|| rest.get(..place.len()).filter(is_place));
        let ends = |word: &&str| !rest[word.len()..].starts_with(belongs_to_name);
        let length = match word.filter(|_| !within_name).filter(ends) {
            Some(word) => {
                text.push('…');
                word.len()
            }
            None => {
                text.push(next);
                next.len_utf8()
            }
        };
        within_name = belongs_to_name(next);
        rest = &rest[length..];
    }
    text
}

impl<'a> Trouble<'a> {
    /// An error that was met nowhere in particular.
    pub(crate) fn nowhere(error: &'a TaskError) -> Self {
        Self { error, message: error.message.clone(), places: Vec::new() }
    }

    /// `error[RV-STORE-403]: on 3 nodes (cass-02, cass-05, cass-09): PutObject denied`.
    pub(crate) fn sentence(&self) -> String {
        let code = &self.error.code;
        let message = crate::output::one_line(&self.message);
        let names = self.names();
        match self.places.len() {
            0 => format!("error[{code}]: {message}"),
            1 => format!("error[{code}]: on {names}: {message}"),
            count => format!("error[{code}]: on {count} nodes ({names}): {message}"),
        }
    }

    fn names(&self) -> String {
        let mut names = self.places.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        if self.places.len() > NAMED {
            let _ = write!(names, " and {} more", self.places.len() - NAMED);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_names_all_nodes_and_another_error_stays_another() {
        let denied = TaskError::permanent("RV-STORE-403", "PutObject denied");
        let away = TaskError::environment("RV-CASSANDRA", "connection refused");
        let errors = [("a", &away), ("b", &denied), ("c", &denied), ("b", &denied)];
        let text: Vec<String> = gather(errors).iter().map(Trouble::sentence).collect();
        assert_eq!(
            text,
            [
                "error[RV-STORE-403]: on 2 nodes (b, c): PutObject denied",
                "error[RV-CASSANDRA]: on a: connection refused",
            ]
        );
    }

    #[test]
    fn messages_that_differ_in_the_node_alone_are_one() {
        let of = |host: &str, id: u128| {
            let id = uuid::Uuid::from_u128(id);
            TaskError::environment("X", format!("no worker beside {host} ({id}) of é"))
        };
        let (a, b) = (of("10.0.0.1", 1), of("10.0.0.2", 2));
        let troubles = gather([("10.0.0.2", &b), ("10.0.0.1", &a)]);
        assert_eq!(troubles.len(), 1);
        assert_eq!(
            troubles[0].sentence(),
            "error[X]: on 2 nodes (10.0.0.1, 10.0.0.2): no worker beside … (…) of é"
        );
        let alone = gather([("10.0.0.1", &a)])[0].sentence();
        assert!(alone.contains("beside 10.0.0.1 (00000000-"), "{alone}");
    }

    #[test]
    fn a_long_list_of_nodes_is_counted() {
        let error = TaskError::permanent("X", "y");
        let names: Vec<String> = (0..20).map(|n| format!("n{n:02}")).collect();
        let text = gather(names.iter().map(|name| (name.as_str(), &error)))[0].sentence();
        assert!(
            text.starts_with("error[X]: on 20 nodes (n00, ") && text.contains("n11 and 8 more"),
            "{text}"
        );
    }
}
