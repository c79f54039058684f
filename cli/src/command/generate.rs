//! `ringvault generate`: shell completions and manual pages, made from the command line's own tree.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Subcommand};
use clap_complete::Shell;

use crate::{
    args::Cli,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// `generate …`
#[derive(Debug, Subcommand)]
pub(crate) enum GenerateCommand {
    /// A completion script on stdout
    Completions(CompletionArgs),
    /// Manual pages: a file a command
    Man(ManArgs),
}

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder for the pages; without it the first page goes to stdout
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(crate) fn run(context: &Context, command: &GenerateCommand) -> Outcome<Exit> {
    let mut tree = Cli::command();
    match command {
        GenerateCommand::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut tree, "ringvault", &mut script);
            context.out.print(&String::from_utf8_lossy(&script))?;
        }
        GenerateCommand::Man(ManArgs { to: Some(folder) }) => {
            let written =
                std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(tree, folder));
            written.map_err(|error| {
                Failure::usage(format!("writing manual pages to {}: {error}", folder.display()))
            })?;
        }
        GenerateCommand::Man(ManArgs { to: None }) => {
            let mut page = Vec::new();
            clap_mangen::Man::new(tree)
                .render(&mut page)
                .map_err(|error| Failure::usage(format!("making the manual page: {error}")))?;
            context.out.print(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(Exit::Ok)
}
