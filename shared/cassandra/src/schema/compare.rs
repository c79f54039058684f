//! Whether a table's `SSTables` can be loaded into another table.
//!
//! What decides was tried on real nodes: Cassandra refuses an `SSTable` with a column that the
//! target does not know, reads one that lacks a column, and **loads, then cannot read**, one whose
//! column or key types differ. So types must be the same word for word, and so must the key.
//!
//! A dropped column goes on living in `SSTables`. Where the target does not know of the drop, it
//! refuses them, or (with a live column of that name) shows what was deleted; where the target has
//! dropped a column later than the backup knows, it silently hides what the backup holds of it.

use std::collections::BTreeMap;

use super::{Column, ColumnKind, DroppedColumn, TableShape};

/// How a table in the target compares with the one that was backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableComparison {
    /// The same columns.
    Equal {
        /// Whether the table id is the same too: without it commit logs and offline copies, which
        /// know tables by id, would not fit; an import does.
        same_id: bool,
    },
    /// `SSTables` load; the columns that the backup does not have read as null.
    Compatible {
        /// Columns that only the target has.
        added: Vec<String>,
        /// Whether the table id is the same.
        same_id: bool,
    },
    /// `SSTables` would be refused, or loaded and unreadable.
    Incompatible {
        /// Each difference, for people.
        reasons: Vec<String>,
    },
}

/// Compares the table that was backed up (`wanted`) with the one in the target (`existing`).
pub fn compare_table(wanted: &TableShape, existing: &TableShape) -> TableComparison {
    let mut reasons = Vec::new();
    let (was, is) = (key_of(wanted), key_of(existing));
    if was != is {
        reasons.push(format!("the primary key was {} and is {}", describe(&was), describe(&is)));
    }
    if wanted.is_counter != existing.is_counter {
        let word = |counter| {
            if counter { "a counter table" } else { "no counter table" }
        };
        let (was, is) = (word(wanted.is_counter), word(existing.is_counter));
        reasons.push(format!("it was {was} and is {is}"));
    }
    let target: BTreeMap<&str, &Column> = values_of(existing);
    let source: BTreeMap<&str, &Column> = values_of(wanted);
    for (name, was) in &source {
        match target.get(name) {
            None => reasons.push(format!("column {name} ({}) is missing", was.cql_type)),
            Some(is) if is.cql_type != was.cql_type => {
                let (was, is) = (&was.cql_type, &is.cql_type);
                reasons.push(format!("column {name} was {was} and is {is}"));
            }
            Some(is) if is.kind != was.kind => {
                let word = |kind| {
                    if kind == ColumnKind::Static { "static" } else { "regular" }
                };
                let (was, is) = (word(was.kind), word(is.kind));
                reasons.push(format!("column {name} was {was} and is {is}"));
            }
            Some(_) => {}
        }
    }
    reasons.extend(dropped_reasons(wanted, existing, &source, &target));
    if !reasons.is_empty() {
        return TableComparison::Incompatible { reasons };
    }
    let same_id = wanted.table_id == existing.table_id;
    let added: Vec<String> =
        target.keys().filter(|name| !source.contains_key(*name)).map(|n| (*n).to_owned()).collect();
    if added.is_empty() {
        TableComparison::Equal { same_id }
    } else {
        TableComparison::Compatible { added, same_id }
    }
}

/// What differs in the records of dropped columns, where both are known.
fn dropped_reasons(
    wanted: &TableShape,
    existing: &TableShape,
    source: &BTreeMap<&str, &Column>,
    target: &BTreeMap<&str, &Column>,
) -> Vec<String> {
    let (Some(was), Some(is)) = (&wanted.dropped, &existing.dropped) else {
        return Vec::new();
    };
    let find = |all: &[DroppedColumn], name: &str| {
        all.iter().find(|dropped| dropped.name == name).map(|dropped| dropped.dropped_at)
    };
    let mut reasons = Vec::new();
    for DroppedColumn { name, dropped_at } in was {
        match find(is, name) {
            None => reasons.push(format!(
                "column {name} was dropped at {} and the target has no record of it: let the restore make \
                 the table, or make it with the statements of the backup's schema",
                time(*dropped_at)
            )),
            // Where the target has no such column, nothing can be seen of it.
            Some(there) if there < *dropped_at && target.contains_key(name.as_str()) => {
                reasons.push(format!(
                    "column {name} was dropped at {} and on the target at {}: what was written in between would come back",
                    time(*dropped_at),
                    time(there)
                ));
            }
            Some(_) => {}
        }
    }
    for DroppedColumn { name, dropped_at } in is {
        let is_live = source.contains_key(name.as_str()) && target.contains_key(name.as_str());
        if is_live && find(was, name).is_none_or(|known| known < *dropped_at) {
            reasons.push(format!(
                "column {name} was dropped on the target at {} and added again: what the backup holds of it from before would be hidden",
                time(*dropped_at)
            ));
        }
    }
    reasons
}

fn time(millis: i64) -> String {
    chrono::DateTime::from_timestamp_millis(millis)
        .map_or_else(|| format!("{millis} ms"), |at| at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
}

/// The key's columns in order. Names count: a renamed key column would load, but its statement
/// would not be the one that was backed up.
fn key_of(shape: &TableShape) -> Vec<&Column> {
    let is_key = |c: &&Column| matches!(c.kind, ColumnKind::PartitionKey | ColumnKind::Clustering);
    let mut key: Vec<_> = shape.columns.iter().filter(is_key).collect();
    key.sort_by_key(|column| (column.kind, column.position));
    key
}

fn values_of(shape: &TableShape) -> BTreeMap<&str, &Column> {
    let is_value = |c: &&Column| matches!(c.kind, ColumnKind::Static | ColumnKind::Regular);
    shape.columns.iter().filter(is_value).map(|column| (column.name.as_str(), column)).collect()
}

fn describe(key: &[&Column]) -> String {
    let part = |kind| {
        key.iter()
            .filter(|column| column.kind == kind)
            .map(|column| match column.order {
                super::ClusteringOrder::Desc => format!("{} {} DESC", column.name, column.cql_type),
                _ => format!("{} {}", column.name, column.cql_type),
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!("(({}), {})", part(ColumnKind::PartitionKey), part(ColumnKind::Clustering))
}

#[cfg(test)]
mod tests {
    use super::super::ClusteringOrder;
    use super::*;
    use uuid::Uuid;

    fn column(name: &str, cql_type: &str, kind: ColumnKind, position: i32) -> Column {
        let order = match kind {
            ColumnKind::Clustering => ClusteringOrder::Asc,
            _ => ClusteringOrder::None,
        };
        Column { name: name.into(), cql_type: cql_type.into(), kind, position, order }
    }

    fn shape() -> TableShape {
        TableShape {
            table_id: Uuid::from_u128(1),
            columns: vec![
                column("k", "int", ColumnKind::PartitionKey, 0),
                column("c", "text", ColumnKind::Clustering, 0),
                column("s", "text", ColumnKind::Static, -1),
                column("v", "map<text, int>", ColumnKind::Regular, -1),
            ],
            is_counter: false,
            dropped: Some(Vec::new()),
        }
    }

    fn dropped(name: &str, dropped_at: i64) -> DroppedColumn {
        DroppedColumn { name: name.into(), dropped_at }
    }

    /// Compares a table with these dropped columns, those of the target among them live again or not.
    fn compare_dropped(was: &[(&str, i64)], is: &[(&str, i64)], live: &[&str]) -> TableComparison {
        let with = |drops: &[(&str, i64)], live: &[&str]| {
            changed(|t| {
                t.dropped = Some(drops.iter().map(|(name, at)| dropped(name, *at)).collect());
                t.columns.extend(live.iter().map(|name| column(name, "int", ColumnKind::Regular, -1)));
            })
        };
        compare_table(&with(was, &[]), &with(is, live))
    }

    fn reasons(existing: &TableShape) -> String {
        match compare_table(&shape(), existing) {
            TableComparison::Incompatible { reasons } => reasons.join("; "),
            other => panic!("{other:?}"),
        }
    }

    fn changed(change: impl FnOnce(&mut TableShape)) -> TableShape {
        let mut changed = shape();
        change(&mut changed);
        changed
    }

    #[test]
    fn the_same_table_under_another_id_is_equal() {
        assert_eq!(compare_table(&shape(), &shape()), TableComparison::Equal { same_id: true });
        let other = changed(|t| t.table_id = Uuid::from_u128(2));
        assert_eq!(compare_table(&shape(), &other), TableComparison::Equal { same_id: false });
    }

    #[test]
    fn a_column_more_is_no_harm_and_one_less_is() {
        let more = changed(|t| t.columns.push(column("n", "int", ColumnKind::Regular, -1)));
        let want = TableComparison::Compatible { added: vec!["n".into()], same_id: true };
        assert_eq!(compare_table(&shape(), &more), want);
        let less = changed(|t| t.columns.retain(|c| c.name != "v"));
        assert_eq!(reasons(&less), "column v (map<text, int>) is missing");
    }

    #[test]
    fn changed_types_are_refused_because_cassandra_would_load_them() {
        let value = changed(|t| t.columns[3].cql_type = "map<text, bigint>".into());
        assert_eq!(reasons(&value), "column v was map<text, int> and is map<text, bigint>");
        let key = changed(|t| t.columns[0].cql_type = "bigint".into());
        assert_eq!(reasons(&key), "the primary key was ((k int), c text) and is ((k bigint), c text)");
    }

    #[test]
    fn a_drop_that_the_target_does_not_know_is_refused() {
        let says =
            |was: &[(&str, i64)], is: &[(&str, i64)], live: &[&str]| match compare_dropped(was, is, live) {
                TableComparison::Incompatible { reasons } => reasons.join("; "),
                _ => String::new(),
            };
        assert!(says(&[("x", 5)], &[], &[]).starts_with("column x was dropped at 1970-01-01T00:00:00.005Z"));
        assert!(says(&[("x", 5)], &[], &["x"]).contains("no record"), "live on the target, it would show");
        assert!(says(&[("x", 5)], &[("x", 4)], &["x"]).contains("come back"));
        assert_eq!(says(&[("x", 5)], &[("x", 4)], &[]), "", "nothing to be seen of it");
        assert_eq!(says(&[("x", 5)], &[("x", 5), ("y", 6)], &["x"]), "");
    }

    #[test]
    fn a_column_dropped_and_added_on_the_target_hides_what_the_backup_holds() {
        let says = |was: &[(&str, i64)], is: &[(&str, i64)]| match compare_dropped(was, is, &[]) {
            TableComparison::Incompatible { reasons } => reasons.join("; "),
            _ => String::new(),
        };
        // `v` is live on both sides.
        assert!(says(&[], &[("v", 5)]).contains("hidden"));
        assert!(says(&[("v", 4)], &[("v", 5)]).contains("hidden"));
        assert_eq!(says(&[("v", 5)], &[("v", 5)]), "");
        let older = TableShape { dropped: None, ..shape() };
        let same = TableComparison::Equal { same_id: true };
        assert_eq!(compare_table(&older, &shape()), same, "a backup from before drops were kept");
    }

    #[test]
    fn another_key_or_order_is_refused() {
        let order = changed(|t| t.columns[1].order = ClusteringOrder::Desc);
        assert!(reasons(&order).ends_with("is ((k int), c text DESC)"));
        let kind = changed(|t| t.columns[1].kind = ColumnKind::PartitionKey);
        assert!(reasons(&kind).starts_with("the primary key was"));
        let regular = changed(|t| t.columns[2].kind = ColumnKind::Regular);
        assert_eq!(reasons(&regular), "column s was static and is regular");
        let counter = changed(|t| t.is_counter = true);
        assert_eq!(reasons(&counter), "it was no counter table and is a counter table");
    }
}
