//! `ringvault drill`: proof that a backup can be restored.

use clap::{Args, Subcommand};
use ringvault_core::{
    BackupName, ClusterName,
    job::{DrillSpec, JobSpec},
};
use serde_json::json;

use super::{
    find,
    restore::{Method, data_center, data_centers},
    start,
};
use crate::{
    args::{
        limits::LimitArgs,
        shared::{ClusterOption, SelectionArgs, StartArgs},
    },
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// `drill …`
#[derive(Debug, Subcommand)]
pub(crate) enum DrillCommand {
    /// Restore a backup into keyspaces of its own, read it back and drop it again; nothing that is there
    /// is touched. With --wait exit 4 if what came back is not what the backup holds
    Run(RunArgs),
}

/// What to try, and where.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    cluster: ClusterOption,
    /// The backup (default: the newest that can be restored)
    #[arg(long, value_name = "BACKUP")]
    from: Option<BackupName>,
    /// The cluster to bring it to (default: its own, beside what is there)
    #[arg(long, value_name = "CLUSTER")]
    to: Option<ClusterName>,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Make keyspaces with data center NEW in place of OLD. May be given several times
    #[arg(long, value_name = "OLD=NEW", value_parser = data_center)]
    dc_map: Vec<String>,
    /// How
    #[arg(long, value_enum, default_value_t = Method::Auto)]
    method: Method,
    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    start: StartArgs,
}

pub(crate) async fn run(context: &Context, command: DrillCommand) -> Outcome<Exit> {
    let DrillCommand::Run(args) = command;
    let client = context.client()?;
    let spec = JobSpec::Drill(spec(&client, &args).await?);
    if args.start.dry_run {
        let accepted = client.dry_create_job(&spec).await?;
        let backup = accepted.backup.as_ref().map_or("-", |name| name.as_str());
        let target = spec.cluster();
        context.out.document(&json!({"dry_run": true, "job": spec, "backup": backup}), || {
            format!("would bring {backup} to keyspaces of its own in {target}, read it and drop it again\n")
        })?;
        return Ok(Exit::Ok);
    }
    start::start(context, &client, &spec, &args.start).await
}

async fn spec(client: &Client, args: &RunArgs) -> Outcome<DrillSpec> {
    let (cluster, backup) = match (&args.from, &args.cluster.cluster) {
        (Some(name), cluster) => {
            let found = find::backup(client, cluster.as_ref(), name).await?;
            (found.cluster, Some(found.name))
        }
        (None, Some(cluster)) => (cluster.clone(), None),
        (None, None) => {
            return Err(Failure::usage("which cluster? Say -c CLUSTER, or a backup with --from".to_owned()));
        }
    };
    let limits = args.limits.limits()?;
    Ok(DrillSpec {
        cluster,
        backup,
        target: args.to.clone(),
        selection: args.selection.selection(),
        method: args.method.asked(),
        rate_limit: limits.everywhere.rate_limit,
        request_limit: limits.everywhere.request_limit,
        data_centers: limits.data_centers,
        dc_map: data_centers(&args.dc_map)?,
        policy: None,
    })
}
