//! The database filled from the vault: `catalog rebuild`.
//!
//! For the day when PostgreSQL is lost: a scheduler on an empty database learns from the vault's records
//! alone which clusters, rings, backups, verifies and holds there are, and everything goes on from there.
//! On a database that is not empty it adds what is missing and mends what differs, and takes nothing away.
//!
//! **Why it is safe while other work goes on.** What may have to change is found without locks. Each
//! change is then decided once more under its row's lock, by records that are read from the vault after the
//! lock was taken; whoever else changes such a row (a seal's report, a purge, a hold) has that lock before
//! it tells the vault or the database. A backup whose own job is not over is left to it. Two rebuilds at
//! once come to the same: of two that add a row one finds it there.
//!
//! **What the vault does not know**: jobs with their history and holds, policies, tokens, workers, requests;
//! the ring's history but for what the newest backup saw; backups that were cancelled before their start was
//! written; and of what the first releases wrote: holds, taints, the data center asked for, the figures of
//! expired backups.

mod holds;
mod medusa;
mod merge;
mod nodes;

use std::collections::BTreeSet;

use ringvault_core::{
    BackupName, ClusterName, JobId,
    api::{
        CatalogChange, CatalogCluster, CatalogNote, CatalogNoteKind, CatalogRebuild, CatalogRebuilt,
        Verification,
    },
    backup::BackupState,
};
use ringvault_fault::around;
use ringvault_state::{
    StateError, Tx, backups,
    catalog::{self as repository, CatalogRow},
    holds as held,
    registry::{clusters, topologies},
};
use ringvault_vault::{
    VaultError,
    backup::{Intents, SealPlace, SealRecord},
    catalog::CatalogRecords,
    purge::PurgeRecord,
    verify::VerificationRecord,
};

use crate::{Context, registry::in_order};
pub use holds::{record_hold, record_missing_holds, record_release};
pub use medusa::{UnknownMedusa, import_medusa};
use merge::{FromVault, Merged, as_stored};
pub use nodes::nodes_of_seal;

/// Backups of one page: a few hundred small requests.
const PAGE: usize = 200;

/// Why a rebuild stopped. It may be begun again.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The vault.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database.
    #[error(transparent)]
    State(#[from] StateError),
    /// There is no such Medusa store or backup.
    #[error(transparent)]
    Medusa(#[from] UnknownMedusa),
}

/// The clusters that have backups in the vault, with how many.
pub async fn clusters_of_vault(ctx: &Context) -> Result<Vec<CatalogCluster>, CatalogError> {
    let mut found = Vec::new();
    for cluster in ctx.vault.clusters().await? {
        let backups = ctx.vault.backup_names(&cluster).await?.len() as u64;
        found.push(CatalogCluster { cluster, backups });
    }
    Ok(found)
}

/// Does one page of a cluster's backups; the first page also its ring, the last one also what the
/// database knows and the vault does not.
pub async fn rebuild(ctx: &Context, ask: &CatalogRebuild) -> Result<CatalogRebuilt, CatalogError> {
    let cluster = &ask.cluster;
    let names = ctx.vault.backup_names(cluster).await?;
    let begin = ask.after.as_ref().map_or(0, |after| names.partition_point(|name| name <= after));
    let page: Vec<BackupName> = names[begin..].iter().take(PAGE).cloned().collect();
    let is_last = begin + page.len() == names.len();
    let mut work = Rebuild {
        ctx,
        ask,
        done: CatalogRebuilt {
            cluster: cluster.clone(),
            dry_run: ask.dry_run,
            backups: names.len() as u64,
            looked_at: page.len() as u64,
            changes: Vec::new(),
            notes: Vec::new(),
            next: if is_last { None } else { page.last().cloned() },
        },
    };
    if ask.after.is_none() {
        work.cluster().await?;
    }
    // Without its intents nobody knows which of a cluster's backups have expired.
    let read = match ctx.vault.read_intents(cluster).await {
        Ok(intents) => match ctx.vault.last_purge(cluster, &intents).await {
            Ok(last) => Some((intents, last)),
            Err(error) => work.skip(None, error).map(|()| None)?,
        },
        Err(error) => work.skip(None, error).map(|()| None)?,
    };
    let Some((intents, last_purge)) = read else {
        work.done.next = None;
        return Ok(work.done);
    };
    work.backups(&page, &intents, last_purge.as_ref()).await?;
    if is_last {
        work.topology(&names, &intents).await?;
        work.missing().await?;
    }
    Ok(work.done)
}

struct Rebuild<'a> {
    ctx: &'a Context,
    ask: &'a CatalogRebuild,
    done: CatalogRebuilt,
}

impl Rebuild<'_> {
    /// Notes a damaged record; what the store could not answer ends the work.
    fn skip(&mut self, backup: Option<&BackupName>, error: VaultError) -> Result<(), CatalogError> {
        match error {
            VaultError::Malformed { .. }
            | VaultError::UnsupportedVersion { .. }
            | VaultError::Manifest(_)
            | VaultError::ForbiddenKey { .. } => {
                self.note(CatalogNoteKind::Damaged, backup, error.to_string());
                Ok(())
            }
            other => Err(other.into()),
        }
    }

    fn note(&mut self, kind: CatalogNoteKind, backup: Option<&BackupName>, detail: String) {
        self.done.notes.push(CatalogNote { kind, backup: backup.cloned(), detail });
    }

    fn change(&mut self, what: &str, backup: Option<&BackupName>, mended: &[&str], detail: String) {
        let mended = mended.iter().map(|field| (*field).to_owned()).collect();
        self.done.changes.push(CatalogChange {
            what: what.to_owned(),
            backup: backup.cloned(),
            mended,
            detail,
        });
    }

    /// The cluster and the ring that its id is bound to.
    async fn cluster(&mut self) -> Result<(), CatalogError> {
        let cluster = &self.ask.cluster;
        let binding = match self.ctx.vault.cluster_binding(cluster).await {
            Ok(binding) => binding,
            Err(error) => return self.skip(None, error),
        };
        let mut tx = self.ctx.db.begin().await.map_err(StateError::from)?;
        let since = match &binding {
            Some(binding) => binding.bound_at,
            None => ringvault_state::now(&mut tx).await?,
        };
        if clusters::add_since(&mut tx, cluster, since).await? {
            self.change("cluster", None, &[], format!("{cluster} has backups in the vault"));
        }
        let bound = clusters::lock(&mut tx, cluster).await?.unwrap_or_default();
        let hosts: Vec<_> = binding.iter().flat_map(|binding| &binding.ring.host_ids).copied().collect();
        if bound.is_empty() && !hosts.is_empty() {
            clusters::bind(&mut tx, cluster, &hosts).await?;
            let detail = format!("{cluster} is bound to a ring of {} host ids seen", hosts.len());
            self.change("ring", None, &[], detail);
        } else if !hosts.is_empty() && !hosts.iter().any(|host| bound.contains(host)) {
            let detail = format!(
                "{cluster} is bound to one ring here and to another in the vault: no backup of it can begin \
                 before ringvault cluster rebind {cluster}"
            );
            self.note(CatalogNoteKind::Contradiction, None, detail);
        }
        self.commit(tx).await
    }

    async fn commit(&self, tx: Tx<'_>) -> Result<(), CatalogError> {
        if self.ask.dry_run {
            tx.rollback().await.map_err(StateError::from)?;
            return Ok(());
        }
        Ok(ringvault_state::commit(tx, around!("catalog.rebuild")).await?)
    }

    async fn backups(
        &mut self,
        page: &[BackupName],
        intents: &Intents,
        last_purge: Option<&PurgeRecord>,
    ) -> Result<(), CatalogError> {
        let cluster = &self.ask.cluster;
        let found = self.ctx.vault.catalog_records(cluster, page, intents).await?;
        let mut conn = self.ctx.db.acquire().await.map_err(StateError::from)?;
        let known = repository::find(&mut conn, cluster, page).await?;
        let reports: BTreeSet<(BackupName, JobId)> =
            repository::known_verifications(&mut conn, cluster, page).await?.into_iter().collect();
        drop(conn);
        let (mut adds, mut mends, mut verified, mut holding) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for records in found {
            let CatalogRecords { backup, entry, verifications, holds, damaged } = records;
            for error in damaged {
                self.skip(Some(&backup), error)?;
            }
            let entry = match entry {
                Ok(Some(entry)) => entry,
                // What a worker left that came back after all was swept.
                Ok(None) => continue,
                Err(error) => {
                    self.skip(Some(&backup), error)?;
                    continue;
                }
            };
            let vault = FromVault::of(&entry, intents, last_purge);
            let told = vault.told();
            match vault.merge(known.get(&backup)) {
                Merged::Same => {}
                Merged::Add(row) => adds.push((row, told)),
                Merged::Mend(..) | Merged::Contradiction(_) => mends.push(backup.clone()),
            }
            let is_new = |report: &VerificationRecord| !reports.contains(&(backup.clone(), report.job));
            verified.extend(verifications.into_iter().filter(is_new));
            if holds.iter().any(|hold| hold.released.is_none()) {
                holding.push(backup);
            }
        }
        self.add(adds).await?;
        self.mend(&mends).await?;
        self.verifications(&verified).await?;
        for backup in &holding {
            self.holds(backup).await?;
        }
        Ok(())
    }

    /// Adds rows. One that is there by now belongs to a backup that has just been asked for, or was added
    /// by another rebuild.
    async fn add(&mut self, rows: Vec<(Box<CatalogRow>, String)>) -> Result<(), CatalogError> {
        let mut tx = self.ctx.db.begin().await.map_err(StateError::from)?;
        for (row, told) in rows {
            if repository::insert(&mut tx, &row).await? {
                self.change("backup", Some(&row.name), &[], told);
            }
        }
        self.commit(tx).await
    }

    /// Decides about rows once more, under their locks and by what the vault says now.
    async fn mend(&mut self, backups: &[BackupName]) -> Result<(), CatalogError> {
        if backups.is_empty() {
            return Ok(());
        }
        let (ctx, cluster) = (self.ctx, &self.ask.cluster);
        let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
        let known = repository::lock(&mut tx, cluster, backups).await?;
        let intents = ctx.vault.read_intents(cluster).await?;
        let last_purge = ctx.vault.last_purge(cluster, &intents).await?;
        for records in ctx.vault.catalog_records(cluster, backups, &intents).await? {
            let backup = records.backup;
            let entry = match records.entry {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(error) => {
                    self.skip(Some(&backup), error)?;
                    continue;
                }
            };
            let vault = FromVault::of(&entry, &intents, last_purge.as_ref());
            let told = vault.told();
            match vault.merge(known.get(&backup)) {
                Merged::Same | Merged::Add(_) => {}
                Merged::Contradiction(why) => {
                    self.note(CatalogNoteKind::Contradiction, Some(&backup), why);
                }
                Merged::Mend(row, fields) => {
                    repository::update(&mut tx, &row).await?;
                    self.change("backup", Some(&backup), &fields, told);
                }
            }
        }
        self.commit(tx).await
    }

    async fn verifications(&mut self, reports: &[VerificationRecord]) -> Result<(), CatalogError> {
        let mut tx = self.ctx.db.begin().await.map_err(StateError::from)?;
        for report in reports {
            let (cluster, backup) = (&report.cluster, &report.backup);
            let at = as_stored(report.finished_at);
            let verified = Verification { job: None, level: report.level, at, damaged: report.damaged };
            if repository::verified(&mut tx, (cluster, backup), report.job, &verified).await? {
                let (job, damaged, level) = (report.job, report.damaged, report.level.as_str());
                let detail = format!("{backup}: verify {job} at level {level} found {damaged} damaged");
                self.change("verification", Some(backup), &[], detail);
            }
        }
        self.commit(tx).await
    }

    /// Holds that the vault knows and the database does not, read under the lock that a release takes.
    async fn holds(&mut self, backup: &BackupName) -> Result<(), CatalogError> {
        let (ctx, cluster) = (self.ctx, &self.ask.cluster);
        let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
        let state = backups::lock(&mut tx, cluster, backup).await?;
        let comes_too_late = matches!(state, Some(BackupState::Expired | BackupState::Dead));
        if comes_too_late || (state.is_none() && !self.ask.dry_run) {
            return Ok(());
        }
        let mut added = Vec::new();
        for (_, hold) in ctx.vault.hold_records(cluster, backup).await? {
            // A damaged one was told of already.
            let Ok(hold) = hold else { continue };
            if hold.released.is_some() {
                continue;
            }
            let words = (hold.name.as_str(), hold.reason.as_deref());
            let set = (hold.set_by.as_str(), as_stored(hold.set_at));
            // In a dry run the backup's own row may not be there yet.
            if state.is_none() || held::add_as_recorded(&mut tx, (cluster, backup), words, set).await? {
                added.push(format!("{backup} is held as {} by {}", hold.name, hold.set_by));
            }
        }
        for detail in added {
            self.change("hold", Some(backup), &[], detail);
        }
        self.commit(tx).await
    }

    /// The ring as the newest sealed backup saw it, where none is known.
    async fn topology(&mut self, names: &[BackupName], intents: &Intents) -> Result<(), CatalogError> {
        let (ctx, cluster) = (self.ctx, &self.ask.cluster);
        let mut conn = ctx.db.acquire().await.map_err(StateError::from)?;
        let known = topologies::present(&mut conn, cluster).await?;
        drop(conn);
        if !known.nodes.is_empty() {
            return Ok(());
        }
        let Some(seal) = newest_seal(ctx, cluster, names, intents).await? else { return Ok(()) };
        let mut tx = ctx.db.begin().await.map_err(StateError::from)?;
        let (ring, since) = (in_order(seal.topology.clone()), as_stored(seal.sealed_at));
        // In a dry run it is not there.
        clusters::add(&mut tx, cluster).await?;
        clusters::lock(&mut tx, cluster).await?;
        if !repository::first_topology(&mut tx, cluster, &ring, since).await? {
            return Ok(());
        }
        for node in &seal.nodes {
            let versions = (&*node.cassandra_version, &*seal.partitioner, &*node.schema_version);
            repository::describe_node(&mut tx, (cluster, node.host_id), versions, node.snapshot_at).await?;
        }
        let detail = format!("{} nodes, as {} saw them", ring.nodes.len(), seal.start.backup);
        self.change("topology", None, &[], detail);
        self.commit(tx).await
    }

    /// What is in the vault by the database, and is not. The database is asked first: what it says was
    /// in the vault before.
    async fn missing(&mut self) -> Result<(), CatalogError> {
        let cluster = &self.ask.cluster;
        let mut conn = self.ctx.db.acquire().await.map_err(StateError::from)?;
        let listed = repository::in_vault(&mut conn, cluster).await?;
        drop(conn);
        let names: BTreeSet<BackupName> = self.ctx.vault.backup_names(cluster).await?.into_iter().collect();
        for backup in listed.iter().filter(|backup| !names.contains(backup)) {
            let detail = format!("{backup} is listed here, and the vault has nothing of it");
            self.note(CatalogNoteKind::Missing, Some(backup), detail);
        }
        Ok(())
    }
}

/// The seal of the backup that was sealed last, of those that can be read.
async fn newest_seal(
    ctx: &Context,
    cluster: &ClusterName,
    names: &[BackupName],
    intents: &Intents,
) -> Result<Option<SealRecord>, VaultError> {
    let mut newest: Option<Box<SealRecord>> = None;
    for page in names.chunks(PAGE) {
        for records in ctx.vault.catalog_records(cluster, page, intents).await? {
            let Ok(Some(entry)) = records.entry else { continue };
            if let SealPlace::Sealed(seal) = entry.place
                // Of an imported one the host ids are not Cassandra's own.
                && !seal.is_imported()
                && newest.as_ref().is_none_or(|newest| newest.sealed_at < seal.sealed_at)
            {
                newest = Some(seal);
            }
        }
    }
    Ok(newest.map(|seal| *seal))
}
