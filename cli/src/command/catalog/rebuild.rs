//! `ringvault catalog rebuild`: the scheduler's database filled from the vault, cluster by cluster and
//! page by page.

use clap::Args;
use ringvault_core::api::{CatalogChange, CatalogNote, CatalogNoteKind, CatalogRebuild};
use ringvault_core::{BackupName, ClusterName};
use serde::Serialize;

use crate::{
    args::shared::ClusterOption,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{human, one_line},
};

/// Of which clusters.
#[derive(Debug, Args)]
pub(crate) struct RebuildArgs {
    #[command(flatten)]
    cluster: ClusterOption,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// What became of one cluster.
#[derive(Debug, Default, Serialize)]
struct Rebuilt {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<ClusterName>,
    /// Backups of it in the vault.
    backups: u64,
    added: u64,
    mended: u64,
    changes: Vec<CatalogChange>,
    notes: Vec<CatalogNote>,
}

/// What became of all.
#[derive(Debug, Serialize)]
struct Summary {
    dry_run: bool,
    added: u64,
    mended: u64,
    damaged: u64,
    missing: u64,
    contradictions: u64,
    clusters: Vec<Rebuilt>,
    /// What no rebuild brings back.
    not_in_the_vault: &'static [&'static str],
}

/// What the vault does not know.
const NOT_IN_THE_VAULT: &[&str] =
    &["policies", "tokens", "jobs and their history", "requests", "workers, until they announce themselves"];

pub(super) async fn run(context: &Context, args: RebuildArgs) -> Outcome<Exit> {
    let client = context.client()?;
    let found = client.catalog_clusters().await?.items;
    let mut names: Vec<ClusterName> = found.into_iter().map(|found| found.cluster).collect();
    if let Some(wanted) = &args.cluster.cluster {
        names.retain(|name| name == wanted);
        if names.is_empty() {
            let message = format!("the vault holds nothing of cluster {wanted}");
            return Err(Failure::not_found(message).with_next("ringvault catalog list"));
        }
    }
    let mut clusters = Vec::new();
    for name in names {
        clusters.push(rebuild(&client, name, args.dry_run).await?);
    }
    let count = |kind| {
        let notes = clusters.iter().flat_map(|cluster| &cluster.notes);
        notes.filter(|note| note.kind == kind).count() as u64
    };
    let summary = Summary {
        dry_run: args.dry_run,
        added: clusters.iter().map(|cluster| cluster.added).sum(),
        mended: clusters.iter().map(|cluster| cluster.mended).sum(),
        damaged: count(CatalogNoteKind::Damaged),
        missing: count(CatalogNoteKind::Missing),
        contradictions: count(CatalogNoteKind::Contradiction),
        clusters,
        not_in_the_vault: NOT_IN_THE_VAULT,
    };
    let is_sound = summary.damaged + summary.missing + summary.contradictions == 0;
    context.out.document(&summary, || render(&summary))?;
    Ok(if is_sound { Exit::Ok } else { Exit::Problems })
}

async fn rebuild(client: &Client, cluster: ClusterName, dry_run: bool) -> Outcome<Rebuilt> {
    let mut done = Rebuilt::default();
    let mut after: Option<BackupName> = None;
    let mut looked_at = 0;
    loop {
        let ask = CatalogRebuild { cluster: cluster.clone(), after: after.take(), dry_run };
        let page = client.rebuild_catalog(&ask).await?;
        looked_at += page.looked_at;
        done.backups = page.backups;
        eprintln!("{cluster}: {looked_at} of {}", human::count(page.backups, "backup"));
        done.added += page.changes.iter().filter(|change| change.mended.is_empty()).count() as u64;
        done.mended += page.changes.iter().filter(|change| !change.mended.is_empty()).count() as u64;
        done.changes.extend(page.changes);
        done.notes.extend(page.notes);
        after = page.next;
        if after.is_none() {
            done.cluster = Some(cluster);
            return Ok(done);
        }
    }
}

fn render(summary: &Summary) -> String {
    let mut lines = Vec::new();
    let (add, mend) = if summary.dry_run { ("would add", "would mend") } else { ("added", "mended") };
    for cluster in &summary.clusters {
        for CatalogChange { what, mended, detail, .. } in &cluster.changes {
            let detail = one_line(detail);
            lines.push(if mended.is_empty() {
                format!("{add} {what}: {detail}")
            } else {
                format!("{mend} {what}: {detail} ({})", mended.join(", "))
            });
        }
        for note in &cluster.notes {
            let word = match note.kind {
                CatalogNoteKind::Damaged => "DAMAGED, skipped",
                CatalogNoteKind::Missing => "MISSING in the vault",
                CatalogNoteKind::Contradiction => "CONTRADICTION, left alone",
            };
            let backup = note.backup.as_ref().map(|backup| format!(" {backup}")).unwrap_or_default();
            lines.push(format!("{word}{backup}: {}", one_line(&note.detail)));
        }
    }
    let problems = summary.damaged + summary.missing + summary.contradictions;
    lines.push(format!(
        "{add} {}, {mend} {}, {}",
        summary.added,
        summary.mended,
        human::count(problems, "problem")
    ));
    lines.push(format!("Not in the vault: {}", summary.not_in_the_vault.join("; ")));
    lines.push("Next: ringvault policy apply FILE, ringvault token create, ringvault status".to_owned());
    lines.join("\n") + "\n"
}
