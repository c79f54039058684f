//! `ringvault`: the command line of Ringvault, a client of the scheduler's HTTP API. Commands that
//! must work with everything else gone (`vault`, `key`, `catalog`) go to the vault itself.
//!
//! stdout is data, stderr is progress and errors; [`exit::Exit`] has the exit codes.

mod args;
mod ask;
mod client;
mod command;
mod config;
mod context;
mod exit;
mod failure;
mod output;
mod watch;

use std::process::ExitCode;

use chrono_tz::Tz;
use clap::Parser as _;

use crate::{
    args::{Cli, refused},
    config::Settings,
    context::Context,
    output::{Output, Style},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and the version, asked for.
        Err(answer) if !answer.use_stderr() => answer.exit(),
        Err(error) => return refused::refuse(&error),
    };
    let style = Style::detect(cli.global.no_color);
    let settings = match Settings::load(&cli.global) {
        Ok(settings) => settings,
        Err(failure) => {
            Output::new(cli.global.json, style, Tz::UTC).failure(&failure, cli.global.debug);
            return failure.exit.into();
        }
    };
    let context = Context::new(&cli.global, settings, style);
    match command::run(&context, cli.command).await {
        Ok(exit) => exit.into(),
        Err(failure) => {
            context.out.failure(&failure, cli.global.debug);
            failure.exit.into()
        }
    }
}
