//! `ringvault purge`: taking expired backups away. What goes is always shown before it goes.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use ringvault_core::{
    BackupName, ClusterName, PolicyName,
    api::PurgePreview,
    job::{JobSpec, PurgeSpec},
    policy::Retention,
};

use super::{find, start};
use crate::{
    args::shared::StartArgs,
    ask,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Output, Table, human, state_cell},
    watch::still_locked,
};

/// `purge …`
#[derive(Debug, Subcommand)]
pub(crate) enum PurgeCommand {
    /// Say what would go and what stays, and why
    Plan(PlanArgs),
    /// Take it away
    Run(RunArgs),
}

/// What goes: by name, by a policy's retention, or by a retention given here. With none of these
/// only what dead backups left behind.
#[derive(Debug, Args)]
pub(crate) struct WhatArgs {
    /// Exactly these backups
    #[arg(value_name = "BACKUP", conflicts_with_all = ["policy", "retention"])]
    backups: Vec<BackupName>,
    /// The cluster
    #[arg(long, short, value_name = "CLUSTER")]
    cluster: ClusterName,
    /// What this policy's retention expires
    #[arg(long, value_name = "POLICY", conflicts_with = "retention")]
    policy: Option<PolicyName>,
    #[command(flatten)]
    retention: RetentionArgs,
}

/// A retention on the command line.
#[derive(Debug, Args)]
#[group(id = "retention", multiple = true)]
struct RetentionArgs {
    /// Keep the newest so many
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Older than this goes, such as 30d
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    max_age: Option<std::time::Duration>,
    /// Keep the newest of each of the last so many days
    #[arg(long, value_name = "N")]
    daily: Option<u32>,
    /// Keep the newest of each of the last so many ISO weeks
    #[arg(long, value_name = "N")]
    weekly: Option<u32>,
    /// Keep the newest of each of the last so many months
    #[arg(long, value_name = "N")]
    monthly: Option<u32>,
    /// Keep the newest of each of the last so many years
    #[arg(long, value_name = "N")]
    yearly: Option<u32>,
    /// So many restorable backups stay whatever else says; 1 without it
    #[arg(long, value_name = "N")]
    min_restorable: Option<u32>,
}

impl RetentionArgs {
    fn get(&self) -> Option<Retention> {
        let retention = Retention {
            keep_last: self.keep_last,
            max_age: self.max_age,
            daily: self.daily,
            weekly: self.weekly,
            monthly: self.monthly,
            yearly: self.yearly,
            min_restorable: self.min_restorable,
        };
        (retention != Retention::default()).then_some(retention)
    }
}

/// `purge plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    what: WhatArgs,
}

/// `purge run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    what: WhatArgs,
    /// The cluster's name again
    #[arg(long, value_name = "CLUSTER")]
    confirm: Option<ClusterName>,
    #[command(flatten)]
    start: StartArgs,
}

pub(crate) async fn run(context: &Context, command: PurgeCommand) -> Outcome<Exit> {
    let client = context.client()?;
    match command {
        PurgeCommand::Plan(args) => {
            let spec = spec(&client, &args.what).await?;
            plan(context, &client, &spec).await
        }
        PurgeCommand::Run(args) => {
            let spec = spec(&client, &args.what).await?;
            let cluster = spec.cluster.clone();
            let given = args.confirm.as_ref().map(ClusterName::as_str);
            preview_and_run(context, &client, spec, (cluster.as_str(), given), &args.start).await
        }
    }
}

async fn spec(client: &Client, args: &WhatArgs) -> Outcome<PurgeSpec> {
    for backup in &args.backups {
        find::backup(client, Some(&args.cluster), backup).await?;
    }
    let mut retention = args.retention.get();
    if let Some(policy) = &args.policy {
        let view = client.policy(policy).await?;
        if view.policy.cluster != args.cluster {
            let message =
                format!("policy {policy} is for cluster {}, not {}", view.policy.cluster, args.cluster);
            return Err(Failure::usage(message));
        }
        retention = view.policy.retention;
        if retention.is_none() {
            return Err(Failure::usage(format!("policy {policy} has no retention: it expires nothing"))
                .with_next(format!("ringvault policy show {policy}")));
        }
    }
    Ok(PurgeSpec {
        cluster: args.cluster.clone(),
        backups: args.backups.clone(),
        retention,
        policy: args.policy.clone(),
    })
}

async fn plan(context: &Context, client: &Client, spec: &PurgeSpec) -> Outcome<Exit> {
    let preview = client.preview_purge(spec).await?;
    context.out.document(&preview, || text(&context.out, &preview, !spec.backups.is_empty()))?;
    Ok(exit_of(&preview))
}

/// A backup that was named and may not go makes the whole purge a refused one.
fn exit_of(preview: &PurgePreview) -> Exit {
    if preview.refused.is_empty() { Exit::Ok } else { Exit::Refused }
}

/// Shows what goes, wants it confirmed, and starts the job. `confirm` is the name wanted and what
/// was given.
pub(super) async fn preview_and_run(
    context: &Context,
    client: &Client,
    spec: PurgeSpec,
    confirm: (&str, Option<&str>),
    args: &StartArgs,
) -> Outcome<Exit> {
    if args.dry_run {
        return plan(context, client, &spec).await;
    }
    let preview = client.preview_purge(&spec).await?;
    let job = JobSpec::Purge(spec.clone());
    // What a request has done is no reason against the same request sent again.
    if let Some(key) = &args.idempotency_key
        && !preview.refused.is_empty()
        && client.came_before(&job, key).await?
    {
        return start::start(context, client, &job, args).await;
    }
    if let Some(refusal) = preview.refused.first() {
        let message = format!("backup {} cannot go: {}; nothing was changed", refusal.backup, refusal.reason);
        return Err(Failure::new(Exit::Refused, "RV-PURGE-REFUSED", message)
            .with_next(format!("ringvault backup show {} -c {}", refusal.backup, spec.cluster)));
    }
    if !preview.expire.is_empty() {
        if confirm.1.is_none() {
            eprint!("{}", text(&context.out, &preview, !spec.backups.is_empty()));
        }
        let count = u64::try_from(preview.expire.len()).unwrap_or(u64::MAX);
        let what = format!("takes {} of {} away for good", human::count(count, "backup"), spec.cluster);
        ask::confirm(&what, confirm.0, confirm.1)?;
    }
    start::start(context, client, &job, args).await
}

/// What goes and what stays, each with why. Of a purge `by_name` only what goes: the rest was not in
/// question.
fn text(out: &Output, preview: &PurgePreview, by_name: bool) -> String {
    let mut table = Table::new(&["BACKUP", "STATE", "STARTED", "NEW", "PLAN", "WHY"]);
    for target in &preview.expire {
        table.row([
            target.backup.as_str().into(),
            state_cell(target.state.as_str()),
            out.time(target.started_at).into(),
            human::size(target.bytes_new).into(),
            "goes".into(),
            target.reason.as_str().into(),
        ]);
    }
    for kept in preview.keep.iter().filter(|_| !by_name) {
        table.row([
            kept.backup.as_str().into(),
            state_cell(kept.state.as_str()),
            out.time(kept.started_at).into(),
            Cell::from(human::NONE),
            "stays".into(),
            kept.reason.as_str().into(),
        ]);
    }
    let mut text = if table.is_empty() { String::new() } else { table.render(out.style.stdout) };
    for dead in &preview.dead {
        let _ = writeln!(text, "{dead} is dead: what it left goes");
    }
    for refusal in &preview.refused {
        let _ = writeln!(text, "REFUSED   {}: {}", refusal.backup, refusal.reason);
    }
    if preview.expire.is_empty() && preview.dead.is_empty() {
        text += "nothing goes\n";
    }
    if let (Some(objects), Some(bytes)) = (preview.objects, preview.bytes) {
        let _ = writeln!(text, "frees {} in {}", human::size(bytes), human::count(objects, "object"));
    }
    if let Some(locked) = &preview.locked {
        let _ = writeln!(text, "of that still locked: {}", still_locked(out, locked));
    }
    text
}
