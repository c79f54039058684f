//! `ringvault catalog`: what the vault holds, read from the vault alone, for the day when scheduler and
//! database are gone; and a new database filled from it.

mod import_medusa;
mod rebuild;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use ringvault_core::{
    BackupName, ClusterName,
    api::Page,
    backup::{BackupFigures, BackupState},
};
use ringvault_vault::catalog::CatalogEntry;
use serde::Serialize;

use super::vault::VaultArgs;
use crate::{
    args::shared::ClusterOption,
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{Cell, Table, Tone, human, or_none, state_cell},
};

/// `catalog …`
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Every backup in the vault; exit 4 if a record cannot be read
    List(Box<ListArgs>),
    /// Fill the scheduler's database from the vault: adds what is missing, mends what differs, takes
    /// nothing away; exit 4 if a record cannot be read or they contradict each other
    Rebuild(rebuild::RebuildArgs),
    /// Take over the backups that cassandra-medusa wrote, as they lie: copies nothing, may be run again and
    /// again; exit 4 if a piece is missing or damaged
    ImportMedusa(import_medusa::ImportMedusaArgs),
}

/// Of which vault and cluster.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    cluster: ClusterOption,
    #[command(flatten)]
    vault: VaultArgs,
}

/// A backup as its records in the vault say.
#[derive(Debug, Serialize)]
struct Listed {
    cluster: ClusterName,
    name: BackupName,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<BackupState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    figures: Option<BackupFigures>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_until: Option<DateTime<Utc>>,
    /// Why a record of it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl From<CatalogEntry> for Listed {
    fn from(entry: CatalogEntry) -> Self {
        let seal = entry.seal();
        Self {
            state: entry.state(),
            started_at: entry.known.as_ref().ok().map(|known| known.start.started_at),
            sealed_at: seal.map(|seal| seal.sealed_at),
            figures: seal.map(|seal| seal.figures),
            locked_until: seal.and_then(|seal| seal.lock.as_ref()).map(|lock| lock.until),
            problem: entry.known.as_ref().err().map(ToString::to_string),
            cluster: entry.cluster,
            name: entry.backup,
        }
    }
}

pub(crate) async fn run(context: &Context, command: CatalogCommand) -> Outcome<Exit> {
    match command {
        CatalogCommand::List(args) => list(context, *args).await,
        CatalogCommand::Rebuild(args) => rebuild::run(context, args).await,
        CatalogCommand::ImportMedusa(args) => import_medusa::run(context, args).await,
    }
}

async fn list(context: &Context, args: ListArgs) -> Outcome<Exit> {
    let vault = args.vault.open().await?;
    let clusters = match args.cluster.cluster {
        Some(cluster) => vec![cluster],
        None => vault.clusters().await?,
    };
    let mut listed: Vec<Listed> = Vec::new();
    for cluster in &clusters {
        listed.extend(vault.catalog(cluster).await?.into_iter().map(Listed::from));
    }
    let broken = listed.iter().any(|entry| entry.problem.is_some());
    let table = table(context, &listed);
    let page = Page::new(Utc::now(), listed, None);
    let empty = format!("the vault {} holds no such backup", vault.url());
    context.out.list(&page, &table, &empty)?;
    Ok(if broken { Exit::Problems } else { Exit::Ok })
}

fn table(context: &Context, listed: &[Listed]) -> Table {
    let mut table =
        Table::new(&["CLUSTER", "BACKUP", "STATE", "STARTED", "NODES", "SIZE", "NEW", "LOCKED UNTIL"]);
    for entry in listed {
        let figures = entry.figures.as_ref();
        let nodes = figures.map(|figures| format!("{}/{}", figures.nodes_held, figures.nodes_total));
        let state = match (&entry.problem, entry.state) {
            (Some(problem), _) => Cell::toned(format!("UNREADABLE: {problem}"), Tone::Bad),
            (None, Some(state)) => state_cell(state.as_str()),
            (None, None) => human::NONE.into(),
        };
        table.row([
            entry.cluster.as_str().into(),
            entry.name.as_str().into(),
            state,
            context.out.time_or_none(entry.started_at).into(),
            or_none(nodes).into(),
            or_none(figures.map(|figures| human::size(figures.bytes))).into(),
            or_none(figures.map(|figures| human::size(figures.bytes_new))).into(),
            or_none(entry.locked_until.map(|at| at.with_timezone(&context.out.zone).date_naive())).into(),
        ]);
    }
    table
}
