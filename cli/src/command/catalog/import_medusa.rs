//! `ringvault catalog import-medusa`: backups that cassandra-medusa wrote, taken over as they lie, page by page.

use clap::Args;
use ringvault_core::{
    ClusterName,
    api::{MedusaBackup, MedusaImport, MedusaOutcome},
};
use serde::Serialize;

use crate::{
    client::Client,
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{human, one_line},
};

/// From where, to where.
#[derive(Debug, Args)]
pub(crate) struct ImportMedusaArgs {
    /// The Medusa store, by its name in the configuration of schedulers and workers ([vault.medusa.NAME])
    #[arg(value_name = "STORE")]
    store: String,
    /// The cluster that the backups are to be of
    #[arg(long, short, value_name = "CLUSTER")]
    cluster: ClusterName,
    /// Only this backup, by its name at Medusa; may be given more than once
    #[arg(long = "backup", value_name = "NAME")]
    backups: Vec<String>,
    /// Also what some node began in the last day and is not done with: it is taken as it is now, for good
    #[arg(long)]
    unfinished: bool,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What became of all.
#[derive(Debug, Serialize)]
struct Summary {
    cluster: ClusterName,
    store: String,
    dry_run: bool,
    /// Backups that Medusa lists, of those that were asked for.
    listed: u64,
    imported: u64,
    known: u64,
    /// Not taken over, or only in part, because a piece is missing or damaged.
    problems: u64,
    backups: Vec<MedusaBackup>,
    /// What is wrong with Medusa's index.
    index_problems: Vec<String>,
}

pub(super) async fn run(context: &Context, args: ImportMedusaArgs) -> Outcome<Exit> {
    let summary = import(&context.client()?, args).await?;
    context.out.document(&summary, || render(&summary))?;
    Ok(if summary.problems == 0 { Exit::Ok } else { Exit::Problems })
}

async fn import(client: &Client, args: ImportMedusaArgs) -> Outcome<Summary> {
    let ImportMedusaArgs { store, cluster, backups, unfinished, dry_run } = args;
    let mut summary = Summary {
        cluster: cluster.clone(),
        store: store.clone(),
        dry_run,
        listed: 0,
        imported: 0,
        known: 0,
        problems: 0,
        backups: Vec::new(),
        index_problems: Vec::new(),
    };
    let mut ask = MedusaImport { cluster, store, backups, unfinished, after: None, dry_run };
    loop {
        let page = client.import_medusa(&ask).await?;
        summary.listed = page.listed;
        summary.index_problems.extend(page.problems);
        summary.backups.extend(page.backups);
        let (done, listed) = (summary.backups.len(), human::count(page.listed, "backup"));
        eprintln!("{}: {done} of {listed}", ask.cluster);
        ask.after = page.next;
        if ask.after.is_none() {
            break;
        }
    }
    let count = |outcome| summary.backups.iter().filter(|backup| backup.outcome == outcome).count() as u64;
    (summary.imported, summary.known) = (count(MedusaOutcome::Imported), count(MedusaOutcome::Known));
    let troubled =
        |backup: &&MedusaBackup| backup.outcome == MedusaOutcome::Refused || !backup.problems.is_empty();
    summary.problems =
        (summary.backups.iter().filter(troubled).count() + summary.index_problems.len()) as u64;
    Ok(summary)
}

fn render(summary: &Summary) -> String {
    let mut lines: Vec<String> =
        summary.index_problems.iter().map(|problem| format!("PROBLEM {problem}")).collect();
    for backup in &summary.backups {
        lines.extend(told(backup, summary.dry_run));
    }
    let verb = if summary.dry_run { "would import" } else { "imported" };
    lines.push(format!(
        "{verb} {} of {}, {} known before, {}",
        summary.imported,
        human::count(summary.listed, "backup"),
        summary.known,
        human::count(summary.problems, "problem")
    ));
    lines.push(match (summary.dry_run, summary.imported) {
        (true, _) => "Nothing was changed".to_owned(),
        (false, 0) => format!("Next: ringvault backup list -c {}", summary.cluster),
        (false, _) => format!(
            "Nothing was copied: the data stays where Medusa put it, and is Medusa's to purge. Next: ringvault verify run \
             BACKUP -c {}",
            summary.cluster
        ),
    });
    lines.join("\n") + "\n"
}

fn told(backup: &MedusaBackup, dry_run: bool) -> Vec<String> {
    let MedusaBackup { name, outcome, coverage, figures, remarks, detail, problems } = backup;
    let word = match outcome {
        MedusaOutcome::Imported if dry_run => "would import",
        MedusaOutcome::Refused => "REFUSED",
        MedusaOutcome::Unfinished => "not yet",
        other => other.as_str(),
    };
    let mut about = Vec::new();
    if let (Some(coverage), Some(figures)) = (coverage, figures) {
        let nodes = format!("{}/{} nodes", figures.nodes_held, figures.nodes_total);
        about.push(format!("{}, {nodes}, {}", coverage.as_str(), human::size(figures.bytes)));
    }
    if let Some(detail) = detail {
        about.push(one_line(detail));
    }
    let line = std::iter::once(format!("{word} {name}")).chain(about).collect::<Vec<_>>().join(": ");
    let remarks = remarks.iter().map(|remark| format!("  {}", one_line(remark)));
    let problems = problems.iter().map(|problem| format!("  PROBLEM {}", one_line(problem)));
    std::iter::once(line).chain(remarks).chain(problems).collect()
}
