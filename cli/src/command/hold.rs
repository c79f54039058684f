//! `ringvault hold`: what keeps a backup from being purged.

use clap::{Args, Subcommand};
use ringvault_core::{
    BackupName,
    api::{HoldKind, HoldRelease, HoldSet},
};
use serde_json::json;

use super::find;
use crate::{
    args::shared::ClusterOption,
    ask,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Table, or_none},
};

/// `hold …`
#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Keep a backup whatever retention says
    Set(SetArgs),
    /// Let a hold go
    Release(SetArgs),
    /// Every hold
    List(ListArgs),
}

/// Which hold, and why.
#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The backup
    backup: BackupName,
    #[command(flatten)]
    cluster: ClusterOption,
    /// The hold's name, such as a case number; a backup may have several
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Why; kept with the hold
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Which holds.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    cluster: ClusterOption,
    /// Only of this backup
    #[arg(long, value_name = "BACKUP")]
    backup: Option<BackupName>,
}

pub(crate) async fn run(context: &Context, command: HoldCommand) -> Outcome<Exit> {
    let client = context.client()?;
    match command {
        HoldCommand::Set(args) => set(context, &client, args).await,
        HoldCommand::Release(args) => release(context, &client, args).await,
        HoldCommand::List(args) => list(context, &client, &args).await,
    }
}

async fn set(context: &Context, client: &Client, args: SetArgs) -> Outcome<Exit> {
    let backup = find::backup(client, args.cluster.cluster.as_ref(), &args.backup).await?;
    let hold = HoldSet { cluster: backup.cluster, backup: backup.name, name: args.name, reason: args.reason };
    if args.dry_run {
        let answer = json!({"dry_run": true, "hold": hold});
        context.out.document(&answer, || format!("would hold {} by {}\n", hold.backup, hold.name))?;
        return Ok(Exit::Ok);
    }
    let view = client.set_hold(&hold).await?;
    context.out.document(&view, || format!("{} is held by {}\n", view.backup, view.name))?;
    Ok(Exit::Ok)
}

async fn release(context: &Context, client: &Client, args: SetArgs) -> Outcome<Exit> {
    let backup = find::backup(client, args.cluster.cluster.as_ref(), &args.backup).await?;
    let release =
        HoldRelease { cluster: backup.cluster, backup: backup.name, name: args.name, reason: args.reason };
    if !backup.holds.contains(&release.name) {
        let message = format!("backup {} has no hold {}", release.backup, release.name);
        return Err(
            Failure::not_found(message).with_next(format!("ringvault hold list -c {}", release.cluster))
        );
    }
    if !args.dry_run {
        let what =
            format!("lets the hold {} of {} go, so that a purge may take it", release.name, release.backup);
        ask::agree(context, &what)?;
        client.release_hold(&release).await?;
    }
    let answer = json!({"dry_run": args.dry_run, "released": release});
    let verb = if args.dry_run { "would no longer be" } else { "is no longer" };
    context.out.document(&answer, || format!("{} {verb} held by {}\n", release.backup, release.name))?;
    Ok(Exit::Ok)
}

async fn list(context: &Context, client: &Client, args: &ListArgs) -> Outcome<Exit> {
    let mut page = client.holds(args.cluster.cluster.as_ref()).await?;
    if let Some(backup) = &args.backup {
        page.items.retain(|hold| hold.backup == *backup);
    }
    let mut table = Table::new(&["HOLD", "KIND", "CLUSTER", "BACKUP", "SET BY", "SINCE", "REASON"]);
    for hold in &page.items {
        let kind = match hold.kind {
            HoldKind::Legal => "legal",
            HoldKind::Job => "job",
        };
        table.row([
            Cell::from(hold.name.as_str()),
            kind.into(),
            hold.cluster.as_str().into(),
            hold.backup.as_str().into(),
            hold.set_by.as_str().into(),
            context.out.time(hold.set_at).into(),
            or_none(hold.reason.as_ref()).into(),
        ]);
    }
    context.out.list(&page, &table, "nothing is held")?;
    Ok(Exit::Ok)
}
