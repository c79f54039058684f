//! Random faults on a lab under load: see `dev/chaos --help`.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use ringvault_tests::{Lab, chaos};

/// Random faults on a lab under load, checking the invariants. The last line is one JSON document.
#[derive(Debug, Parser)]
#[command(name = "dev/chaos")]
struct Arguments {
    /// The same seed gives the same faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long faults come.
    #[arg(long, default_value_t = 20)]
    minutes: u64,
    /// Nodes of the cluster that is backed up; the one that restores go to has one.
    #[arg(long, default_value_t = 2)]
    nodes: usize,
    /// Print the faults and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let length = Duration::from_secs(arguments.minutes * 60);
    if arguments.dry_run {
        for planned in chaos::plan(arguments.seed, length) {
            let (at, lasts) = (planned.at.as_secs(), planned.lasts.as_secs());
            println!("{at:>5}s {} for {lasts}s", planned.fault.as_str());
        }
        return ExitCode::SUCCESS;
    }
    match chaos::run(&Lab::from_env(), arguments.seed, length, arguments.nodes).await {
        Ok(outcome) => {
            for violation in &outcome.violations {
                eprintln!("[chaos] VIOLATION {violation}");
            }
            println!("{}", serde_json::to_string(&outcome).unwrap_or_default());
            ExitCode::from(u8::from(!outcome.violations.is_empty()))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(9)
        }
    }
}
