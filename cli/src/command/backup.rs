//! `ringvault backup`: taking, listing and deleting backups.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use ringvault_core::{
    BackupName, ClusterName,
    api::{BackupSummary, NodeState, NodeView, Verification},
    backup::BackupState,
    cluster::RequiredCoverage,
    job::{BackupMode, BackupSpec, JobSpec, ParallelScope, PurgeSpec, VerifyLevel},
};
use serde_json::json;

use super::{find, purge, start};
use crate::{
    args::{
        limits::LimitArgs,
        shared::{ClusterOption, SelectionArgs, StartArgs, word},
    },
    client::{BackupFilter, Client},
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{Cell, Output, Table, Tone, human, or_none, state_cell},
};

pub(crate) mod diff;
pub(crate) mod export;
mod show;

/// `backup …`
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Take a backup of a cluster
    Create(CreateArgs),
    /// Every backup, the newest first
    List(ListArgs),
    /// One backup: what it holds, by node and keyspace
    Show(ShowArgs),
    /// What changed from one backup to another, by table; needs the vault alone
    Diff(Box<diff::DiffArgs>),
    /// Take a backup away for good: a purge of one
    Delete(DeleteArgs),
    /// Write a backup's SSTables to a folder, for Cassandra's own tools; needs the vault alone
    Export(Box<export::ExportArgs>),
}

/// Of what, how.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The cluster
    #[arg(long, short, value_name = "CLUSTER")]
    cluster: ClusterName,
    /// Its name; without it CLUSTER-YYYYMMDDTHHMMSSZ
    #[arg(long, value_name = "NAME")]
    name: Option<BackupName>,
    /// Whether to reuse what the vault holds
    #[arg(long, value_enum, default_value_t = Mode::Incremental)]
    mode: Mode,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Only nodes of this data center
    #[arg(long, value_name = "DC")]
    dc: Option<String>,
    /// How much of the ring it must hold to succeed
    #[arg(long, value_enum, default_value_t = Coverage::All)]
    coverage: Coverage,
    /// A label, kept with the backup; may be given more than once
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Nodes that upload at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_parallel_nodes: Option<u32>,
    /// Count these in the whole cluster, in each data center or in each rack
    #[arg(long, value_enum, value_name = "SCOPE", requires = "max_parallel_nodes", default_value_t = Scope::Cluster)]
    max_parallel_scope: Scope,
    #[command(flatten)]
    limits: LimitArgs,
    /// Nobody can delete it for so long, such as 400d; never less than the vault's own period
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    lock: Option<Duration>,
    #[command(flatten)]
    start: StartArgs,
}

/// Which backups.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    cluster: ClusterOption,
    /// Only in this state: running, complete, covering, incomplete, dead or expired
    #[arg(long, value_parser = word::<BackupState>)]
    state: Option<BackupState>,
    /// Also those that are expired or dead
    #[arg(long, conflicts_with = "state")]
    all: bool,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

/// Which backup.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its name
    backup: BackupName,
    #[command(flatten)]
    cluster: ClusterOption,
}

/// Which backup, and that it is meant.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Its name
    backup: BackupName,
    #[command(flatten)]
    cluster: ClusterOption,
    /// The backup's name again
    #[arg(long, value_name = "BACKUP")]
    confirm: Option<BackupName>,
    #[command(flatten)]
    start: StartArgs,
}

/// Reuse.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Upload only what no backup in the vault holds
    Incremental,
    /// Upload everything, and share it with no other backup
    Full,
}

/// Among whom nodes are counted, in the words of a policy.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scope {
    /// The whole cluster
    Cluster,
    /// Each data center by itself
    #[value(name = "data_center")]
    DataCenter,
    /// Each rack by itself
    Rack,
}

/// Replicas of each range.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Coverage {
    /// Every node
    All,
    /// A majority of each range's replicas
    Quorum,
    /// One replica of each range
    One,
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE")),
    }
}

pub(crate) async fn run(context: &Context, command: BackupCommand) -> Outcome<Exit> {
    match command {
        BackupCommand::Create(args) => create(context, &context.client()?, &args).await,
        BackupCommand::List(args) => list(context, &context.client()?, &args).await,
        BackupCommand::Show(args) => {
            let client = context.client()?;
            let found = find::backup(&client, args.cluster.cluster.as_ref(), &args.backup).await?;
            let detail = client.backup(&found.cluster, &found.name).await?;
            let text = || show::text(&context.out, &detail);
            context.out.document(&detail, text)?;
            Ok(Exit::Ok)
        }
        BackupCommand::Delete(args) => delete(context, &context.client()?, &args).await,
        BackupCommand::Diff(args) => diff::run(context, &args).await,
        BackupCommand::Export(args) => export::run(context, &args).await,
    }
}

async fn create(context: &Context, client: &Client, args: &CreateArgs) -> Outcome<Exit> {
    let limits = args.limits.limits()?;
    let spec = BackupSpec {
        cluster: args.cluster.clone(),
        name: args.name.clone(),
        mode: match args.mode {
            Mode::Incremental => BackupMode::Incremental,
            Mode::Full => BackupMode::Full,
        },
        selection: args.selection.selection(),
        dc: args.dc.clone(),
        coverage: match args.coverage {
            Coverage::All => RequiredCoverage::All,
            Coverage::Quorum => RequiredCoverage::Quorum,
            Coverage::One => RequiredCoverage::One,
        },
        tags: args.tags.iter().cloned().collect::<BTreeMap<_, _>>(),
        max_parallel_nodes: args.max_parallel_nodes,
        max_parallel_scope: match args.max_parallel_scope {
            Scope::Cluster => ParallelScope::Cluster,
            Scope::DataCenter => ParallelScope::DataCenter,
            Scope::Rack => ParallelScope::Rack,
        },
        rate_limit: limits.everywhere.rate_limit,
        request_limit: limits.everywhere.request_limit,
        data_centers: limits.data_centers,
        lock_seconds: args.lock.map(|lock| lock.as_secs()),
        policy: None,
    };
    if args.start.dry_run {
        return would_create(context, client, &spec).await;
    }
    start::start(context, client, &JobSpec::Backup(spec), &args.start).await
}

/// Which nodes a backup would be asked of, and which of them cannot answer.
async fn would_create(context: &Context, client: &Client, spec: &BackupSpec) -> Outcome<Exit> {
    let accepted = client.dry_create_job(&JobSpec::Backup(spec.clone())).await?;
    let cluster = client.cluster(&spec.cluster).await?;
    let asked: Vec<&NodeView> = cluster
        .members
        .iter()
        .filter(|node| node.host_id.is_some())
        .filter(|node| spec.dc.as_ref().is_none_or(|dc| *dc == node.dc))
        .collect();
    let away: Vec<&str> =
        asked.iter().filter(|node| node.state != NodeState::Live).map(|node| node.address.as_str()).collect();
    let answer = json!({
        "dry_run": true,
        "job": JobSpec::Backup(spec.clone()),
        "backup": accepted.backup,
        "nodes": asked.iter().map(|node| &node.address).collect::<Vec<_>>(),
        "nodes_away": away,
    });
    context.out.document(&answer, || {
        let nodes = human::count(u64::try_from(asked.len()).unwrap_or(u64::MAX), "node");
        let mut text = format!("would back up {nodes} of {}; nothing was started\n", spec.cluster);
        if !away.is_empty() {
            let _ = writeln!(text, "cannot be backed up now: {}", away.join(", "));
        }
        text
    })?;
    Ok(if away.is_empty() && !asked.is_empty() { Exit::Ok } else { Exit::Problems })
}

/// What has expired or died is left out unless it is asked for: it can do nothing for anybody, and
/// its name stays for ever.
async fn list(context: &Context, client: &Client, args: &ListArgs) -> Outcome<Exit> {
    let everything = args.all || args.state.is_some();
    let filter = BackupFilter {
        cluster: args.cluster.cluster.clone(),
        name: None,
        state: args.state,
        limit: args.limit.filter(|_| everything),
    };
    let mut page = client.backups(&filter).await?;
    let found = page.items.len();
    if !everything {
        let gone = |state| matches!(state, BackupState::Expired | BackupState::Dead);
        page.items.retain(|backup| !gone(backup.state));
    }
    let left_out = u64::try_from(found - page.items.len()).unwrap_or(u64::MAX);
    page.items.truncate(args.limit.map_or(usize::MAX, |limit| limit as usize));
    let table = table(&context.out, &page.items);
    let empty = "there is no such backup. Next: ringvault backup create -c CLUSTER";
    context.out.list(&page, &table, empty)?;
    if left_out > 0 {
        eprintln!("left out: {} that expired or died (--all)", human::count(left_out, "backup"));
    }
    Ok(Exit::Ok)
}

fn table(out: &Output, backups: &[BackupSummary]) -> Table {
    let mut table =
        Table::new(&["BACKUP", "STATE", "NODES", "SIZE", "NEW", "VERIFIED", "LOCKED UNTIL", "HOLD"]);
    for backup in backups {
        let figures = &backup.figures;
        let sealed = backup.sealed_at.is_some();
        let size = |bytes| {
            if sealed { human::size(bytes) } else { String::new() }
        };
        let nodes = format!("{}/{}", figures.nodes_held, figures.nodes_total);
        let locked = backup.locked_until.map(|at| at.with_timezone(&out.zone).date_naive());
        table.row([
            backup.name.as_str().into(),
            state_cell(backup.state.as_str()),
            if sealed { nodes } else { String::new() }.into(),
            size(figures.bytes).into(),
            size(figures.bytes_new).into(),
            verified(backup.verified.as_ref()),
            or_none(locked).into(),
            backup.holds.join(",").into(),
        ]);
    }
    table
}

/// `deep` (every byte and every SSTable's structure), `digest` (every byte), `presence`, `DAMAGED`; or `-`.
/// When it was, `backup show` says.
fn verified(verification: Option<&Verification>) -> Cell {
    let Some(last) = verification else {
        return human::NONE.into();
    };
    let word = match (last.damaged, last.level) {
        (0, VerifyLevel::Sstable) => "deep",
        (0, VerifyLevel::Digest) => "digest",
        (0, VerifyLevel::Presence) => "presence",
        _ => "DAMAGED",
    };
    let tone = if last.damaged > 0 { Tone::Bad } else { Tone::Plain };
    Cell::toned(word, tone)
}

async fn delete(context: &Context, client: &Client, args: &DeleteArgs) -> Outcome<Exit> {
    let found = find::backup(client, args.cluster.cluster.as_ref(), &args.backup).await?;
    if found.tags.get("origin").is_some_and(|origin| origin == "medusa") {
        context.out.note(
            "its data is Medusa's: only Ringvault's record of it goes, medusa delete-backup frees the room",
        );
    }
    let spec = PurgeSpec {
        cluster: found.cluster,
        backups: vec![found.name.clone()],
        retention: None,
        policy: None,
    };
    let given = args.confirm.as_ref().map(BackupName::as_str);
    purge::preview_and_run(context, client, spec, (found.name.as_str(), given), &args.start).await
}
