//! Other names for what a restore brings: a table beside the live one, a keyspace beside the live
//! one.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_made_by_a_restore;
use crate::selection::{Selection, TableName, is_system_keyspace, is_valid_cql_name};

/// Longest name of a keyspace that Cassandra makes.
const MAX_KEYSPACE: usize = 48;

/// New names by old ones: `shop` → `shop_old` for all tables of a keyspace, `shop.orders` →
/// `shop.orders_old` for one table, which wins over its keyspace's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Renames {
    keyspaces: BTreeMap<String, String>,
    tables: BTreeMap<TableName, TableName>,
}

/// What is wrong with a rename.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRename {
    /// Not two names of one kind.
    #[error("{0:?} is no rename: write KEYSPACE=KEYSPACE or KEYSPACE.TABLE=KEYSPACE.TABLE")]
    Form(String),
    /// The same thing, renamed twice.
    #[error("{0} is renamed twice")]
    Twice(String),
    /// Two things under one name.
    #[error("{0} and {1} cannot both become {2}")]
    Collision(String, String, String),
    /// A name that stays.
    #[error("{0} is renamed to itself")]
    Same(String),
    /// A keyspace of Cassandra's or of this program's own.
    #[error(
        "{0} cannot be renamed, and nothing can be brought to it by another name: it is a system keyspace"
    )]
    System(String),
    /// Cassandra would not make it.
    #[error("keyspace {0} has more than {MAX_KEYSPACE} characters")]
    TooLong(String),
    /// It is not brought at all.
    #[error("{0} is renamed but not among what is restored")]
    NotSelected(String),
}

impl Renames {
    /// Adds `OLD=NEW`.
    pub fn add(&mut self, text: &str) -> Result<(), InvalidRename> {
        let form = || InvalidRename::Form(crate::text::excerpt(text));
        let (old, new) = text.split_once('=').ok_or_else(form)?;
        self.insert(old, new)
    }

    fn insert(&mut self, old: &str, new: &str) -> Result<(), InvalidRename> {
        let form = || InvalidRename::Form(crate::text::excerpt(&format!("{old}={new}")));
        let earlier = match (old.contains('.'), new.contains('.')) {
            (true, true) => {
                let (old, new) = (old.parse().map_err(|_| form())?, new.parse().map_err(|_| form())?);
                self.tables.insert(old, new).is_some()
            }
            (false, false) if is_valid_cql_name(old) && is_valid_cql_name(new) => {
                self.keyspaces.insert(old.to_owned(), new.to_owned()).is_some()
            }
            _ => return Err(form()),
        };
        if earlier { Err(InvalidRename::Twice(old.to_owned())) } else { Ok(()) }
    }

    /// Whether everything keeps its name.
    pub fn is_empty(&self) -> bool {
        self.keyspaces.is_empty() && self.tables.is_empty()
    }

    /// The name of a table of the backup on the target.
    pub fn target(&self, table: &TableName) -> TableName {
        match (self.tables.get(table), self.keyspaces.get(&table.keyspace)) {
            (Some(target), _) => target.clone(),
            (None, Some(keyspace)) => TableName::new(keyspace, &table.table),
            (None, None) => table.clone(),
        }
    }

    /// The name of a keyspace of the backup on the target, for what belongs to no table.
    pub fn target_keyspace<'a>(&'a self, keyspace: &'a str) -> &'a str {
        self.keyspaces.get(keyspace).map_or(keyspace, String::as_str)
    }

    /// Old and new names in words, for people: `shop.orders`, `shop.orders_old`.
    pub fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        let keyspaces = self.keyspaces.iter().map(|(old, new)| (old.clone(), new.clone()));
        keyspaces.chain(self.tables.iter().map(|(old, new)| (old.to_string(), new.to_string())))
    }

    /// Exactly what is renamed, as a selection.
    pub fn selection(&self) -> Selection {
        Selection {
            keyspaces: self.keyspaces.keys().cloned().collect(),
            tables: self.tables.keys().cloned().collect(),
            exclude: Vec::new(),
        }
    }

    /// A selection by the new names of what it names.
    pub fn selected(&self, selection: &Selection) -> Selection {
        let targets = |tables: &[TableName]| tables.iter().map(|table| self.target(table)).collect();
        Selection {
            keyspaces: selection
                .keyspaces
                .iter()
                .map(|keyspace| self.target_keyspace(keyspace).to_owned())
                .collect(),
            tables: targets(&selection.tables),
            exclude: targets(&selection.exclude),
        }
    }

    /// What cannot be done of it, whatever the backup holds.
    pub fn check(&self, selection: &Selection) -> Result<(), InvalidRename> {
        let mut targets = BTreeMap::new();
        for (old, new) in self.pairs() {
            if old == new {
                return Err(InvalidRename::Same(old));
            }
            if let Some(other) = targets.insert(new.clone(), old.clone()) {
                return Err(InvalidRename::Collision(other, old, new));
            }
        }
        let of_tables = self.tables.iter().flat_map(|(old, new)| [&old.keyspace, &new.keyspace]);
        let keyspaces: BTreeSet<&String> =
            self.keyspaces.iter().flat_map(|(old, new)| [old, new]).chain(of_tables).collect();
        for keyspace in keyspaces {
            if is_system_keyspace(keyspace) || is_made_by_a_restore(keyspace) {
                return Err(InvalidRename::System(keyspace.clone()));
            }
            if keyspace.len() > MAX_KEYSPACE {
                return Err(InvalidRename::TooLong(keyspace.clone()));
            }
        }
        let absent_keyspace = self.keyspaces.keys().find(|keyspace| !selection.touches(keyspace)).cloned();
        let is_absent = |table: &&TableName| !selection.holds(&table.keyspace, &table.table);
        let absent_table = || self.tables.keys().find(is_absent).map(ToString::to_string);
        match absent_keyspace.or_else(absent_table) {
            Some(name) => Err(InvalidRename::NotSelected(name)),
            None => Ok(()),
        }
    }
}

impl TryFrom<BTreeMap<String, String>> for Renames {
    type Error = InvalidRename;
    fn try_from(names: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        let mut renames = Self::default();
        for (old, new) in names {
            renames.insert(&old, &new)?;
        }
        Ok(renames)
    }
}

impl From<Renames> for BTreeMap<String, String> {
    fn from(renames: Renames) -> Self {
        renames.pairs().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renames(pairs: &[&str]) -> Renames {
        let mut renames = Renames::default();
        for pair in pairs {
            renames.add(pair).unwrap();
        }
        renames
    }

    fn name(text: &str) -> TableName {
        text.parse().unwrap()
    }

    #[test]
    fn a_table_of_its_own_name_wins_over_its_keyspace() {
        let renames = renames(&["shop=shop2", "shop.orders=old.orders_1"]);
        assert_eq!(renames.target(&name("shop.orders")), name("old.orders_1"));
        assert_eq!(renames.target(&name("shop.items")), name("shop2.items"));
        assert_eq!(renames.target(&name("shopping.items")), name("shopping.items"));
        assert_eq!((renames.target_keyspace("shop"), renames.target_keyspace("old")), ("shop2", "old"));
    }

    #[test]
    fn it_is_an_object_of_names() {
        let text = r#"{"shop":"shop2","shop.orders":"old.orders_1"}"#;
        let read: Renames = serde_json::from_str(text).unwrap();
        assert_eq!(read, renames(&["shop=shop2", "shop.orders=old.orders_1"]));
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        for bad in [r#"{"a.b":"c"}"#, r#"{"a":"b.c"}"#, r#"{"a.b":"../c.d"}"#, r#"{"":"a"}"#] {
            let error = serde_json::from_str::<Renames>(bad).unwrap_err().to_string();
            assert!(error.contains("is no rename"), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_named() {
        let all = Selection::default();
        let told =
            |pairs: &[&str], selection: &Selection| renames(pairs).check(selection).unwrap_err().to_string();
        assert!(told(&["a.b=a.b"], &all).contains("a.b is renamed to itself"));
        assert!(told(&["a.b=x.y", "c.d=x.y"], &all).contains("a.b and c.d cannot both become x.y"));
        assert!(told(&["system_auth=x"], &all).contains("system_auth cannot be renamed"));
        assert!(told(&["a.b=system.b"], &all).contains("system cannot"));
        assert!(told(&[&format!("a={}", "x".repeat(49))], &all).contains("more than 48"));
        let only = Selection { tables: vec![name("a.b")], ..Selection::default() };
        assert!(told(&["a.c=a.d"], &only).contains("a.c is renamed but not among"));
        assert!(told(&["z=y"], &only).contains("z is renamed but not among"));
        assert_eq!(renames(&["a.b=a.c"]).check(&only), Ok(()));
        assert_eq!(renames(&["a=c"]).check(&only), Ok(()));
        assert_eq!(
            Renames::default().add("a=b=c").unwrap_err().to_string(),
            "\"a=b=c\" is no rename: write KEYSPACE=KEYSPACE or KEYSPACE.TABLE=KEYSPACE.TABLE"
        );
        let mut twice = renames(&["a=b"]);
        assert_eq!(twice.add("a=c"), Err(InvalidRename::Twice("a".into())));
    }
}
