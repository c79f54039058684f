//! `ringvault rows`: whether two clusters hold the same rows.

use std::{num::NonZeroU32, path::Path};

use clap::{Args, Subcommand};
use ringvault_core::{
    api::{Document, RowDigests},
    job::{DigestSpec, JobSpec},
    restore::Renames,
    rows::{self, RowComparison, TableDigest},
    selection::Selection,
};
use serde_json::json;

use super::start;
use crate::{
    args::shared::{ClusterNamed, SelectionArgs, StartArgs},
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Table, human},
};

mod differences;

/// `rows …`
#[derive(Debug, Subcommand)]
pub(crate) enum RowsCommand {
    /// Read every row of a cluster, at every replica, and keep a digest of each table by token range
    Digest(DigestArgs),
    /// What a digest holds; with --json whole, to be kept in a file
    Show(ShowArgs),
    /// Compare two digests table by table; exit 4 if any row, write time or table differs
    Compare(CompareArgs),
}

/// What to read.
#[derive(Debug, Args)]
pub(crate) struct DigestArgs {
    #[command(flatten)]
    cluster: ClusterNamed,
    #[command(flatten)]
    selection: SelectionArgs,
    /// At most so many rows a second and node
    #[arg(long, value_name = "N")]
    rows_per_second: Option<NonZeroU32>,
    #[command(flatten)]
    start: StartArgs,
}

/// Which digest.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The digest job's id, which may be shortened while it is unique, or a file that `rows show --json` wrote
    #[arg(value_name = "JOB_OR_FILE")]
    digest: String,
}

/// Which two, and what of them.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// A digest job's id, which may be shortened while it is unique, or a file that `rows show --json` wrote
    #[arg(value_name = "JOB_OR_FILE")]
    first: String,
    /// The other one; it may be the same, for a keyspace and its copy
    #[arg(value_name = "JOB_OR_FILE")]
    second: String,
    /// The second has OLD as NEW: a keyspace, or a table as K.T=K2.T2. Only what is renamed is compared, unless more is
    /// selected. May be given several times
    #[arg(long, value_name = "OLD=NEW")]
    rename: Vec<String>,
    #[command(flatten)]
    selection: SelectionArgs,
}

pub(crate) async fn run(context: &Context, command: RowsCommand) -> Outcome<Exit> {
    match command {
        RowsCommand::Digest(args) => digest(context, &args).await,
        RowsCommand::Show(args) => {
            let digests = load(context, &args.digest).await?;
            context.out.document(&digests, || shown(context, &digests))?;
            Ok(Exit::Ok)
        }
        RowsCommand::Compare(args) => compare(context, &args).await,
    }
}

async fn digest(context: &Context, args: &DigestArgs) -> Outcome<Exit> {
    let client = context.client()?;
    let cluster = args.cluster.get().ok_or_else(|| Failure::usage("which cluster? Say -c CLUSTER"))?;
    let spec = JobSpec::Digest(DigestSpec {
        cluster: cluster.clone(),
        selection: args.selection.selection(),
        rows_per_second: args.rows_per_second,
    });
    if args.start.dry_run {
        client.dry_create_job(&spec).await?;
        context.out.document(&json!({"dry_run": true, "job": spec}), || {
            format!("would read every row of {cluster} that is selected, at every replica\n")
        })?;
        return Ok(Exit::Ok);
    }
    start::start(context, &client, &spec, &args.start).await
}

/// A digest by its job, or from a file: what looks like a path is one.
async fn load(context: &Context, named: &str) -> Outcome<RowDigests> {
    let is_file = named.contains(['/', '.']);
    if is_file { read(Path::new(named)) } else { context.client()?.row_digests(named).await }
}

fn read(path: &Path) -> Outcome<RowDigests> {
    let unreadable = |cause: &dyn std::fmt::Display| {
        Failure::usage(format!("{}: {cause}", path.display()))
            .with_next("a file that `ringvault rows show JOB --json` wrote")
    };
    let text = std::fs::read(path).map_err(|cause| unreadable(&cause))?;
    let document: Document<RowDigests> = serde_json::from_slice(&text).map_err(|cause| unreadable(&cause))?;
    document.body.check().map_err(|cause| unreadable(&cause))?;
    Ok(document.body)
}

fn shown(context: &Context, digests: &RowDigests) -> String {
    let mut table = Table::new(&["TABLE", "ROWS", "EXPIRING", "DIGEST"]);
    for one in &digests.tables {
        table.row([
            one.table.to_string().into(),
            one.rows().to_string().into(),
            one.expiring_cells().to_string().into(),
            one.whole().to_string().into(),
        ]);
    }
    let rows: u64 = digests.tables.iter().map(TableDigest::rows).sum();
    let (rows, tables) = (human::count(rows, "row"), human::count(digests.tables.len() as u64, "table"));
    let ended = digests.ended_at.map(|at| format!(", read until {}", context.out.time(at)));
    format!(
        "{}: {rows} of {tables}{}\n{}",
        digests.cluster,
        ended.unwrap_or_default(),
        table.render(context.out.style.stdout)
    )
}

async fn compare(context: &Context, args: &CompareArgs) -> Outcome<Exit> {
    let (renames, selection) = meant(args)?;
    let first = load(context, &args.first).await?;
    let second = load(context, &args.second).await?;
    if first.encoding != second.encoding {
        let why = "the two digests were made by releases that encode rows differently";
        return Err(Failure::new(Exit::Conflict, "RV-ROWS-ENCODING", why)
            .with_next("ringvault rows digest for both, with workers of one release"));
    }
    let compared = rows::compare(&first.tables, &second.tables, &renames, &selection)
        .map_err(|same| Failure::usage(same.to_string()))?;
    if compared.tables.is_empty() {
        return Err(Failure::not_found("neither digest holds anything of what is to be compared")
            .with_next(format!("ringvault rows show {}", args.first)));
    }
    let is_equal = compared.is_equal();
    let answer = json!({ "equal": is_equal, "first": about(&first), "second": about(&second), "tables": compared.tables });
    context.out.document(&answer, || differences::text(context.out.style.stdout, &compared))?;
    note_what_is_not_compared(context, &compared);
    Ok(if is_equal { Exit::Ok } else { Exit::Problems })
}

/// What is compared with what. Renames alone say both.
fn meant(args: &CompareArgs) -> Outcome<(Renames, Selection)> {
    let mut renames = Renames::default();
    let usage = |why: ringvault_core::restore::InvalidRename| Failure::usage(format!("--rename: {why}"));
    for text in &args.rename {
        renames.add(text).map_err(usage)?;
    }
    let mut selection = args.selection.selection();
    if selection.names_nothing() && !renames.is_empty() {
        selection = Selection { exclude: selection.exclude, ..renames.selection() };
    }
    renames.check(&selection).map_err(usage)?;
    Ok((renames, selection))
}

fn about(digests: &RowDigests) -> serde_json::Value {
    let RowDigests { job, cluster, began_at, ended_at, .. } = digests;
    json!({ "job": job, "cluster": cluster, "began_at": began_at, "ended_at": ended_at })
}

fn note_what_is_not_compared(context: &Context, compared: &RowComparison) {
    let without = compared.tables.iter().filter(|table| table.without_elements).count();
    if without > 0 {
        context.out.note(&format!(
            "in {} the write times and TTLs within collections and types were not compared: \
             one of the two was read from Cassandra 4, which does not tell them",
            human::count(without as u64, "table")
        ));
    }
}
