//! What a service manager does: schedulers and workers that have died are started again.

use std::{
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinHandle;

use crate::{Lab, lab::Status};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Watches a lab until it is dropped.
#[derive(Debug)]
pub struct Supervisor {
    task: JoinHandle<()>,
    restarts: Arc<AtomicU32>,
    failure: Arc<Mutex<Option<String>>>,
}

/// A program of the lab, by the words that `dev/lab` starts it with.
struct Program {
    start: Vec<String>,
    pid: Option<u32>,
}

impl Supervisor {
    /// Begins to watch.
    pub fn over(lab: &Lab) -> Self {
        let restarts = Arc::new(AtomicU32::new(0));
        let failure = Arc::new(Mutex::new(None));
        let task = tokio::spawn(watch(lab.clone(), Arc::clone(&restarts), Arc::clone(&failure)));
        Self { task, restarts, failure }
    }

    /// How many programs were started again.
    pub fn restarts(&self) -> u32 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Why a program could not be started the last time that was so.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(lab: Lab, restarts: Arc<AtomicU32>, failure: Arc<Mutex<Option<String>>>) {
    let mut programs = Vec::new();
    loop {
        if programs.is_empty() {
            match lab.status().await {
                Ok(status) => programs = programs_of(&status),
                Err(error) => {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                }
            }
        }
        let mut restarted = false;
        for program in programs.iter().filter(|program| !program.pid.is_some_and(is_alive)) {
            let words: Vec<&str> = program.start.iter().map(String::as_str).collect();
            match lab.run(&words).await {
                Ok(_) => restarts.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                    0
                }
            };
            restarted = true;
        }
        if restarted {
            programs.clear();
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn programs_of(status: &Status) -> Vec<Program> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let mut programs = Vec::new();
    for scheduler in &status.services.schedulers {
        let index = scheduler.index.to_string();
        programs
            .push(Program { start: words(&["start-scheduler", &index, "--no-wait"]), pid: scheduler.pid });
    }
    for (cluster, nodes) in &status.clusters {
        for node in &nodes.nodes {
            let Some(worker) = &node.worker else { continue };
            let start = words(&["start-worker", &node.index.to_string(), "--cluster", cluster, "--no-wait"]);
            programs.push(Program { start, pid: worker.pid });
        }
    }
    programs
}

/// Whether the process lives; one that nobody has waited for yet does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}
