//! `ringvault verify`: whether a backup is whole.

use clap::{Args, Subcommand, ValueEnum};
use ringvault_core::{
    BackupName,
    job::{JobSpec, VerifyLevel, VerifySpec},
};
use serde_json::json;

use super::{find, start};
use crate::{
    args::shared::{ClusterOption, StartArgs},
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// `verify …`
#[derive(Debug, Subcommand)]
pub(crate) enum VerifyCommand {
    /// Check a backup; with --wait exit 4 if anything is missing or damaged
    Run(RunArgs),
}

/// Which backup, how deep.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The backup
    backup: BackupName,
    #[command(flatten)]
    cluster: ClusterOption,
    /// How deep to look
    #[arg(long, value_enum, default_value_t = Level::Presence)]
    level: Level,
    #[command(flatten)]
    start: StartArgs,
}

/// How deep.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    /// Seal, manifests, and that every object is there with its size
    Presence,
    /// Also every byte against its hash
    Digest,
    /// Also each SSTable's own structure: chunk checksums, and whether its components agree
    Sstable,
}

pub(crate) async fn run(context: &Context, command: VerifyCommand) -> Outcome<Exit> {
    let VerifyCommand::Run(args) = command;
    let client = context.client()?;
    let backup = find::backup(&client, args.cluster.cluster.as_ref(), &args.backup).await?;
    if !backup.state.is_sealed() {
        let message = format!(
            "backup {} of {} is {}: only a sealed backup can be verified",
            backup.name,
            backup.cluster,
            backup.state.as_str()
        );
        return Err(Failure::new(Exit::Conflict, "RV-BACKUP-STATE", message)
            .with_next(format!("ringvault backup list -c {}", backup.cluster)));
    }
    let spec = VerifySpec {
        cluster: backup.cluster,
        backup: backup.name,
        level: match args.level {
            Level::Presence => VerifyLevel::Presence,
            Level::Digest => VerifyLevel::Digest,
            Level::Sstable => VerifyLevel::Sstable,
        },
        policy: None,
    };
    if args.start.dry_run {
        let size = crate::output::human::size(backup.figures.bytes);
        let files = backup.figures.files;
        context.out.document(&json!({"dry_run": true, "job": JobSpec::Verify(spec.clone())}), || {
            format!("would check {files} files of {} ({size}); a verify changes nothing\n", spec.backup)
        })?;
        return Ok(Exit::Ok);
    }
    start::start(context, &client, &JobSpec::Verify(spec), &args.start).await
}
