//! Row digests: whether two clusters, or two keyspaces, hold the same rows.
//!
//! Every row of a table is read over CQL, and of each [token range](rows_range) a digest is kept of all that was
//! read: key, values, write times, and which cells have a TTL. The ranges are the same for every ring, and
//! Cassandra hands rows over in the order of their tokens and clustering keys whichever node is asked; so two
//! clusters that hold the same rows have the same digests, however their rings are cut and whoever read which range.
//!
//! What is not in it, as CQL does not tell it: the write time of a row's key alone, deletions, and, before
//! Cassandra 5.0, write times and TTLs within a collection or type that is not frozen. When a cell expires is told
//! as seconds that are left, so it is not hashed but counted and added up, see [`Expiring`].

mod compare;
#[cfg(test)]
mod compare_tests;
mod digest;
mod gather;
mod hasher;
mod ranges;

pub use compare::{RangeDifference, RowComparison, SameName, TableVerdict, Verdict, What, compare};
pub use digest::{ElementsDigest, Expiring, RangeDigest, RowHash, TableDigest};
pub use gather::{Gathered, Torn, gather};
pub use hasher::{ColumnFacts, ENCODING, RangeHasher, Times, columns_hash};
pub use ranges::{RANGES, deal, rows_range};

use crate::{
    restore::is_made_by_a_restore,
    selection::{Selection, is_node_local_keyspace, is_system_keyspace},
};

/// The capability of a worker that can read rows for their digest. One that does not announce it is of a release
/// before, and would not even understand what it is asked for.
pub const ROWS_CAPABILITY: &str = "rows.digest";

/// Whether a digest of this selection reads `keyspace.table`. What Cassandra keeps for itself is read only where it
/// is named.
pub fn is_digested(selection: &Selection, keyspace: &str, table: &str) -> bool {
    let is_cassandras = || is_system_keyspace(keyspace) || is_made_by_a_restore(keyspace);
    selection.holds(keyspace, table) && !(selection.names_nothing() && is_cassandras())
}

/// Whether a keyspace is another on each node, or lies nowhere: there is nothing in it to compare.
pub fn is_of_one_node(keyspace: &str) -> bool {
    is_node_local_keyspace(keyspace) || matches!(keyspace, "system_views" | "system_virtual_schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cassandra_keeps_for_itself_is_read_when_it_is_named() {
        let all = Selection::default();
        assert!(is_digested(&all, "shop", "orders"));
        assert!(!is_digested(&all, "system_auth", "roles"));
        assert!(!is_digested(&all, "ringvault_drill_00aabbccddee_0", "orders"));
        let roles = Selection { keyspaces: vec!["system_auth".into()], ..Selection::default() };
        assert!(is_digested(&roles, "system_auth", "roles") && !is_digested(&roles, "shop", "orders"));
        assert!(is_of_one_node("system") && is_of_one_node("system_views") && !is_of_one_node("system_auth"));
    }
}
