//! The worker beside a Cassandra node: takes tasks from RabbitMQ and executes them.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use ringvault_worker::{
    config::WorkerConfig,
    health::{self, Probe},
    run,
};

/// How long blocking work may hold up the end of the process.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// Ringvault's worker: runs beside one Cassandra node and backs it up and restores it.
#[derive(Debug, Parser)]
#[command(name = "ringvault-worker", version)]
struct Arguments {
    /// Configuration file (TOML).
    #[arg(long, env = "RINGVAULT_WORKER_CONFIG")]
    config: PathBuf,
    /// Log as JSON lines.
    #[arg(long, env = "RINGVAULT_LOG_JSON")]
    log_json: bool,
    /// Ask the worker that runs with this configuration how it is; end with 0 or 1
    #[arg(long, value_name = "WHAT")]
    probe: Option<Probe>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(what) = arguments.probe {
        return probe(&arguments.config, what);
    }
    // Executors run on blocking threads, with the deep futures of uploads and CQL on their stacks.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(8 << 20).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error[RV-INTERNAL]: the runtime could not start: {error}");
            return ExitCode::from(1);
        }
    };
    let outcome = WorkerConfig::from_file(&arguments.config)
        .map_err(run::Fatal::from)
        .and_then(|config| runtime.block_on(run::run(config, arguments.log_json)));
    // What is still on a thread (a folder's walk, a node that does not answer) holds up no exit.
    runtime.shutdown_timeout(EXIT_PATIENCE);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            eprintln!("{fatal}");
            ExitCode::from(fatal.exit_code())
        }
    }
}

fn probe(config: &Path, what: Probe) -> ExitCode {
    let asked = match WorkerConfig::from_file(config) {
        Ok(config) => health::ask(&config.state_dir, what).map_err(|unwell| unwell.to_string()),
        Err(problem) => Err(problem.to_string()),
    };
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::from(1)
        }
    }
}
