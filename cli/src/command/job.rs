//! `ringvault job`: what is under way, stuck, done; and orders to it.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use ringvault_core::{
    api::{JobDetail, JobSummary, RateLimit},
    job::{JobKind, JobState},
};
use serde_json::json;

use super::{find, start};
use crate::{
    args::{
        limits::{rate, requests, unless_none},
        shared::{ClusterOption, word},
    },
    client::{Client, JobFilter, JobOrder},
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{Output, Table, human, or_none, state_cell},
    watch::{self, End, Shown},
};

mod story;

/// `job …`
#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// Jobs, the newest first
    List(ListArgs),
    /// One job: stages, tasks, errors, result
    Show(Named),
    /// Follow a job to its end
    Watch(WatchArgs),
    /// What happened to a job: every transition and attempt, when, by whom, why
    Logs(Named),
    /// Stop a job; what it left on nodes is cleared
    Cancel(OrderArgs),
    /// Have a job hold still
    Pause(OrderArgs),
    /// Let a paused job go on
    Resume(OrderArgs),
    /// Run the failed tasks of a failed job again; done tasks stay done
    Retry(OrderArgs),
    /// Give a failed job up for good
    Abandon(OrderArgs),
    /// Set how fast each node of a backup, restore or drill may go from now on
    Limit(LimitArgs),
}

/// Which jobs.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    cluster: ClusterOption,
    /// Only this kind: backup, verify, restore, purge, drill or digest
    #[arg(long, value_parser = word::<JobKind>)]
    kind: Option<JobKind>,
    /// Only in these states, separated by commas; open is every state that is not final
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<String>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on where the list before ended, with what it named
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Which job.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its id, which may be shortened while it is unique
    #[arg(value_name = "ID")]
    job: String,
}

/// Which job, how long.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    job: Named,
    /// Stop following after this long, such as 30m; the job goes on
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<std::time::Duration>,
}

/// An order.
#[derive(Debug, Args)]
pub(crate) struct OrderArgs {
    #[command(flatten)]
    job: Named,
    /// Follow the job to its end
    #[arg(long)]
    wait: bool,
    /// With --wait: stop following after this long, such as 30m; the job goes on
    #[arg(long, requires = "wait", value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<std::time::Duration>,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Which job, how fast.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    #[command(flatten)]
    job: Named,
    /// Bytes a second of each node, such as 50MiB; none for no limit
    #[arg(value_name = "RATE", value_parser = unless_none(rate), required_unless_present = "requests")]
    rate: Option<u64>,
    /// Requests a second of each node to the store; none for no limit
    #[arg(long, value_name = "N", value_parser = unless_none(requests))]
    requests: Option<u64>,
    /// Only of the nodes of this data center
    #[arg(long, value_name = "DC")]
    dc: Option<String>,
}

fn state(text: &str) -> Result<String, String> {
    if text != "open" {
        text.parse::<JobState>()?;
    }
    Ok(text.to_owned())
}

pub(crate) async fn run(context: &Context, command: JobCommand) -> Outcome<Exit> {
    let client = context.client()?;
    let out = &context.out;
    match command {
        JobCommand::List(args) => list(context, &client, &args).await,
        JobCommand::Show(args) => {
            let detail = client.job(&args.job).await?;
            out.document(&detail, || story::show(out, &detail))?;
            Ok(Exit::Ok)
        }
        JobCommand::Logs(args) => {
            let detail = client.job(&args.job).await?;
            let log = story::log(&detail);
            let answer = json!({"job": detail.summary.id, "entries": log});
            out.document(&answer, || story::log_text(out, &log))?;
            Ok(Exit::Ok)
        }
        JobCommand::Watch(args) => watch(context, &client, &args).await,
        JobCommand::Cancel(args) => order(context, &client, &args, JobOrder::Cancel).await,
        JobCommand::Pause(args) => order(context, &client, &args, JobOrder::Pause).await,
        JobCommand::Resume(args) => order(context, &client, &args, JobOrder::Resume).await,
        JobCommand::Retry(args) => order(context, &client, &args, JobOrder::Retry).await,
        JobCommand::Abandon(args) => order(context, &client, &args, JobOrder::Abandon).await,
        JobCommand::Limit(args) => limit(context, &client, &args).await,
    }
}

async fn list(context: &Context, client: &Client, args: &ListArgs) -> Outcome<Exit> {
    let filter = JobFilter {
        cluster: args.cluster.cluster.clone(),
        kind: args.kind,
        state: (!args.state.is_empty()).then(|| args.state.join(",")),
        limit: Some(args.limit),
        cursor: args.cursor.clone(),
    };
    let page = client.jobs(&filter).await?;
    let mut table =
        Table::new(&["JOB", "KIND", "CLUSTER", "BACKUP", "STATE", "STAGE", "STARTED", "TOOK", "BY", "ERROR"]);
    for (job, id) in page.items.iter().zip(find::short_ids(&page.items)) {
        let until = job.ended_at.unwrap_or(page.as_of);
        table.row([
            id.into(),
            job.kind.as_str().into(),
            job.cluster.as_str().into(),
            or_none(job.backup.as_ref()).into(),
            state_cell(job.state.as_str()),
            or_none(job.stage.map(ringvault_core::job::StageKind::as_str)).into(),
            context.out.time(job.started_at.unwrap_or(job.created_at)).into(),
            or_none(job.started_at.map(|started| human::duration(until - started))).into(),
            by(job).into(),
            or_none(job.error.as_ref().map(|error| &error.code)).into(),
        ]);
    }
    context.out.list(&page, &table, "there is no such job")?;
    if let Some(cursor) = &page.next_cursor {
        eprintln!("there are more. Next: the same with --cursor {cursor}, or a larger --limit");
    }
    Ok(Exit::Ok)
}

/// The policy that fired it, or whoever asked.
fn by(job: &JobSummary) -> String {
    job.policy.as_ref().map_or_else(|| job.requested_by.clone(), ToString::to_string)
}

async fn watch(context: &Context, client: &Client, args: &WatchArgs) -> Outcome<Exit> {
    let detail = client.job(&args.job.job).await?;
    let shown = if context.out.json { Shown::JsonLines } else { Shown::Display };
    let job = detail.summary.id;
    match watch::follow(context, client, job, args.timeout, shown).await? {
        End::Left(exit, _) => Ok(exit),
        // The last of the JSON lines is the end; nothing else may follow on stdout.
        End::Settled if context.out.json => Ok(watch::exit_of(&client.job(&job.to_string()).await?)),
        End::Settled => {
            let detail = client.job(&job.to_string()).await?;
            start::result(context, client, &detail).await
        }
    }
}

/// An order names its job, and none destroys data: nothing is asked.
async fn order(context: &Context, client: &Client, args: &OrderArgs, order: JobOrder) -> Outcome<Exit> {
    let detail = client.job(&args.job.job).await?;
    let id = detail.summary.id;
    if args.dry_run {
        client.order_job(&id.to_string(), order, true).await?;
        let answer = json!({"dry_run": true, "order": order.as_str(), "job": detail.summary});
        context.out.document(&answer, || would(&detail, order))?;
        return Ok(Exit::Ok);
    }
    let summary = client.order_job(&id.to_string(), order, false).await?;
    if args.wait {
        return match (start::end(context, client, id, args.timeout).await?, order) {
            (Err(exit), _) => Ok(exit),
            // Stopping it was the point: that it did not succeed is no failure.
            (Ok(detail), JobOrder::Cancel | JobOrder::Abandon) => {
                context.out.document(&detail, || ordered(&context.out, &detail.summary))?;
                Ok(Exit::Ok)
            }
            (Ok(detail), _) => start::result(context, client, &detail).await,
        };
    }
    context.out.document(&summary, || ordered(&context.out, &summary))?;
    Ok(Exit::Ok)
}

async fn limit(context: &Context, client: &Client, args: &LimitArgs) -> Outcome<Exit> {
    let id = client.job(&args.job.job).await?.summary.id;
    let limit = RateLimit {
        bytes_per_second: args.rate,
        requests_per_second: args.requests,
        data_center: args.dc.clone(),
    };
    let summary = client.limit_job(&id.to_string(), &limit).await?;
    context.out.document(&summary, || {
        let of = args.dc.as_ref().map(|dc| format!(" in {dc}")).unwrap_or_default();
        format!("each node of {}{of} goes {} from now on\n", summary.id, story::limits(limit.limits()))
    })?;
    Ok(Exit::Ok)
}

fn would(detail: &JobDetail, order: JobOrder) -> String {
    let job = &detail.summary;
    format!("would {} {} {}, which is {}\n", order.as_str(), job.kind.as_str(), job.id, job.state.as_str())
}

fn ordered(out: &Output, job: &JobSummary) -> String {
    let mut text = format!("{} is {}\n", job.id, job.state.as_str());
    if let (JobState::Failed, Some(until)) = (job.state, job.retry_until) {
        let _ = writeln!(text, "it can be retried until {}", out.time(until));
    }
    text
}
