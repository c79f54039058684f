//! `ringvault backup diff`: what changed from one backup to another, by table, read from the vault
//! alone. Contents are compared, node by node, so a file that was only renamed is the same.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use clap::Args;
use ringvault_core::{BackupName, ClusterName, HostId, selection::Selection};
use ringvault_vault::{
    Vault,
    backup::{CapturedSchema, SchemaChange, SealRecord, SealedNode},
    checksum::Checksum,
    manifest::{ManifestFile, TableRef},
};
use serde::Serialize;
use uuid::Uuid;

use super::export::{captured, find, unreadable};
use crate::{
    args::shared::{ClusterOption, SelectionArgs},
    command::vault::VaultArgs,
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{Output, Table, human, one_line},
};

/// Which two.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The backup to start from, such as an earlier one
    from: BackupName,
    /// The backup to compare with it
    to: BackupName,
    #[command(flatten)]
    cluster: ClusterOption,
    #[command(flatten)]
    selection: SelectionArgs,
    #[command(flatten)]
    vault: VaultArgs,
}

/// The answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Difference {
    cluster: ClusterName,
    from: BackupName,
    to: BackupName,
    /// Nodes that only the first holds.
    nodes_gone: Vec<HostId>,
    /// Nodes that only the second holds.
    nodes_new: Vec<HostId>,
    /// `None`: one of them has its schema in an early form that is not compared.
    schema: Option<SchemaDifference>,
    /// Every table of either, by name.
    tables: Vec<TableDifference>,
    total: Figures,
}

/// Objects of the schema, as `table ks.t`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct SchemaDifference {
    gone: Vec<String>,
    new: Vec<String>,
    changed: Vec<String>,
}

/// A table's files on all nodes.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct TableDifference {
    keyspace: String,
    table: String,
    /// Whether it has another table id: it was dropped and made again in between.
    recreated: bool,
    #[serde(flatten)]
    figures: Figures,
}

/// Files and bytes in both, only in the first, only in the second.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
struct Figures {
    files_same: u64,
    bytes_same: u64,
    files_gone: u64,
    bytes_gone: u64,
    files_new: u64,
    bytes_new: u64,
}

impl Figures {
    const fn is_same(&self) -> bool {
        self.files_gone == 0 && self.files_new == 0
    }

    fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            files_same: sum.files_same + one.files_same,
            bytes_same: sum.bytes_same + one.bytes_same,
            files_gone: sum.files_gone + one.files_gone,
            bytes_gone: sum.bytes_gone + one.bytes_gone,
            files_new: sum.files_new + one.files_new,
            bytes_new: sum.bytes_new + one.bytes_new,
        })
    }
}

/// A table's name.
type Name = (String, String);

/// Checksum and bytes of a file.
type Content = (Checksum, u64);

/// How often each content is in a node's part of the first backup.
type Contents = HashMap<(Name, Content), u64>;

/// What is counted while manifests are read.
#[derive(Debug, Default)]
struct Count {
    figures: BTreeMap<Name, Figures>,
    ids: BTreeMap<Name, [BTreeSet<Uuid>; 2]>,
}

impl Count {
    fn see(&mut self, table: &TableRef, side: usize) -> Name {
        let name = (table.keyspace.clone(), table.table.clone());
        self.figures.entry(name.clone()).or_default();
        self.ids.entry(name.clone()).or_default()[side].insert(table.table_id);
        name
    }

    /// A file of the second backup.
    fn second(&mut self, first: &mut Contents, name: Name, content: Content) {
        let (_, size) = content;
        let figures = self.figures.entry(name.clone()).or_default();
        match first.get_mut(&(name, content)).filter(|left| **left > 0) {
            Some(left) => {
                *left -= 1;
                figures.files_same += 1;
                figures.bytes_same += size;
            }
            None => {
                figures.files_new += 1;
                figures.bytes_new += size;
            }
        }
    }

    /// What the second backup did not have.
    fn gone(&mut self, first: Contents) {
        for ((name, (_, size)), left) in first {
            let figures = self.figures.entry(name).or_default();
            figures.files_gone += left;
            figures.bytes_gone += left * size;
        }
    }

    fn tables(self) -> Vec<TableDifference> {
        let Self { figures, ids } = self;
        let differs = |name: &Name| {
            ids.get(name).is_some_and(|[from, to]| !from.is_empty() && !to.is_empty() && from != to)
        };
        let tables = figures.into_iter().map(|(name, figures)| TableDifference {
            recreated: differs(&name),
            keyspace: name.0,
            table: name.1,
            figures,
        });
        tables.collect()
    }
}

pub(super) async fn run(context: &Context, args: &DiffArgs) -> Outcome<Exit> {
    let vault = args.vault.open().await?;
    let from = find(&vault, args.cluster.cluster.as_ref(), &args.from).await?;
    let to = find(&vault, Some(&from.start.cluster), &args.to).await?;
    let selection = args.selection.selection();
    let mut count = Count::default();
    let hosts = |seal: &SealRecord| seal.nodes.iter().map(|node| node.host_id).collect::<BTreeSet<_>>();
    let (hosts_from, hosts_to) = (hosts(&from), hosts(&to));
    for host in hosts_from.union(&hosts_to) {
        let of = |seal: &SealRecord| seal.nodes.iter().find(|node| node.host_id == *host).cloned();
        compare_node(&vault, of(&from).as_ref(), of(&to).as_ref(), &selection, &mut count).await?;
    }
    let tables = count.tables();
    let total = Figures::sum(tables.iter().map(|table| &table.figures));
    let difference = Difference {
        schema: compare_schemas(&vault, &from, &to, &selection).await?,
        cluster: from.start.cluster,
        from: from.start.backup,
        to: to.start.backup,
        nodes_gone: hosts_from.difference(&hosts_to).copied().collect(),
        nodes_new: hosts_to.difference(&hosts_from).copied().collect(),
        tables,
        total,
    };
    context.out.document(&difference, || text(&context.out, &difference))?;
    Ok(Exit::Ok)
}

/// Counts one node's files. Memory: some 100 bytes a file of the first backup.
async fn compare_node(
    vault: &Vault,
    from: Option<&SealedNode>,
    to: Option<&SealedNode>,
    selection: &Selection,
    count: &mut Count,
) -> Outcome<()> {
    let mut first = Contents::new();
    for (side, node) in [from, to].into_iter().enumerate() {
        let Some(node) = node else { continue };
        let manifest =
            ManifestFile::fetch(vault.store(), &node.key, Some(node.blake3), &std::env::temp_dir())
                .await
                .map_err(|error| unreadable(&error))?;
        for entry in manifest.reader().map_err(|error| unreadable(&error.into()))? {
            let entry = entry.map_err(|error| unreadable(&error.into()))?;
            let table = entry.table();
            if !selection.holds(&table.keyspace, &table.table) {
                continue;
            }
            let name = count.see(table, side);
            for component in entry.components() {
                let content = (component.checksum, component.size);
                if side == 0 {
                    *first.entry((name.clone(), content)).or_default() += 1;
                } else {
                    count.second(&mut first, name.clone(), content);
                }
            }
        }
    }
    count.gone(first);
    Ok(())
}

async fn compare_schemas(
    vault: &Vault,
    from: &SealRecord,
    to: &SealRecord,
    selection: &Selection,
) -> Outcome<Option<SchemaDifference>> {
    let mut difference = SchemaDifference::default();
    if from.schema.blake3 == to.schema.blake3 {
        return Ok(Some(difference));
    }
    let read = async |seal: &SealRecord| -> Outcome<Option<CapturedSchema>> {
        captured(&vault.get_schema(&seal.schema).await?, &seal.start.backup)
    };
    let (Some(before), Some(after)) = (read(from).await?, read(to).await?) else { return Ok(None) };
    for (change, object) in before.changes(&after) {
        if !selection.holds(&object.keyspace, object.table_name()) {
            continue;
        }
        let list = match change {
            SchemaChange::Gone => &mut difference.gone,
            SchemaChange::New => &mut difference.new,
            SchemaChange::Changed => &mut difference.changed,
        };
        list.push(object.to_string());
    }
    Ok(Some(difference))
}

fn text(out: &Output, difference: &Difference) -> String {
    let mut text = String::new();
    let mut table = Table::new(&["TABLE", "SAME", "NEW", "GONE", "FILES NEW", "FILES GONE"]);
    let size = |files: u64, bytes: u64| if files == 0 { String::new() } else { human::size(bytes) };
    let mut row = |name: String, figures: &Figures| {
        table.row([
            name.into(),
            size(figures.files_same, figures.bytes_same).into(),
            size(figures.files_new, figures.bytes_new).into(),
            size(figures.files_gone, figures.bytes_gone).into(),
            figures.files_new.to_string().into(),
            figures.files_gone.to_string().into(),
        ]);
    };
    let (same, changed): (Vec<_>, Vec<_>) = difference.tables.iter().partition(|of| of.figures.is_same());
    for of in &changed {
        let recreated = if of.recreated { " (made again)" } else { "" };
        row(format!("{}.{}{recreated}", of.keyspace, of.table), &of.figures);
    }
    if !same.is_empty() {
        let figures = Figures::sum(same.iter().map(|of| &of.figures));
        row(format!("{} as before", human::count(same.len() as u64, "table")), &figures);
    }
    row("total".to_owned(), &difference.total);
    text.push_str(&table.render(out.style.stdout));
    if let Some(schema) = &difference.schema {
        for (sign, objects) in [("+", &schema.new), ("-", &schema.gone), ("~", &schema.changed)] {
            for object in objects {
                let _ = writeln!(text, "{sign} {}", one_line(object));
            }
        }
    } else {
        text.push_str("the schemas are not compared: one is in an early form\n");
    }
    for (sign, nodes) in [("+", &difference.nodes_new), ("-", &difference.nodes_gone)] {
        for node in nodes {
            let _ = writeln!(text, "{sign} node {node}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use ringvault_vault::hash::Digest;

    use super::*;

    #[test]
    fn contents_are_matched_one_by_one_whatever_their_names() {
        let name = || ("ks".to_owned(), "t".to_owned());
        let content = |text: &str| (Checksum::Blake3(Digest::of(text.as_bytes())), 10);
        let mut count = Count::default();
        let mut first: Contents = [("a", 2), ("b", 1)].map(|(c, n)| ((name(), content(c)), n)).into();
        for text in ["a", "c", "a", "a"] {
            count.second(&mut first, name(), content(text));
        }
        count.gone(first);
        let figures = count.tables().remove(0).figures;
        assert_eq!((figures.files_same, figures.files_new, figures.files_gone), (2, 2, 1));
        assert_eq!((figures.bytes_same, figures.bytes_new, figures.bytes_gone), (20, 20, 10));
        assert!(!figures.is_same());
    }

    #[test]
    fn a_table_with_another_id_was_made_again() {
        let mut count = Count::default();
        let table = |id| TableRef {
            keyspace: "ks".into(),
            table: "t".into(),
            table_id: Uuid::from_u128(id),
            data_dir: 0,
        };
        count.see(&table(1), 0);
        count.see(&table(1), 1);
        assert!(!count.tables()[0].recreated);
        let mut count = Count::default();
        count.see(&table(1), 0);
        count.see(&table(2), 1);
        assert!(count.tables()[0].recreated);
    }
}
