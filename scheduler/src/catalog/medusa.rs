//! `catalog import-medusa`: backups of Medusa's, written down in the vault and then learnt from it.
//!
//! The vault is told first, as with every backup; the database then follows by the rebuild's own rules, so
//! one that is lost learns of imported backups as of others, and an import that was cut short between the
//! two is completed by the next, or by a rebuild.

use std::collections::BTreeSet;

use ringvault_core::{
    BackupName,
    api::{CatalogRebuild, CatalogRebuilt, MedusaBackup, MedusaImport, MedusaImported, MedusaOutcome},
};
use ringvault_state::StateError;
use ringvault_vault::medusa::{ImportOutcome, Imported, MedusaBackup as Listed};

use super::{CatalogError, Rebuild};
use crate::Context;

/// Backups of one page; each may mean reading the manifests of hundreds of nodes.
const PAGE: usize = 5;

/// The configuration has no Medusa store of this name, or no such backup is in it.
#[derive(Debug, thiserror::Error)]
pub enum UnknownMedusa {
    /// No store.
    #[error("no Medusa store {name:?} is configured; there are: {known}")]
    Store {
        /// As asked for.
        name: String,
        /// Those that are.
        known: String,
    },
    /// No backups.
    #[error("Medusa lists no backup {name:?} in the store {store}")]
    Backup {
        /// As asked for.
        name: String,
        /// The store.
        store: String,
    },
}

/// Takes over one page of backups.
pub async fn import_medusa(ctx: &Context, ask: &MedusaImport) -> Result<MedusaImported, CatalogError> {
    let known: Vec<&str> = ctx.vault.store().medusa_names().collect();
    if !known.contains(&ask.store.as_str()) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(UnknownMedusa::Store { name: ask.store.clone(), known }.into());
    }
    let index = ctx.vault.medusa_backups(&ask.store).await?;
    let names: BTreeSet<&str> = index.backups.iter().map(|backup| backup.name.as_str()).collect();
    if let Some(name) = ask.backups.iter().find(|name| !names.contains(name.as_str())) {
        return Err(UnknownMedusa::Backup { name: name.clone(), store: ask.store.clone() }.into());
    }
    let asked: Vec<&Listed> = index
        .backups
        .iter()
        .filter(|backup| ask.backups.is_empty() || ask.backups.contains(&backup.name))
        .collect();
    let after = |name: &String| asked.iter().position(|backup| backup.name == *name).map(|n| n + 1);
    // What Medusa has purged since the page before: it is begun anew, and what is done is skipped.
    let begin = ask.after.as_ref().and_then(after).unwrap_or_default();
    let page: Vec<&Listed> = asked[begin..].iter().take(PAGE).copied().collect();
    let is_last = begin + page.len() == asked.len();
    let mut problems = Vec::new();
    if ask.after.is_none() {
        let strange = index.strange.iter().take(10);
        problems
            .extend(strange.map(|path| format!("index/backup_index/{path} is nothing that Medusa writes")));
        if index.backups.is_empty() {
            problems.push(
                "Medusa's index lists no backup: is its prefix right? Next: medusa build-index".to_owned(),
            );
        }
    }
    let now = {
        let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
        ringvault_state::now(&mut conn).await?
    };
    let mut backups = Vec::new();
    for listed in &page {
        let what = (&ask.cluster, ask.store.as_str());
        let done = ctx.vault.import_medusa(what, listed, now, (ask.unfinished, ask.dry_run)).await?;
        backups.push(told(&listed.name, done));
    }
    learn(ctx, ask, &backups).await?;
    let next = if is_last { None } else { page.last().map(|backup| backup.name.clone()) };
    let (cluster, listed) = (ask.cluster.clone(), asked.len() as u64);
    Ok(MedusaImported { cluster, dry_run: ask.dry_run, listed, backups, problems, next })
}

/// Makes the database follow the vault, for those that are new and those that it may not know yet.
async fn learn(ctx: &Context, ask: &MedusaImport, backups: &[MedusaBackup]) -> Result<(), CatalogError> {
    let in_vault =
        |backup: &&MedusaBackup| matches!(backup.outcome, MedusaOutcome::Imported | MedusaOutcome::Known);
    let names = backups.iter().filter(in_vault).filter_map(|backup| BackupName::new(&backup.name).ok());
    let names: Vec<BackupName> = names.collect();
    if ask.dry_run || names.is_empty() {
        return Ok(());
    }
    let cluster = ask.cluster.clone();
    let ask = CatalogRebuild { cluster: cluster.clone(), after: None, dry_run: false };
    let (changes, notes) = (Vec::new(), Vec::new());
    let looked_at = names.len() as u64;
    let done =
        CatalogRebuilt { cluster, dry_run: false, backups: looked_at, looked_at, changes, notes, next: None };
    let mut work = Rebuild { ctx, ask: &ask, done };
    work.cluster().await?;
    let intents = ctx.vault.read_intents(&ask.cluster).await?;
    work.backups(&names, &intents, None).await
}

fn told(name: &str, done: Imported) -> MedusaBackup {
    let Imported { outcome, problems } = done;
    let mut backup = MedusaBackup {
        name: name.to_owned(),
        outcome: MedusaOutcome::Known,
        coverage: None,
        figures: None,
        remarks: Vec::new(),
        detail: None,
        problems,
    };
    match outcome {
        ImportOutcome::New(seal) => {
            backup.outcome = MedusaOutcome::Imported;
            backup.coverage = Some(seal.coverage);
            backup.figures = Some(seal.figures);
            backup.remarks = seal.remarks.iter().map(ToString::to_string).collect();
        }
        ImportOutcome::Known => {}
        ImportOutcome::Gone { purge } => {
            backup.outcome = MedusaOutcome::Expired;
            backup.detail =
                Some(format!("purge {purge} has expired it here; Medusa's own objects are untouched"));
        }
        ImportOutcome::Unfinished => {
            backup.outcome = MedusaOutcome::Unfinished;
            let why =
                "some node began it in the last day and is not done: run this again, or give --unfinished";
            backup.detail = Some(why.to_owned());
        }
        ImportOutcome::Refused(why) => {
            backup.outcome = MedusaOutcome::Refused;
            backup.detail = Some(why);
        }
    }
    backup
}
