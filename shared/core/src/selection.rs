//! Which keyspaces and tables a job is about.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::restore::is_made_by_a_restore;

/// A table's full name, written `keyspace.table`. Case as Cassandra stores it, without quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct TableName {
    /// Keyspace.
    pub keyspace: String,
    /// Table, view or, in a snapshot, index.
    pub table: String,
}

impl TableName {
    /// Puts both parts together.
    pub fn new(keyspace: impl Into<String>, table: impl Into<String>) -> Self {
        Self { keyspace: keyspace.into(), table: table.into() }
    }
}

/// The text is not `keyspace.table`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a table's full name: write KEYSPACE.TABLE")]
pub struct InvalidTableName(pub String);

/// Cassandra's own rule for keyspace and table names (`SchemaConstants.isValidName`), so that a
/// name can stand in a path.
pub fn is_valid_cql_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 222 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

impl TryFrom<String> for TableName {
    type Error = InvalidTableName;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once('.') {
            Some((keyspace, table)) if is_valid_cql_name(keyspace) && is_valid_cql_name(table) => {
                Ok(Self::new(keyspace, table))
            }
            _ => Err(InvalidTableName(crate::text::excerpt(&text))),
        }
    }
}

impl std::str::FromStr for TableName {
    type Err = InvalidTableName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<TableName> for String {
    fn from(name: TableName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.keyspace, self.table)
    }
}

/// A filter over tables. With neither keyspaces nor tables named, it holds everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Whole keyspaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keyspaces: Vec<String>,
    /// Single tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<TableName>,
    /// Tables left out of what the above selects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<TableName>,
}

impl Selection {
    /// Whether `keyspace.table` is selected.
    pub fn holds(&self, keyspace: &str, table: &str) -> bool {
        let is = |name: &TableName| name.keyspace == keyspace && name.table == table;
        let named = self.names_nothing()
            || self.keyspaces.iter().any(|k| k == keyspace)
            || self.tables.iter().any(is);
        named && !self.exclude.iter().any(is)
    }

    /// Whether a backup with this selection holds the table. When everything is meant, what must never
    /// come back is left out.
    pub fn is_backed_up(&self, keyspace: &str, table: &str) -> bool {
        self.holds(keyspace, table) && (!self.names_nothing() || is_backed_up_by_default(keyspace, table))
    }

    /// Whether a backup with this selection surely holds every table that one with `other` does, of
    /// whatever tables there are. In doubt it does not.
    pub fn covers(&self, other: &Self) -> bool {
        let excluded_is_no_loss = self.exclude.iter().all(|t| !other.is_backed_up(&t.keyspace, &t.table));
        if !excluded_is_no_loss {
            return false;
        }
        if other.names_nothing() {
            return self.names_nothing();
        }
        let has_keyspace = |keyspace: &String| {
            if self.names_nothing() {
                // Of this one some tables are left out, unless it is named.
                keyspace != "system" && is_backed_up_by_default(keyspace, "")
            } else {
                self.keyspaces.contains(keyspace)
            }
        };
        other.keyspaces.iter().all(has_keyspace)
            && other
                .tables
                .iter()
                .filter(|t| other.is_backed_up(&t.keyspace, &t.table))
                .all(|t| self.is_backed_up(&t.keyspace, &t.table))
    }

    /// Whether neither keyspaces nor tables are named, so that everything is meant.
    pub fn names_nothing(&self) -> bool {
        self.keyspaces.is_empty() && self.tables.is_empty()
    }

    /// The keyspaces that are named, each by itself or by a table of it; some may come twice.
    pub fn named_keyspaces(&self) -> impl Iterator<Item = &str> {
        let of_tables = self.tables.iter().map(|table| &table.keyspace);
        self.keyspaces.iter().chain(of_tables).map(String::as_str)
    }

    /// Whether any table of the keyspace may be meant, whatever is left out.
    pub fn touches(&self, keyspace: &str) -> bool {
        self.names_nothing() || self.named_keyspaces().any(|named| named == keyspace)
    }
}

/// Keyspaces that are a node's own or the cluster's internals: an online restore leaves them alone
/// unless they are named.
pub fn is_system_keyspace(keyspace: &str) -> bool {
    matches!(
        keyspace,
        "system"
            | "system_schema"
            | "system_auth"
            | "system_distributed"
            | "system_traces"
            | "system_views"
            | "system_virtual_schema"
            | "system_cluster_metadata"
    )
}

/// Keyspaces that describe one node or the schema itself; they can only come back offline, with the
/// node's identity.
pub fn is_node_local_keyspace(keyspace: &str) -> bool {
    matches!(keyspace, "system" | "system_schema" | "system_cluster_metadata")
}

/// Whether a table goes into a backup when everything is meant. Left out: traces, virtual
/// keyspaces, what restores and drills make for themselves, and node-local tables whose old content would do harm or says nothing (queues of
/// work in flight, caches, statistics).
pub fn is_backed_up_by_default(keyspace: &str, table: &str) -> bool {
    const NEVER: &[&str] = &[
        "available_ranges",
        "available_ranges_v2",
        "batches",
        "compaction_history",
        "paxos",
        "prepared_statements",
        "size_estimates",
        "sstable_activity",
        "sstable_activity_v2",
        "table_estimates",
        "top_partitions",
        "transferred_ranges",
        "transferred_ranges_v2",
    ];
    match keyspace {
        "system_traces" | "system_views" | "system_virtual_schema" => false,
        _ if is_made_by_a_restore(keyspace) => false,
        "system" => !NEVER.contains(&table),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TableName {
        text.parse().unwrap()
    }

    #[test]
    fn selection_names_what_it_means() {
        let all = Selection::default();
        assert!(all.holds("a", "b"));
        let some = Selection {
            keyspaces: vec!["orders".into()],
            tables: vec![name("users.names")],
            exclude: vec![name("orders.cache")],
        };
        assert!(some.holds("orders", "events") && some.holds("users", "names"));
        assert!(!some.holds("orders", "cache") && !some.holds("users", "other"));
        assert!(!some.holds("orders2", "events"), "a prefix of a name means nothing");
        assert!(all.touches("a") && some.touches("orders") && some.touches("users"));
        assert!(!some.touches("orders2"));
    }

    #[test]
    fn a_selection_covers_what_it_surely_holds() {
        // Words are keyspaces, tables (`k.t`) or exclusions (`-k.t`).
        let read = |text: &str| {
            let mut selection = Selection::default();
            for word in text.split_whitespace() {
                match word.strip_prefix('-') {
                    Some(table) => selection.exclude.push(name(table)),
                    None if word.contains('.') => selection.tables.push(name(word)),
                    None => selection.keyspaces.push(word.to_owned()),
                }
            }
            selection
        };
        // (wider, narrower, whether the first covers the second, and the second the first)
        for (one, other, forth, back) in [
            ("", "", true, true),
            ("", "a", true, false),
            ("", "a.t", true, false),
            ("", "-a.t", true, false),
            ("-a.t", "-a.t", true, true),
            ("-a.t", "a", false, false),
            ("-a.t", "a -a.t", true, false),
            ("-a.t", "b", true, false),
            ("a", "a.t", true, false),
            ("a", "a.t b.t", false, false),
            ("a b", "b a", true, true),
            ("a b.t", "a b.t -b.t", true, false),
            ("a -a.t", "a.t", false, false),
            ("", "system_traces", false, false),
            ("", "system", false, false),
            ("", "system_auth", true, false),
            ("", "ringvault_auth_00000000000000000000000000000007", false, false),
            ("", "ringvault_drill_000000000007_0", false, false),
            ("", "system.paxos", false, false),
            ("", "system.local", true, false),
        ] {
            let (one_, other_) = (read(one), read(other));
            assert_eq!(one_.covers(&other_), forth, "{one:?} covers {other:?}");
            assert_eq!(other_.covers(&one_), back, "{other:?} covers {one:?}");
        }
    }

    #[test]
    fn a_table_name_cannot_leave_its_folder() {
        for bad in ["a", "a.b.c", "../a.b", "a./b", ".b", "a."] {
            assert!(bad.parse::<TableName>().is_err(), "{bad}");
        }
    }
}
