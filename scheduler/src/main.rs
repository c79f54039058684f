//! The scheduler's program: reads its configuration, opens what it needs, runs until it is told to
//! stop.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use ringvault_scheduler::{Config, startup, telemetry};

/// Plans and drives backups, verifies, restores and purges of Cassandra clusters.
#[derive(Parser)]
#[command(name = "ringvault-scheduler", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, env = "RINGVAULT_SCHEDULER_CONFIG")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::init();
    let outcome = match Config::read(&arguments.config) {
        Ok(config) => startup::run(config).await,
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let next = error.next().map(|next| format!(". Next: {next}")).unwrap_or_default();
            eprintln!("error[{}]: {error}{next}", error.code());
            ExitCode::from(error.exit_code())
        }
    }
}
