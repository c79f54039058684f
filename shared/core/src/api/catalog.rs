//! The catalogue: what the scheduler learns of backups from the vault alone.
//!
//! `POST /v1/catalog/rebuild` does one page of one cluster's backups, by name, and answers where the
//! next one begins; so the caller shows how far it is, nothing runs on when nobody listens, and a
//! rebuild that was cut short is simply begun again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{BackupName, ClusterName, backup::BackupFigures, cluster::Coverage};

/// A cluster that has backups in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogCluster {
    /// Its id.
    pub cluster: ClusterName,
    /// Backups with a folder in the vault, dead and expired ones too.
    pub backups: u64,
}

/// `POST /v1/catalog/rebuild`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogRebuild {
    /// The cluster whose backups are looked at.
    pub cluster: ClusterName,
    /// The last backup of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<BackupName>,
    /// Say what would be done, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a page of a rebuild came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogRebuilt {
    /// The cluster.
    pub cluster: ClusterName,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Backups of the cluster in the vault.
    pub backups: u64,
    /// Backups looked at on this page.
    pub looked_at: u64,
    /// What the database lacked or had otherwise.
    pub changes: Vec<CatalogChange>,
    /// What could not be taken over, and why.
    pub notes: Vec<CatalogNote>,
    /// The next page begins after this backup; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<BackupName>,
}

/// A change of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogChange {
    /// `cluster`, `ring`, `topology`, `backup`, `verification` or `hold`.
    pub what: String,
    /// The backup it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupName>,
    /// The fields that were otherwise; empty where it was lacking altogether.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mended: Vec<String>,
    /// In words.
    pub detail: String,
}

/// Why something was not taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatalogNoteKind {
    /// A record in the vault cannot be read; it was skipped.
    Damaged,
    /// The database lists it, and the vault has no record of it; it was left as it is.
    Missing,
    /// Vault and database contradict each other; the database was left as it is.
    Contradiction,
}

/// What could not be taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CatalogNote {
    /// Why not.
    pub kind: CatalogNoteKind,
    /// The backup it is about; absent where it is the cluster's own records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupName>,
    /// In words, with the key of a damaged record.
    pub detail: String,
}

/// `POST /v1/catalog/import-medusa`: takes over backups that cassandra-medusa wrote, as they lie. A page of
/// them a request, in the order of their begin; what is there already is skipped, so it may be begun again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MedusaImport {
    /// The cluster that the backups are to be of.
    pub cluster: ClusterName,
    /// The Medusa store, by its name in the scheduler's configuration (`[vault.medusa.NAME]`).
    pub store: String,
    /// Only these backups, by their names at Medusa; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<String>,
    /// Also those that some node began in the last day and is not done with.
    #[serde(default)]
    pub unfinished: bool,
    /// The last backup of the page before, by its name at Medusa.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Say what would be done, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a page of an import came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MedusaImported {
    /// The cluster.
    pub cluster: ClusterName,
    /// Nothing was changed.
    pub dry_run: bool,
    /// Backups that Medusa lists, of those that were asked for.
    pub listed: u64,
    /// Backups looked at on this page, in their order.
    pub backups: Vec<MedusaBackup>,
    /// What is wrong with the index itself; on the first page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// The next page begins after this backup; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What became of one of Medusa's backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MedusaBackup {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub outcome: MedusaOutcome,
    /// Where it is new: how much of the ring it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// Where it is new: its figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<BackupFigures>,
    /// Where it is new: why it is less than it might be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// Why it was not taken over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Its pieces that are missing or damaged; what could be taken over without them was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// What became of one of Medusa's backups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MedusaOutcome {
    /// It is listed now.
    Imported,
    /// It was before.
    Known,
    /// It was before, and has expired here: it is not brought back.
    Expired,
    /// Some node is not done with it, and may still be at work.
    Unfinished,
    /// It cannot be taken over.
    Refused,
}

impl MedusaOutcome {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Known => "known",
            Self::Expired => "expired",
            Self::Unfinished => "unfinished",
            Self::Refused => "refused",
        }
    }
}
