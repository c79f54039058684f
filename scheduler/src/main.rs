//! The scheduler's program: reads its configuration, opens what it needs, runs until it is told to
//! stop.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use ringvault_scheduler::{
    Config,
    probe::{self, Probe},
    startup,
};

/// Plans and drives backups, verifies, restores and purges of Cassandra clusters.
#[derive(Parser)]
#[command(name = "ringvault-scheduler", version)]
struct Arguments {
    /// The configuration file.
    #[arg(long, env = "RINGVAULT_SCHEDULER_CONFIG")]
    config: PathBuf,
    /// Its name, instead of the configuration's: where several share one file.
    #[arg(long, env = "RINGVAULT_SCHEDULER_ID")]
    id: Option<String>,
    /// Ask the scheduler that runs with this configuration how it is; end with 0 or 1
    #[arg(long, value_name = "WHAT")]
    probe: Option<Probe>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(what) = arguments.probe {
        return ask(&arguments, what).await;
    }
    let outcome = match Config::read_as(&arguments.config, arguments.id.clone()) {
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

async fn ask(arguments: &Arguments, what: Probe) -> ExitCode {
    let asked = match Config::read_as(&arguments.config, arguments.id.clone()) {
        Ok(config) => {
            let asked = probe::ask(config.listen, config.http.tls.as_ref(), what).await;
            asked.map_err(|unwell| unwell.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(1)
        }
    }
}
