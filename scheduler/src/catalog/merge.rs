//! What a backup's row becomes by what the vault says of the backup. Pure.
//!
//! The vault is the truth of what a backup is; of what is only known here nothing is lost: a row is
//! never taken away, and an expiry or a taint never taken back. A backup whose own job is not over is
//! left to that job.

use chrono::{DateTime, SubsecRound, Utc};
use ringvault_core::backup::{BackupState, Scope};
use ringvault_state::catalog::{CatalogRow, Known};
use ringvault_vault::{
    backup::{BackupEntry, Intents, SealPlace},
    purge::PurgeRecord,
};

/// What a row becomes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Merged {
    /// It is as it should be, or is being written by its job.
    Same,
    /// There is none: this one.
    Add(Box<CatalogRow>),
    /// This, and the names of the fields that differ.
    Mend(Box<CatalogRow>, Vec<&'static str>),
    /// The vault says less than the row: it is left as it is, and told.
    Contradiction(String),
}

/// A backup as the vault's records say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FromVault {
    row: CatalogRow,
    /// Whether its `start.json` is there: of a backup that was aborted before it began only its name,
    /// job and end are known.
    has_start: bool,
}

impl FromVault {
    /// The row that the vault's records make.
    pub(super) fn of(entry: &BackupEntry, intents: &Intents, last_purge: Option<&PurgeRecord>) -> Self {
        let start = &entry.start;
        let mut row = CatalogRow {
            cluster: start.cluster.clone(),
            name: start.backup.clone(),
            job: start.job,
            policy: start.policy.clone(),
            state: entry.state(),
            mode: start.mode,
            tags: start.tags.clone(),
            started_at: as_stored(start.started_at),
            scope: Scope { selection: start.selection.clone(), dc: None },
            sealed_at: None,
            figures: None,
            coverage: None,
            remarks: Vec::new(),
            tainted: false,
            locked_until: None,
            expired: None,
            purged_at: None,
        };
        if let Some(intent) = entry.expired_by.and_then(|n| intents.get(n)) {
            row.expired = Some((intent.job, as_stored(intent.at)));
        }
        let mut has_start = true;
        match &entry.place {
            SealPlace::Empty => {}
            SealPlace::Sealed(seal) => {
                row.sealed_at = Some(as_stored(seal.sealed_at));
                row.figures = Some(seal.figures);
                row.coverage = Some(seal.report.clone());
                row.remarks = seal.remarks.iter().map(ToString::to_string).collect();
                row.scope.dc.clone_from(&seal.dc);
                row.tainted = seal.tainted;
                row.locked_until = seal.lock.as_ref().map(|lock| as_stored(lock.until));
            }
            SealPlace::Tombstone(stone) => {
                row.sealed_at = Some(as_stored(stone.sealed_at));
                row.purged_at = Some(as_stored(stone.removed_at));
                if let Some(was) = &stone.was {
                    row.figures = Some(was.figures);
                    row.coverage = Some(was.report.clone());
                    row.remarks.clone_from(&was.remarks);
                    row.scope.dc.clone_from(&was.dc);
                    row.tainted = was.tainted;
                }
            }
            SealPlace::Aborted(abort) => {
                has_start = start.started_at != abort.aborted_at;
                let cleared = last_purge.filter(|purge| purge.dead.contains(&start.backup));
                row.purged_at = cleared.map(|purge| as_stored(purge.finished_at));
            }
        }
        Self { row, has_start }
    }

    /// The row's name and state, as they are told.
    pub(super) fn told(&self) -> String {
        let state = self.row.state.as_str();
        let gone = if self.row.purged_at.is_some() { ", gone from the vault" } else { "" };
        format!("{} is {state}{gone}", self.row.name)
    }

    /// What becomes of the row that is there, if there is one.
    pub(super) fn merge(self, known: Option<&Known>) -> Merged {
        let Some(known) = known else { return Merged::Add(Box::new(self.row)) };
        if known.in_hand {
            return Merged::Same;
        }
        let (was, vault) = (&known.row, self.row);
        let is_over = was.state.is_sealed() || was.state == BackupState::Expired;
        if vault.state == BackupState::Running && is_over {
            let (name, state) = (&was.name, was.state.as_str());
            return Merged::Contradiction(format!(
                "{name} is {state} here, and has no seal in the vault: it cannot be restored"
            ));
        }
        let state = match (was.state, vault.state) {
            // A purge has chosen it and is about to say so in the vault; expiry is never taken back.
            (BackupState::Expired, _) => BackupState::Expired,
            // Its job is over, and the next purge puts the marker.
            (BackupState::Dead, BackupState::Running) => BackupState::Dead,
            (_, state) => state,
        };
        let mut row = CatalogRow {
            state,
            sealed_at: vault.sealed_at.or(was.sealed_at),
            figures: vault.figures.or(was.figures),
            coverage: vault.coverage.or_else(|| was.coverage.clone()),
            remarks: if vault.remarks.is_empty() { was.remarks.clone() } else { vault.remarks },
            tainted: was.tainted || vault.tainted,
            locked_until: vault.locked_until.or(was.locked_until),
            expired: was.expired.or(vault.expired),
            purged_at: was.purged_at.or(vault.purged_at),
            scope: Scope {
                selection: vault.scope.selection,
                dc: vault.scope.dc.or_else(|| was.scope.dc.clone()),
            },
            ..vault
        };
        if was.state == BackupState::Dead && row.state != BackupState::Dead {
            // It was taken for dead and swept, here alone.
            row.purged_at = vault.purged_at;
        }
        if !self.has_start {
            row.policy.clone_from(&was.policy);
            row.tags.clone_from(&was.tags);
            row.scope.clone_from(&was.scope);
            (row.mode, row.started_at) = (was.mode, was.started_at);
        }
        let fields = differing(was, &row);
        if fields.is_empty() { Merged::Same } else { Merged::Mend(Box::new(row), fields) }
    }
}

/// An instant as the database keeps it: whole microseconds.
pub(super) fn as_stored(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

/// The names of the fields in which two rows differ.
fn differing(a: &CatalogRow, b: &CatalogRow) -> Vec<&'static str> {
    let differ = [
        ("job", a.job != b.job),
        ("policy", a.policy != b.policy),
        ("state", a.state != b.state),
        ("mode", a.mode != b.mode),
        ("tags", a.tags != b.tags),
        ("started_at", a.started_at != b.started_at),
        ("selection", a.scope != b.scope),
        ("sealed_at", a.sealed_at != b.sealed_at),
        ("figures", a.figures != b.figures),
        ("coverage", a.coverage != b.coverage),
        ("remarks", a.remarks != b.remarks),
        ("tainted", a.tainted != b.tainted),
        ("locked_until", a.locked_until != b.locked_until),
        ("expired", a.expired != b.expired),
        ("purged", a.purged_at != b.purged_at),
    ];
    differ.into_iter().filter(|(_, differ)| *differ).map(|(field, _)| field).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ringvault_core::{BackupName, ClusterName, JobId, backup::BackupFigures, job::BackupMode};

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
    }

    fn row(state: BackupState) -> CatalogRow {
        let sealed = state.is_sealed() || state == BackupState::Expired;
        CatalogRow {
            cluster: ClusterName::new("c").unwrap(),
            name: BackupName::new("b").unwrap(),
            job: JobId(uuid::Uuid::from_u128(1)),
            policy: None,
            state,
            mode: BackupMode::Incremental,
            tags: BTreeMap::new(),
            started_at: at(0),
            scope: Scope::default(),
            sealed_at: sealed.then(|| at(9)),
            figures: sealed.then(BackupFigures::default),
            coverage: None,
            remarks: Vec::new(),
            tainted: false,
            locked_until: None,
            expired: None,
            purged_at: None,
        }
    }

    fn merge(was: CatalogRow, vault: CatalogRow) -> Merged {
        let known = Known { row: was, in_hand: false };
        FromVault { row: vault, has_start: true }.merge(Some(&known))
    }

    #[test]
    fn what_the_vault_says_is_taken_over_and_what_is_known_here_alone_is_kept() {
        use BackupState::{Complete, Covering, Dead, Expired, Running};
        let fields = |was, vault| match merge(row(was), row(vault)) {
            Merged::Mend(row, fields) => (row.state.as_str(), fields),
            Merged::Same => ("same", Vec::new()),
            other => panic!("{other:?}"),
        };
        assert_eq!(fields(Running, Complete), ("complete", vec!["state", "sealed_at", "figures"]));
        assert_eq!(fields(Dead, Covering), ("covering", vec!["state", "sealed_at", "figures"]));
        assert_eq!(fields(Running, Dead), ("dead", vec!["state"]));
        assert_eq!(fields(Complete, Expired), ("expired", vec!["state"]));
        assert_eq!(fields(Expired, Complete).0, "same", "a purge is about to write its intent");
        assert_eq!(fields(Dead, Running).0, "same", "the next purge writes its marker");
        assert_eq!(fields(Complete, Complete).0, "same");
        assert!(matches!(merge(row(Complete), row(Running)), Merged::Contradiction(_)));

        let mut tainted = row(Complete);
        (tainted.tainted, tainted.scope.dc) = (true, Some("dc1".to_owned()));
        assert_eq!(merge(tainted, row(Complete)), Merged::Same, "the first seals do not say either");
        let mut swept = row(Dead);
        swept.purged_at = Some(at(5));
        let Merged::Mend(row, _) = merge(swept, row(Complete)) else { panic!("it is sealed") };
        assert_eq!(row.purged_at, None);
    }

    #[test]
    fn a_backup_whose_job_is_not_over_is_left_to_it() {
        let known = Known { row: row(BackupState::Running), in_hand: true };
        let vault = FromVault { row: row(BackupState::Complete), has_start: true };
        assert_eq!(vault.merge(Some(&known)), Merged::Same);
    }

    #[test]
    fn of_a_backup_that_never_began_the_vault_knows_only_its_end() {
        let mut was = row(BackupState::Running);
        was.tags.insert("why".to_owned(), "kept".to_owned());
        let known = Known { row: was.clone(), in_hand: false };
        let mut vault = row(BackupState::Dead);
        vault.started_at = at(77);
        let merged = FromVault { row: vault, has_start: false }.merge(Some(&known));
        let Merged::Mend(row, fields) = merged else { panic!("{merged:?}") };
        assert_eq!((fields, row.tags, row.started_at), (vec!["state"], was.tags, was.started_at));
    }
}
