//! What can stand in a restore's way, found before anything is changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use ringvault_cassandra::{
    cql::Consistency,
    schema::{ObjectKind, SchemaDump, TableComparison, TypeMisfit, compare_table, compare_types},
};
use ringvault_core::{
    TaskError,
    cluster::{Coverage, CoverageReport, Replication, Topology},
    job::{RestoreMethod, RestoreSpec},
    restore::AUTH_KEYSPACE,
    selection::TableName,
};
use ringvault_vault::backup::SealRecord;

use crate::executor::{Executor, snapshot::is_wanted};

/// Cassandra's default `gc_grace_seconds`, for tables that are still to be made.
const DEFAULT_GC_GRACE: Duration = Duration::from_hours(240);
/// Tables named in one line.
const MAX_NAMED: usize = 5;
/// Lines of one kind listed before the rest is only counted.
const MAX_LINES: usize = 50;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) blockers: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) checks: Vec<String>,
}

impl Findings {
    pub(super) fn blocker(&mut self, text: String) {
        push(&mut self.blockers, text);
    }

    pub(super) fn warning(&mut self, text: String) {
        push(&mut self.warnings, text);
    }

    pub(super) fn check(&mut self, text: String) {
        push(&mut self.checks, text);
    }
}

fn push(lines: &mut Vec<String>, text: String) {
    match lines.len() {
        len if len < MAX_LINES => lines.push(text),
        MAX_LINES => lines.push("and more of the kind".to_owned()),
        _ => {}
    }
}

/// Both schemas and what of them is meant.
pub(super) struct SchemaCheck<'a> {
    pub(super) spec: &'a RestoreSpec,
    pub(super) seal: &'a SealRecord,
    /// As it was captured.
    pub(super) backup: &'a SchemaDump,
    /// Under the names that the tables come by.
    pub(super) wanted: &'a SchemaDump,
    pub(super) existing: &'a SchemaDump,
    /// By their names in the backup.
    pub(super) tables: &'a [TableName],
    /// By their names on the target, in the same order.
    pub(super) targets: &'a [TableName],
}

impl SchemaCheck<'_> {
    /// Everything that was named is in the backup.
    pub(super) fn selection(&self, findings: &mut Findings) {
        let backup = &self.spec.backup;
        for keyspace in &self.spec.selection.keyspaces {
            if !self.tables.iter().any(|table| table.keyspace == *keyspace) {
                findings.blocker(format!(
                    "{backup} holds no table of keyspace {keyspace} that can be restored online"
                ));
            }
        }
        for table in &self.spec.selection.tables {
            if self.tables.contains(table) {
                continue;
            }
            let held = is_wanted(&self.seal.start.selection, &table.keyspace, &table.table);
            let view = self.backup.find(ObjectKind::View, &table.keyspace, &table.table);
            findings.blocker(match view.and_then(|view| view.base.as_deref()) {
                Some(base) => format!("{table} is a view: restore its base table {}.{base}", table.keyspace),
                None if !held => format!("{table} was left out of {backup}"),
                None => format!("{backup} holds no table {table} that can be restored online"),
            });
        }
        if self.tables.is_empty() && findings.blockers.is_empty() {
            findings.blocker(format!("{backup} holds no table to restore"));
        }
    }

    /// Existing tables and types fit; missing ones can be created.
    pub(super) fn schema(&self, target: &Topology, findings: &mut Findings) {
        for table in self.targets {
            if self.existing.find(ObjectKind::View, &table.keyspace, &table.table).is_some() {
                findings.blocker(format!("{table} is a view on the target: choose another name"));
                continue;
            }
            let Some(wanted) = self.wanted.shape(&table.keyspace, &table.table) else { continue };
            match self.existing.shape(&table.keyspace, &table.table) {
                Some(existing) => match compare_table(wanted, existing) {
                    TableComparison::Equal { .. } => {}
                    TableComparison::Compatible { added, .. } => findings.warning(format!(
                        "{table} has columns that the backup does not know: {} will be null",
                        added.join(", ")
                    )),
                    TableComparison::Incompatible { reasons } => {
                        findings.blocker(format!("{table} does not fit the backup: {}", reasons.join(", ")));
                    }
                },
                None if self.spec.skip_schema => {
                    findings.blocker(format!(
                        "{table} does not exist on the target, and --skip-schema creates nothing"
                    ));
                }
                None => {}
            }
        }
        self.types(findings);
        self.data_centers(target, findings);
    }

    fn types(&self, findings: &mut Findings) {
        for misfit in compare_types(self.wanted, self.existing, self.targets) {
            match misfit {
                TypeMisfit::Differs { name } => findings.blocker(format!("type {name} is not what it was")),
                TypeMisfit::Missing { name } if self.spec.skip_schema => findings.blocker(format!(
                    "type {name} does not exist on the target, and --skip-schema creates nothing"
                )),
                TypeMisfit::Missing { .. } => {}
            }
        }
    }

    /// Views are built anew from what the target has; the backup's own views of the same name are not
    /// made then.
    pub(super) fn views(&self, findings: &mut Findings) {
        for view in self.existing.objects.iter().filter(|object| object.kind == ObjectKind::View) {
            let base = TableName::new(&view.keyspace, view.base.as_deref().unwrap_or_default());
            let wanted = self.wanted.find(ObjectKind::View, &view.keyspace, &view.name);
            let differs = wanted.is_some_and(|wanted| !wanted.says_the_same(view));
            if self.targets.contains(&base) && differs {
                findings.warning(format!(
                    "view {}.{} is not what it was: the target's stays",
                    view.keyspace, view.name
                ));
            }
        }
    }

    /// Roles and grants that are replaced are told: whoever does not find his own afterwards must know
    /// why.
    pub(super) fn roles(&self, findings: &mut Findings) {
        if self.tables.iter().any(|table| table.keyspace == AUTH_KEYSPACE) {
            let others = if self.spec.truncate { "others are deleted" } else { "others stay" };
            findings.warning(format!(
                "roles and grants become those of the backup, passwords too; {others}; the role that Ringvault logs in as stays as it is"
            ));
        }
    }

    /// A node that receives a whole SSTable for a table with a storage-attached index wants the index's files with
    /// it, which the bulk loader does not send (5.0.4: "Incomplete per-SSTable index build"). On tables that the
    /// restore makes they are made last ([`RestorePlan::is_made_last`](super::record::RestorePlan)).
    pub(super) fn streams(&self, findings: &mut Findings) {
        if self.spec.method != RestoreMethod::Stream {
            return;
        }
        for index in self.existing.objects.iter().filter(|object| object.is_attached_index()) {
            let base = TableName::new(&index.keyspace, index.base.as_deref().unwrap_or_default());
            if self.targets.contains(&base) {
                findings.blocker(format!(
                    "{base} has the storage-attached index {}, for which Cassandra takes no streamed SSTables: drop it for as long, or restore by slice or import",
                    index.name
                ));
            }
        }
    }

    /// The replication that a keyspace of the target is made with.
    fn replication_in_backup(&self, keyspace: &str) -> Option<&Replication> {
        let known = &self.seal.topology.keyspaces;
        let comes_to_it = |(_, target): &(&TableName, &TableName)| target.keyspace == keyspace;
        known.get(keyspace).or_else(|| {
            let (table, _) = self.tables.iter().zip(self.targets).find(comes_to_it)?;
            known.get(&table.keyspace)
        })
    }

    /// What a table does not bring along where it comes by another name.
    pub(super) fn renames(&self, findings: &mut Findings) {
        for view in self.backup.objects.iter().filter(|object| object.kind == ObjectKind::View) {
            let base = TableName::new(&view.keyspace, view.base.as_deref().unwrap_or_default());
            let Some(place) = self.tables.iter().position(|table| *table == base) else { continue };
            let target = &self.targets[place];
            if *target != base && target.keyspace == base.keyspace {
                findings.warning(format!(
                    "{target} comes without view {}.{}, whose name is taken in that keyspace",
                    view.keyspace, view.name
                ));
            }
        }
        for index in self.wanted.objects.iter().filter(|object| object.kind == ObjectKind::Index) {
            let base = TableName::new(&index.keyspace, index.base.as_deref().unwrap_or_default());
            let there = self.existing.find(ObjectKind::Index, &index.keyspace, &index.name);
            if self.targets.contains(&base) && there.is_some_and(|there| there.base != index.base) {
                findings.warning(format!(
                    "{base} comes without its index {}: another table of that keyspace has one of this name",
                    index.name
                ));
            }
        }
    }

    fn data_centers(&self, target: &Topology, findings: &mut Findings) {
        for object in self.wanted.objects.iter().filter(|o| o.kind == ObjectKind::Keyspace) {
            let keyspace = &object.keyspace;
            let needed = self.targets.iter().any(|table| table.keyspace == *keyspace);
            if !needed || self.existing.find(ObjectKind::Keyspace, keyspace, keyspace).is_some() {
                continue;
            }
            let Some(replication) = self.replication_in_backup(keyspace) else { continue };
            let Replication::NetworkTopology { factors } = self.spec.dc_map.replication(replication) else {
                continue;
            };
            for (dc, factor) in factors {
                match target.nodes.iter().filter(|node| node.dc == dc).count() {
                    0 => findings.blocker(format!(
                        "keyspace {keyspace} is to be replicated to data center {dc}, which the target does not have (it has {}): say --dc-map {dc}=OTHER, or create the keyspace first",
                        data_centers_of(target)
                    )),
                    nodes if nodes < factor as usize => findings.warning(format!(
                        "keyspace {keyspace} wants {factor} copies in data center {dc}, which has {nodes} nodes"
                    )),
                    _ => {}
                }
            }
        }
        let known = &self.seal.topology;
        for dc in self.spec.dc_map.named().filter(|dc| !known.nodes.iter().any(|node| node.dc == *dc)) {
            findings.blocker(format!(
                "--dc-map names data center {dc}, which the backup's ring does not have (it has {})",
                data_centers_of(known)
            ));
        }
    }

    /// Every range of what is selected is held.
    pub(super) fn coverage(&self, findings: &mut Findings) {
        for lack in lacking_keyspaces(self.tables, &self.seal.report, &self.seal.topology) {
            findings.blocker(lack);
        }
        if self.seal.coverage != Coverage::Complete {
            let missing = self.seal.report.missing.len();
            findings.warning(format!(
                "the backup is {}: {missing} nodes are missing",
                self.seal.coverage.as_str()
            ));
        }
    }

    /// Deletions older than a table's `gc_grace_seconds` may be forgotten, while what they deleted
    /// comes back.
    pub(super) fn age(
        &self,
        now: DateTime<Utc>,
        gc_grace: &BTreeMap<TableName, Duration>,
        findings: &mut Findings,
    ) {
        let taken = self.seal.nodes.iter().map(|node| node.snapshot_at).min().unwrap_or(self.seal.sealed_at);
        let age = (now - taken).to_std().unwrap_or_default();
        let older = older_than_grace(self.targets, age, gc_grace);
        if !older.is_empty() {
            findings.warning(format!(
                "the backup is {} old, which is more than gc_grace_seconds of {}: deleted rows may come back where tables are not truncated, or where a replica had missed the deletion",
                in_words(age),
                named(&older)
            ));
        }
        if self.spec.truncate {
            findings.warning(
                "Cassandra keeps a snapshot of each table that it truncates (auto_snapshot): its room is free again after nodetool clearsnapshot"
                    .to_owned(),
            );
        }
    }
}

/// Keyspaces that the backup does not hold, or not all ranges of. One that its report does not name
/// is not in it: a backup of one data center leaves out what has no replicas there.
fn lacking_keyspaces(tables: &[TableName], report: &CoverageReport, source: &Topology) -> Vec<String> {
    let keyspaces: BTreeSet<&str> = tables.iter().map(|table| table.keyspace.as_str()).collect();
    keyspaces
        .into_iter()
        .filter(|keyspace| source.keyspaces.get(*keyspace) != Some(&Replication::Local))
        .filter_map(|keyspace| match report.keyspaces.get(keyspace) {
            None => Some(format!(
                "the backup does not hold keyspace {keyspace}: it has no replicas on the nodes that were backed up. Name what is to be restored with --keyspace"
            )),
            Some(held) if held.fewest_replicas == 0 => {
                Some(format!("the backup lacks token ranges of keyspace {keyspace}"))
            }
            Some(_) => None,
        })
        .collect()
}

fn older_than_grace<'a>(
    tables: &'a [TableName],
    age: Duration,
    gc_grace: &BTreeMap<TableName, Duration>,
) -> Vec<&'a TableName> {
    tables.iter().filter(|table| age > *gc_grace.get(*table).unwrap_or(&DEFAULT_GC_GRACE)).collect()
}

/// The data centers of a ring, in words.
fn data_centers_of(ring: &Topology) -> String {
    let all: BTreeSet<&str> = ring.nodes.iter().map(|node| node.dc.as_str()).collect();
    all.into_iter().collect::<Vec<_>>().join(", ")
}

fn named(tables: &[&TableName]) -> String {
    let names: Vec<String> = tables.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let more = tables.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more tables") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

fn in_words(age: Duration) -> String {
    let hours = age.as_secs() / 3600;
    match hours {
        0 => format!("{} minutes", age.as_secs() / 60),
        1..48 => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

impl Executor {
    /// Tables that hold data are blockers unless they are to be truncated.
    pub(super) async fn check_empty(
        &self,
        spec: &RestoreSpec,
        existing: &SchemaDump,
        tables: &[TableName],
        findings: &mut Findings,
    ) -> Result<(), TaskError> {
        if spec.truncate {
            return Ok(());
        }
        let cql = self.node.cql().await?;
        let mut full = Vec::new();
        for table in tables {
            // Roles are always there; they are put in place row by row.
            let is_there = existing.find(ObjectKind::Table, &table.keyspace, &table.table).is_some();
            if !is_there || table.keyspace == AUTH_KEYSPACE {
                continue;
            }
            match cql.is_empty(table, Consistency::All).await {
                Ok(true) => {}
                Ok(false) => full.push(table),
                Err(error) if spec.plan_only => {
                    findings.blocker(format!("{table} could not be read at every replica: {}", error.kind));
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if !full.is_empty() {
            findings.blocker(not_empty(&full));
        }
        Ok(())
    }
}

fn not_empty(tables: &[&TableName]) -> String {
    let are = if tables.len() == 1 { "is" } else { "are" };
    format!("{} {are} not empty: add --truncate or choose --rename", named(tables))
}

#[cfg(test)]
mod tests {
    use ringvault_core::cluster::KeyspaceCoverage;

    use super::*;

    #[test]
    fn a_keyspace_that_the_backup_does_not_hold_is_not_restored() {
        let held = |ranges, fewest_replicas| KeyspaceCoverage { ranges, held: 0, fewest_replicas };
        let report = CoverageReport {
            coverage: Coverage::Covering,
            keyspaces: [("held".to_owned(), held(3, 1)), ("thin".to_owned(), held(3, 0))].into(),
            missing: Vec::new(),
        };
        let source =
            Topology { nodes: Vec::new(), keyspaces: [("local".to_owned(), Replication::Local)].into() };
        let lacking = |keyspace| {
            let tables = [TableName::new(keyspace, "a"), TableName::new(keyspace, "b")];
            lacking_keyspaces(&tables, &report, &source)
        };
        assert!(lacking("held").is_empty() && lacking("local").is_empty());
        assert!(lacking("thin")[0].contains("lacks token ranges"));
        let absent = lacking("west");
        assert!(absent.len() == 1 && absent[0].contains("does not hold keyspace west"), "{absent:?}");
    }

    #[test]
    fn many_full_tables_are_one_line() {
        let tables: Vec<TableName> = (0..7).map(|n| TableName::new("k", format!("t{n}"))).collect();
        let some: Vec<&TableName> = tables.iter().collect();
        assert_eq!(not_empty(&some[..1]), "k.t0 is not empty: add --truncate or choose --rename");
        assert_eq!(
            not_empty(&some),
            "k.t0, k.t1, k.t2, k.t3, k.t4 and 2 more tables are not empty: add --truncate or choose --rename"
        );
    }

    #[test]
    fn each_table_has_a_grace_of_its_own() {
        let (short, usual) = (TableName::new("k", "short"), TableName::new("k", "usual"));
        let tables = [short.clone(), usual];
        let grace = [(short.clone(), Duration::from_hours(1))].into();
        let older = |hours| older_than_grace(&tables, Duration::from_hours(hours), &grace);
        assert!(older(1).is_empty());
        assert_eq!(older(2), [&short]);
        assert_eq!(older(241).len(), 2);
    }
}
