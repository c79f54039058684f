//! `ringvault evidence`: what was tested, held, changed, and by whom.

use clap::{Args, Subcommand};
use ringvault_core::api::{EvidenceItem, EvidenceKind, JobResult};

use crate::{
    args::shared::{ClusterOption, word},
    client::EvidenceFilter,
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{Table, human, or_none},
};

/// `evidence …`
#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Verifies, restores, drills, purges, holds and orders by hand, the newest first
    List(ListArgs),
}

/// Which evidence.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    cluster: ClusterOption,
    /// Only of this kind: verified, restored, drilled, purged, held, released, ordered or policy
    #[arg(long, value_parser = word::<EvidenceKind>)]
    kind: Option<EvidenceKind>,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on where the list before ended, with what it named
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

pub(crate) async fn run(context: &Context, command: EvidenceCommand) -> Outcome<Exit> {
    let EvidenceCommand::List(args) = command;
    let filter = EvidenceFilter {
        cluster: args.cluster.cluster.clone(),
        kind: args.kind,
        limit: args.limit,
        cursor: args.cursor.clone(),
    };
    let page = context.client()?.evidence(&filter).await?;
    let mut table = Table::new(&["WHEN", "WHAT", "CLUSTER", "BACKUP", "FOUND", "BY", "JOB", "DETAIL"]);
    for item in &page.items {
        let detail = item.name.iter().chain(&item.detail).cloned().collect::<Vec<_>>().join(": ");
        table.row([
            context.out.time(item.at).into(),
            what(item).into(),
            item.cluster.as_str().into(),
            or_none(item.backup.as_ref()).into(),
            found(item).into(),
            or_none(item.by.as_ref()).into(),
            or_none(item.job.as_ref()).into(),
            detail.into(),
        ]);
    }
    context.out.list(&page, &table, "there is no evidence of that")?;
    if let Some(cursor) = &page.next_cursor {
        eprintln!("there are more. Next: the same with --cursor {cursor}, or a larger --limit");
    }
    Ok(Exit::Ok)
}

fn what(item: &EvidenceItem) -> &'static str {
    if item.plan_only { "planned" } else { item.kind.as_str() }
}

/// The verdict, in a few words.
fn found(item: &EvidenceItem) -> String {
    let count = |thing: &str| item.count.map(|count| human::count(count, thing));
    match item.kind {
        EvidenceKind::Verified if item.count == Some(0) => "whole".to_owned(),
        EvidenceKind::Verified => or_none(item.count.map(|count| format!("{count} damaged"))),
        EvidenceKind::Restored | EvidenceKind::Drilled | EvidenceKind::Purged => match item.result {
            Some(JobResult::Ok) => {
                or_none(count(if item.kind == EvidenceKind::Purged { "object" } else { "row" }))
            }
            Some(JobResult::Problems) => "problems".to_owned(),
            Some(JobResult::Partial) => "partial".to_owned(),
            Some(JobResult::Failed) => "failed".to_owned(),
            None => or_none(item.state.map(ringvault_core::job::JobState::as_str)),
        },
        EvidenceKind::Held | EvidenceKind::Released | EvidenceKind::Ordered | EvidenceKind::Policy => {
            or_none(None::<&str>)
        }
    }
}
