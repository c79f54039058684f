//! `ringvault restore`: data back into a cluster.

use clap::{Args, Subcommand, ValueEnum};
use ringvault_core::{
    BackupName, ClusterName, HostId,
    job::{JobSpec, RestoreMethod, RestoreSpec},
    restore::{DataCenterMap, InvalidRename, Renames},
    selection::Selection,
};

use super::{find, start};
use crate::{
    args::{
        limits::LimitArgs,
        shared::{ClusterOption, SelectionArgs, StartArgs},
    },
    ask,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    watch,
};

/// `restore …`
#[derive(Debug, Subcommand)]
pub(crate) enum RestoreCommand {
    /// Say how a restore would be done, what it takes and what stands in its way; exit 7 if it
    /// cannot run
    Plan(PlanArgs),
    /// Bring the data back
    Run(RunArgs),
}

/// What to bring back, and where.
#[derive(Debug, Args)]
pub(crate) struct WhatArgs {
    /// The backup to take it from
    #[arg(long, value_name = "BACKUP")]
    from: BackupName,
    /// The cluster to bring it to
    #[arg(long, value_name = "CLUSTER")]
    to: ClusterName,
    #[command(flatten)]
    source: ClusterOption,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Bring a keyspace or a table under another name: KEYSPACE=KEYSPACE or
    /// KEYSPACE.TABLE=KEYSPACE.TABLE. May be given several times; where neither --keyspace nor
    /// --table is, nothing else is brought
    #[arg(long, value_name = "OLD=NEW", value_parser = rename)]
    rename: Vec<String>,
    /// Make keyspaces with data center NEW in place of OLD. May be given several times, also with one name twice: one
    /// may become several, and several one. What exists on the target keeps its replication
    #[arg(long, value_name = "OLD=NEW", value_parser = data_center)]
    dc_map: Vec<String>,
    /// How
    #[arg(long, value_enum, default_value_t = Method::Auto)]
    method: Method,
    /// Empty the target tables first, once everything is downloaded and checked
    #[arg(long)]
    truncate: bool,
    /// Create no keyspace, type or table: the schema must be there
    #[arg(long)]
    skip_schema: bool,
    /// Also bring back roles and permissions, last
    #[arg(long)]
    with_auth: bool,
    /// With Cassandra stopped: each node becomes again what it was when it was backed up, with its tokens and its
    /// host id. Of the backup's own cluster, and whole
    #[arg(long, conflicts_with_all = ["online", "truncate", "skip_schema", "with_auth", "rename", "dc_map"])]
    offline: bool,
    /// While Cassandra runs (the default)
    #[arg(long)]
    online: bool,
    /// Offline: only this node of the backup. May be given several times
    #[arg(long, value_name = "HOST_ID", requires = "offline")]
    node: Vec<HostId>,
    /// Offline: what the nodes held before stays on their disks, beside their data directories
    #[arg(long, requires = "offline")]
    keep_old: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

/// `restore plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// Stop waiting for the plan after this long, such as 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<std::time::Duration>,
}

/// `restore run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// The target cluster's name again: what --truncate and --offline want before they take anything away
    #[arg(long, value_name = "CLUSTER")]
    confirm: Option<ClusterName>,
    #[command(flatten)]
    start: StartArgs,
}

/// How files get into the target.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Method {
    /// The planner chooses
    Auto,
    /// Same tokens: each node takes its own files back
    Copy,
    /// Any ring: each node fetches just the partitions that it owns
    Slice,
    /// Any ring: whole SSTables that meet a node's ranges, then cleanup
    Import,
    /// Any ring: each SSTable is fetched by one node, and streamed to its owners by Cassandra
    Stream,
}

impl Method {
    /// As a job's specification has it.
    pub(super) const fn asked(self) -> RestoreMethod {
        match self {
            Self::Auto => RestoreMethod::Auto,
            Self::Copy => RestoreMethod::Copy,
            Self::Slice => RestoreMethod::Slice,
            Self::Import => RestoreMethod::Import,
            Self::Stream => RestoreMethod::Stream,
        }
    }
}

pub(crate) async fn run(context: &Context, command: RestoreCommand) -> Outcome<Exit> {
    let client = context.client()?;
    match command {
        RestoreCommand::Plan(args) => {
            let start =
                StartArgs { wait: true, timeout: args.timeout, dry_run: false, idempotency_key: None };
            plan(context, &client, &args.what, &start).await
        }
        RestoreCommand::Run(args) if args.start.dry_run => {
            plan(context, &client, &args.what, &args.start).await
        }
        RestoreCommand::Run(args) => {
            let mut spec = spec(&client, &args.what, false).await?;
            if spec.offline {
                let nodes = match spec.nodes.len() {
                    0 => "every node".to_owned(),
                    1 => format!("node {}", spec.nodes[0]),
                    count => format!("{count} nodes"),
                };
                let (target, backup) = (&spec.target, &spec.backup);
                let what = format!(
                    "stops {nodes} of {target} and puts what {backup} holds in place of all that is there"
                );
                ask::confirm(&what, target.as_str(), args.confirm.as_ref().map(ClusterName::as_str))?;
                spec.confirm = Some(spec.target.clone());
            }
            if args.what.truncate {
                let (tables, target, backup) = (tables(&spec), &spec.target, &spec.backup);
                let what = format!("empties {tables} in {target}, then brings back what {backup} holds");
                let given = args.confirm.as_ref().map(ClusterName::as_str);
                ask::confirm(&what, spec.target.as_str(), given)?;
                spec.confirm = Some(spec.target.clone());
            }
            start::start(context, &client, &JobSpec::Restore(spec), &args.start).await
        }
    }
}

/// Has the plan made and prints it. It changes nothing, so it needs no confirmation.
async fn plan(context: &Context, client: &Client, what: &WhatArgs, args: &StartArgs) -> Outcome<Exit> {
    let spec = JobSpec::Restore(spec(client, what, true).await?);
    let job = start::create(client, &spec, args).await?.job;
    let detail = match start::end(context, client, job, args.timeout).await? {
        Ok(detail) => detail,
        Err(exit) => return Ok(exit),
    };
    context.out.document(&detail, || watch::plan_block(&detail))?;
    let exit = watch::exit_of(&detail);
    if let (Exit::Failed, Some(failures)) = (exit, watch::failures(&context.out, &detail)) {
        eprint!("{failures}");
    }
    Ok(exit)
}

fn rename(text: &str) -> Result<String, String> {
    Renames::default().add(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn data_center(text: &str) -> Result<String, String> {
    DataCenterMap::default().add(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// `--dc-map` as a job's specification has it.
pub(super) fn data_centers(pairs: &[String]) -> Outcome<DataCenterMap> {
    let mut map = DataCenterMap::default();
    for pair in pairs {
        map.add(pair).map_err(|error| Failure::usage(format!("--dc-map: {error}")))?;
    }
    Ok(map)
}

/// What is renamed, and what is selected: where nothing is named, what is renamed and nothing else.
fn names(args: &WhatArgs) -> Outcome<(Renames, Selection)> {
    let usage = |error: InvalidRename| Failure::usage(format!("--rename: {error}"));
    let mut renames = Renames::default();
    for text in &args.rename {
        renames.add(text).map_err(usage)?;
    }
    let mut selection = args.selection.selection();
    if selection.names_nothing() {
        selection = Selection { exclude: selection.exclude, ..renames.selection() };
    }
    renames.check(&selection).map_err(usage)?;
    Ok((renames, selection))
}

async fn spec(client: &Client, args: &WhatArgs, plan_only: bool) -> Outcome<RestoreSpec> {
    let (rename, selection) = names(args)?;
    let dc_map = data_centers(&args.dc_map)?;
    let backup = find::backup(client, args.source.cluster.as_ref(), &args.from).await?;
    if !backup.state.is_sealed() {
        let message = format!(
            "backup {} of {} is {}: there is nothing to restore from it",
            backup.name,
            backup.cluster,
            backup.state.as_str()
        );
        return Err(Failure::new(Exit::Conflict, "RV-BACKUP-STATE", message)
            .with_next(format!("ringvault backup list -c {}", backup.cluster)));
    }
    let limits = args.limits.limits()?;
    Ok(RestoreSpec {
        source: backup.cluster,
        backup: backup.name,
        target: args.to.clone(),
        selection,
        method: args.method.asked(),
        truncate: args.truncate,
        confirm: None,
        skip_schema: args.skip_schema,
        with_auth: args.with_auth,
        plan_only,
        rate_limit: limits.everywhere.rate_limit,
        request_limit: limits.everywhere.request_limit,
        data_centers: limits.data_centers,
        rename,
        dc_map,
        nodes: args.node.clone(),
        offline: args.offline,
        keep_old: args.keep_old,
        drill: false,
    })
}

/// What a truncate is about, in a few words.
fn tables(spec: &RestoreSpec) -> String {
    let selection = &spec.selection;
    if selection.names_nothing() {
        return "every table that the backup holds".to_owned();
    }
    let keyspaces = selection
        .keyspaces
        .iter()
        .map(|keyspace| format!("keyspace {}", spec.rename.target_keyspace(keyspace)));
    let tables = selection.tables.iter().map(|table| format!("table {}", spec.rename.target(table)));
    keyspaces.chain(tables).collect::<Vec<_>>().join(", ")
}
