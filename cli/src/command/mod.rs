//! The commands, a file a noun. Each turns its arguments into requests, and answers into text.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod catalog;
pub(crate) mod cluster;
pub(crate) mod doctor;
pub(crate) mod drill;
pub(crate) mod evidence;
mod find;
pub(crate) mod generate;
pub(crate) mod hold;
pub(crate) mod job;
pub(crate) mod key;
pub(crate) mod node;
pub(crate) mod notify;
pub(crate) mod policy;
pub(crate) mod purge;
pub(crate) mod restore;
pub(crate) mod rows;
pub(crate) mod session;
mod start;
pub(crate) mod status;
pub(crate) mod storage;
pub(crate) mod token;
pub(crate) mod vault;
pub(crate) mod verify;

use crate::{args::Command, context::Context, exit::Exit, failure::Outcome};

/// Runs one command to its exit code.
pub(crate) async fn run(context: &Context, command: Command) -> Outcome<Exit> {
    match command {
        Command::Status(args) => status::run(context, &args).await,
        Command::Doctor(args) => doctor::run(context, &args).await,
        Command::Vault(command) => vault::run(context, command).await,
        Command::Cluster(command) => cluster::run(context, command).await,
        Command::Node(command) => node::run(context, command).await,
        Command::Policy(command) => policy::run(context, command).await,
        Command::Backup(command) => backup::run(context, command).await,
        Command::Verify(command) => verify::run(context, command).await,
        Command::Restore(command) => restore::run(context, command).await,
        Command::Purge(command) => purge::run(context, command).await,
        Command::Drill(command) => drill::run(context, command).await,
        Command::Rows(command) => rows::run(context, command).await,
        Command::Job(command) => job::run(context, command).await,
        Command::Hold(command) => hold::run(context, command).await,
        Command::Storage(command) => storage::run(context, command).await,
        Command::Evidence(command) => evidence::run(context, command).await,
        Command::Key(command) => key::run(context, command).await,
        Command::Token(command) => token::run(context, command).await,
        Command::Session(command) => session::run(context, command).await,
        Command::Notify(command) => notify::run(context, command).await,
        Command::Audit(command) => audit::run(context, command).await,
        Command::Catalog(command) => catalog::run(context, command).await,
        Command::Generate(command) => generate::run(context, &command),
    }
}
