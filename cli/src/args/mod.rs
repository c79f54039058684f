//! The command line as a tree of types: `noun verb`, singular. What a flag means is said once,
//! here or in [`shared`].

pub(crate) mod limits;
pub(crate) mod refused;
pub(crate) mod shared;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::command::{
    audit::AuditCommand, backup::BackupCommand, catalog::CatalogCommand, cluster::ClusterCommand,
    doctor::DoctorArgs, drill::DrillCommand, evidence::EvidenceCommand, generate::GenerateCommand,
    hold::HoldCommand, job::JobCommand, key::KeyCommand, node::NodeCommand, notify::NotifyCommand,
    policy::PolicyCommand, purge::PurgeCommand, restore::RestoreCommand, rows::RowsCommand,
    session::SessionCommand, status::StatusArgs, storage::StorageCommand, token::TokenCommand,
    vault::VaultCommand, verify::VerifyCommand,
};

/// Backup, verify, restore and purge for Apache Cassandra.
///
/// Exit codes: 0 ok, 1 failed, 2 usage, 3 partial, 4 ran and found problems, 5 not found,
/// 6 conflict, 7 refused by a guard, 8 not authorised, 9 a dependency cannot be reached,
/// 10 wait timed out and the job goes on, 130 detached and the job goes on.
#[derive(Debug, Parser)]
#[command(name = "ringvault", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[allow(clippy::struct_excessive_bools)] // each is a flag of its own
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The scheduler's address
    #[arg(
        long,
        global = true,
        env = "RINGVAULT_SERVER",
        value_name = "URL",
        help = "The scheduler's address, such as https://ringvault.example:8443"
    )]
    pub(crate) server: Option<Url>,
    /// File with the access token
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "File with the access token [env: RINGVAULT_TOKEN_FILE, or the token in RINGVAULT_TOKEN]"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of the authority that signed the scheduler's certificate
    #[arg(long, alias = "ca", global = true, env = "RINGVAULT_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// PEM file of a client certificate, for a scheduler that asks for one
    #[arg(long, global = true, env = "RINGVAULT_CLIENT_CERT_FILE", value_name = "FILE")]
    pub(crate) client_cert_file: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long, global = true, env = "RINGVAULT_CLIENT_KEY_FILE", value_name = "FILE")]
    pub(crate) client_key_file: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Answer yes where a command only asks to be sure; never stands for --confirm
    #[arg(long, short = 'y', global = true)]
    pub(crate) yes: bool,
    /// No colour
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Show times in this IANA zone instead of UTC
    #[arg(long, global = true, value_name = "ZONE")]
    pub(crate) tz: Option<String>,
    /// Show what lies behind an error
    #[arg(long, global = true)]
    pub(crate) debug: bool,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Who is unprotected, late or unverified
    Status(StatusArgs),
    /// What is wrong, and what to do about it
    Doctor(DoctorArgs),
    /// The object store that backups lie in
    #[command(subcommand)]
    Vault(VaultCommand),
    /// Clusters and their rings
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Nodes and their workers
    #[command(subcommand)]
    Node(NodeCommand),
    /// What is done when, by itself
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Backups
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Whether a backup is whole
    #[command(subcommand)]
    Verify(VerifyCommand),
    /// Prove that backups can be restored
    #[command(subcommand)]
    Drill(DrillCommand),
    /// Data back into a cluster
    #[command(subcommand)]
    Restore(RestoreCommand),
    /// Taking expired backups away
    #[command(subcommand)]
    Purge(PurgeCommand),
    /// Whether two clusters hold the same rows
    #[command(subcommand)]
    Rows(RowsCommand),
    /// Jobs: backups, verifies, restores, purges, drills and digests under way and past
    #[command(subcommand)]
    Job(JobCommand),
    /// What keeps a backup from being purged
    #[command(subcommand)]
    Hold(HoldCommand),
    /// What is kept, what it costs, what goes next
    #[command(subcommand)]
    Storage(StorageCommand),
    /// What was tested, held, changed, and by whom
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// The keys of an encrypted vault
    #[command(subcommand)]
    Key(KeyCommand),
    /// Access to the scheduler
    #[command(subcommand)]
    Token(TokenCommand),
    /// Browsers that are signed in to the dashboard
    #[command(subcommand)]
    Session(SessionCommand),
    /// Whom this scheduler tells what happens, and whether it arrives
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Who did what, and whether that record is unchanged
    #[command(subcommand)]
    Audit(AuditCommand),
    /// What the vault holds, read without a scheduler; and a lost database filled from it
    #[command(subcommand)]
    Catalog(CatalogCommand),
    /// Shell completions and manual pages
    #[command(subcommand)]
    Generate(GenerateCommand),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }
}
