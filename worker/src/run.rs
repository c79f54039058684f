//! From configuration to a running worker, and out again.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use ringvault_queue::{KeyRing, Problem, Role, Session, SessionState, topology::worker_queue};
use ringvault_telemetry::{LogFormat, Program};
use ringvault_vault::{Vault, throttle::Throttle};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    agent::{Agent, last_words},
    config::{ConfigProblem, WorkerConfig},
    executor::Executor,
    health::Sign,
    identity::{Identity, IdentityError},
    metrics::{ListenError, Listener},
    node::Node,
};

/// Messages taken from the broker and not yet acknowledged: offers wait for their answer's confirm.
const PREFETCH: u16 = 32;

/// What is logged where `RUST_LOG` does not say it: lost connections are told by the session, once.
const LOG_FILTER: &str = "info,lapin=off,aws=warn,scylla=error";

/// How long the broker may take to say goodbye.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// Why the worker cannot run. Shown as one `error[CODE]: …` line.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigProblem),
    /// The state folder.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A file, address or right that the configuration names.
    #[error("error[{code}]: {what}{}", next.as_ref().map(|next| format!(". Next: {next}")).unwrap_or_default())]
    Setup {
        /// Stable code.
        code: String,
        /// What and why.
        what: String,
        /// What to do about it.
        next: Option<String>,
        /// Exit code.
        exit: u8,
    },
}

impl From<ListenError> for Fatal {
    fn from(error: ListenError) -> Self {
        Self::Setup {
            code: "RV-LISTEN".to_owned(),
            what: error.to_string(),
            next: None,
            exit: error.exit_code(),
        }
    }
}

impl Fatal {
    pub(crate) fn setup(code: &str, what: impl ToString) -> Self {
        Self::Setup { code: code.to_owned(), what: what.to_string(), next: None, exit: 2 }
    }

    /// What others are told: in the same words at every node, so without the store's id of the request.
    fn reason(&self) -> String {
        let Self::Setup { code, what, .. } = self else { return self.to_string() };
        let (before, request) = what.split_once(" (request ").unwrap_or((what, ""));
        let behind = request.split_once(')').map_or("", |(_, behind)| behind);
        format!("{before}{behind} ({code})")
    }

    /// As the command line's contract has it: 2 usage, 6 conflict, 8 not authorised, 9 unreachable.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::Identity(IdentityError::Taken { .. }) => 6,
            Self::Identity(_) => 1,
            Self::Setup { exit, .. } => *exit,
        }
    }
}

/// Runs until SIGTERM or SIGINT, and tells of it: as text, or as JSON lines if `log_json`.
pub async fn run(config: WorkerConfig, log_json: bool) -> Result<(), Fatal> {
    let identity = Identity::claim(&config.state_dir)?;
    let logs = LogFormat { filter: LOG_FILTER, json: log_json, flat: true, target: false };
    let program = Program {
        name: "ringvault-worker",
        version: env!("CARGO_PKG_VERSION"),
        instance: identity.worker.to_string(),
    };
    let telemetry = ringvault_telemetry::start(&program, config.telemetry.as_ref(), logs)
        .map_err(|error| Fatal::setup("RV-CONFIG", error))?;
    let outcome = Box::pin(run_told(config, identity)).await;
    telemetry.finish().await;
    outcome
}

async fn run_told(config: WorkerConfig, identity: Identity) -> Result<(), Fatal> {
    let listener = match config.metrics {
        Some(metrics) => Some(Listener::bind(metrics.listen).await?),
        None => None,
    };
    let keys =
        KeyRing::from_file(&config.signing.key_file).map_err(|error| Fatal::setup("RV-CONFIG", error))?;
    let node = Node::new(&config.cassandra, &config.state_dir)?;
    let name = format!("ringvault-worker {} {}", config.cluster, identity.worker);
    let session = Session::start(&config.rabbitmq, Role::Worker(identity.worker), name)
        .map_err(|error| Fatal::setup("RV-CONFIG", error))?;
    let vault = match open_vault(&config).await {
        Ok(vault) => vault,
        Err(fatal) => {
            last_words(&session, &identity, &node, &config, fatal.reason()).await;
            close(&session).await;
            return Err(fatal);
        }
    };
    let shutdown = shutdown_on_signal()?;
    let inbox = session.consume(worker_queue(identity.worker), PREFETCH);
    let _sign = Sign::keep(&config.state_dir, session.state());
    let cluster = config.cluster.clone();
    let executor = Arc::new(Executor::new(config, node, vault));
    // Before there is a broker: that it is away is what is asked then.
    let _answering = listener.map(|listener| listener.answer(Arc::clone(&executor), session.state()));
    wait_for_broker(&session, &shutdown).await?;
    info!(worker = %identity.worker, %cluster, "worker ready");
    Agent::run(session.clone(), &identity, keys, executor, inbox, shutdown).await;
    // Everything that matters is confirmed.
    close(&session).await;
    info!("worker stopped");
    Ok(())
}

/// A broker that is away holds up no exit.
async fn close(session: &Session) {
    let _ = tokio::time::timeout(CLOSE_PATIENCE, session.close()).await;
}

async fn open_vault(config: &WorkerConfig) -> Result<Vault, Fatal> {
    let scratch = config.scratch_dir();
    std::fs::create_dir_all(&scratch)
        .map_err(|error| Fatal::setup("RV-CONFIG", format!("state folder {}: {error}", scratch.display())))?;
    let opened = async {
        let limit = Throttle::new(config.worker.request_limit.map(NonZeroU64::get));
        let vault = Vault::open_within(&config.vault, &limit).await?;
        vault.check_owner().await?;
        Ok::<_, ringvault_vault::VaultError>(vault)
    };
    let vault = opened.await.map_err(|error| {
        let task = error.to_task_error();
        let exit = match task.code.as_str() {
            // 401: keys that the store does not know or accept; 403: keys without the right.
            code if code.ends_with("401") || code.ends_with("403") || code.starts_with("RV-KEY") => 8,
            "RV-VAULT-PLAIN" | "RV-VAULT-CONFIG" => 2,
            _ => 9,
        };
        let what = format!("vault {}: {}", config.vault.url, task.message);
        Fatal::Setup { code: task.code, what, next: task.next, exit }
    })?;
    Ok(vault.with_scratch(&scratch))
}

/// Waits for the first connection. What no waiting mends ends the worker with its reason.
async fn wait_for_broker(session: &Session, shutdown: &CancellationToken) -> Result<(), Fatal> {
    let mut state = session.state();
    let patience = tokio::time::sleep(ringvault_queue::session::LOCK_PATIENCE);
    tokio::pin!(patience);
    loop {
        let now = state.borrow_and_update().clone();
        match &now {
            SessionState::Connected { .. } | SessionState::Closed => return Ok(()),
            SessionState::Reconnecting { because: problem @ Problem::AccessRefused { .. }, .. } => {
                return Err(Fatal::Setup {
                    code: "RV-QUEUE-403".to_owned(),
                    what: problem.to_string(),
                    next: None,
                    exit: 8,
                });
            }
            SessionState::Reconnecting { because: problem @ Problem::Untrusted { .. }, .. } => {
                return Err(Fatal::Setup {
                    code: "RV-QUEUE-TLS".to_owned(),
                    what: problem.to_string(),
                    next: None,
                    exit: 9,
                });
            }
            other => warn!("the broker is not reached yet: {other}"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = state.changed() => if changed.is_err() { return Ok(()) },
            () = &mut patience => {
                if let SessionState::Reconnecting { because: problem @ Problem::LockedByOther { .. }, .. } = &now {
                    return Err(Fatal::Setup {
                        code: "RV-WORKER-TWICE".to_owned(),
                        what: format!("{problem}. One worker runs beside a node"),
                        next: None,
                        exit: 6,
                    });
                }
                patience.as_mut().reset(tokio::time::Instant::now() + Duration::from_secs(15));
            }
        }
    }
}

fn shutdown_on_signal() -> Result<CancellationToken, Fatal> {
    let failed = |error: std::io::Error| Fatal::setup("RV-INTERNAL", format!("signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: running tasks are handed back");
        shutdown.cancel();
    });
    Ok(token)
}
