//! From a configuration to a running scheduler, and down again in good order.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use ringvault_queue::{KeyRing, Problem, Role, Session, sign::KeyFileError};
use ringvault_state::OpenError;
use ringvault_telemetry::{LogFormat, Program, TelemetryProblem};
use ringvault_vault::{StoreErrorKind, Vault, VaultError};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Config, Context, Wake,
    api::{Server, ServerError},
    config::{ConfigError, NotifyProblem},
    dead, dispatch,
    hearing::Hearing,
    heartbeats, housekeeping, intake, notify, policies, reaper, relay, reports,
    traces::{self, Settled},
};

/// How long a broker may take to answer when the scheduler starts.
const QUEUE_PATIENCE: Duration = Duration::from_secs(15);

/// Why the scheduler did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A receiver of notices.
    #[error(transparent)]
    Notify(#[from] NotifyProblem),
    /// Where traces go.
    #[error(transparent)]
    Telemetry(#[from] TelemetryProblem),
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] OpenError),
    /// RabbitMQ's section of the configuration.
    #[error(transparent)]
    QueueConfig(#[from] ringvault_queue::ConfigError),
    /// RabbitMQ.
    #[error("rabbitmq: {0}")]
    Queue(Problem),
    /// RabbitMQ, without a word.
    #[error("rabbitmq does not answer: {0}")]
    QueueSilent(String),
    /// The vault.
    #[error("vault {url}: {cause}")]
    Vault {
        /// Where it should be.
        url: String,
        /// Why it cannot be used.
        cause: VaultError,
    },
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The HTTP API.
    #[error(transparent)]
    Api(#[from] ServerError),
}

impl StartupError {
    /// Stable code.
    pub fn code(&self) -> String {
        let code = match self {
            Self::Vault { cause: VaultError::NotInitialised { .. }, .. } => "RV-VAULT-NONE",
            Self::Vault { cause, .. } => return cause.to_task_error().code,
            Self::Config(_) | Self::QueueConfig(_) | Self::Notify(_) | Self::Telemetry(_) => "RV-CONFIG",
            Self::Postgres(error) => match error {
                OpenError::NotOne { .. }
                | OpenError::FileUnreadable { .. }
                | OpenError::BadUrl
                | OpenError::Tls(_) => "RV-CONFIG",
                OpenError::Untrusted { .. } => "RV-POSTGRES-TLS",
                OpenError::AccessRefused { .. } => "RV-POSTGRES-AUTH",
                OpenError::Unreachable { .. } => "RV-POSTGRES-UNREACHABLE",
                OpenError::Migrate { .. } => "RV-POSTGRES-MIGRATE",
            },
            Self::Queue(Problem::AccessRefused { .. }) => "RV-RABBITMQ-AUTH",
            Self::Queue(Problem::Untrusted { .. }) => "RV-RABBITMQ-TLS",
            Self::Queue(_) | Self::QueueSilent(_) => "RV-RABBITMQ-UNREACHABLE",
            Self::Key(_) => "RV-SIGNING-KEY",
            Self::Api(ServerError::AdminToken { .. } | ServerError::OpenId(_) | ServerError::Tls(_)) => {
                "RV-CONFIG"
            }
            Self::Api(_) => "RV-API",
        };
        code.to_owned()
    }

    /// What the reader can do: a command, where one helps.
    pub fn next(&self) -> Option<String> {
        match self {
            Self::Vault { cause: VaultError::NotInitialised { .. }, .. } => {
                Some("ringvault vault init --config <this configuration>".to_owned())
            }
            Self::Vault { cause, .. } => cause.to_task_error().next,
            _ => None,
        }
    }

    /// 2: the configuration; 8: not authorised; 9: a dependency cannot be reached.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::QueueConfig(_) | Self::Key(_) | Self::Notify(_) | Self::Telemetry(_) => 2,
            Self::Postgres(error) => match error {
                OpenError::NotOne { .. }
                | OpenError::FileUnreadable { .. }
                | OpenError::BadUrl
                | OpenError::Tls(_) => 2,
                OpenError::AccessRefused { .. } => 8,
                OpenError::Unreachable { .. } | OpenError::Untrusted { .. } => 9,
                OpenError::Migrate { .. } => 1,
            },
            Self::Queue(Problem::AccessRefused { .. }) => 8,
            Self::Queue(_) | Self::QueueSilent(_) => 9,
            Self::Vault { cause, .. } => {
                let denied = [StoreErrorKind::AccessDenied, StoreErrorKind::InvalidCredentials];
                match cause {
                    VaultError::KeyMissing { .. } | VaultError::WrongKey { .. } => 8,
                    VaultError::NotEncrypted { .. } | VaultError::Config(_) => 2,
                    _ if denied.iter().any(|kind| cause.is_store(*kind)) => 8,
                    _ => 9,
                }
            }
            Self::Api(ServerError::AdminToken { .. } | ServerError::OpenId(_) | ServerError::Tls(_)) => 2,
            Self::Api(_) => 1,
        }
    }
}

impl Context {
    /// Opens everything that a scheduler needs.
    pub async fn open(config: Config) -> Result<Self, StartupError> {
        let keys = KeyRing::from_file(&config.signing.key_file)?;
        notify::check(&config)?;
        let db = ringvault_state::open(&config.postgres).await?;
        let refused = |cause| StartupError::Vault { url: config.vault.url.to_string(), cause };
        let vault = Vault::open(&config.vault).await.map_err(refused)?;
        vault.check_owner().await.map_err(refused)?;
        let name = format!("ringvault-scheduler {}", config.id);
        let queue = Session::start(&config.rabbitmq, Role::Scheduler, name)?;
        wait_for_queue(&queue).await?;
        Ok(Self {
            config,
            incarnation: Uuid::now_v7(),
            db,
            queue,
            vault,
            keys,
            hearing: Hearing::default(),
            wake: Wake::default(),
            settled: Settled::default(),
        })
    }
}

async fn wait_for_queue(queue: &Session) -> Result<(), StartupError> {
    let mut state = queue.state();
    let decided = state.wait_for(|state| {
        state.is_connected()
            || matches!(
                state.problem(),
                Some(Problem::AccessRefused { .. } | Problem::Mismatch { .. } | Problem::Untrusted { .. })
            )
    });
    if let Ok(Ok(decided)) = tokio::time::timeout(QUEUE_PATIENCE, decided).await
        && decided.is_connected()
    {
        return Ok(());
    }
    let last = queue.state().borrow().clone();
    queue.close().await;
    Err(match last.problem() {
        Some(problem) => StartupError::Queue(problem.clone()),
        None => StartupError::QueueSilent(last.to_string()),
    })
}

/// The broker's library tells each lost connection several times over, and the session tells it
/// once; Postgres notes each migration that has nothing to do.
const LOG_FILTER: &str = "info,lapin=off,sqlx::postgres::notice=warn";

/// Runs a scheduler until it is told to stop (SIGTERM, Ctrl-C), and tells of it: as text on a terminal, as JSON
/// elsewhere.
pub async fn run(config: Config) -> Result<(), StartupError> {
    let json = !std::io::stderr().is_terminal();
    let logs = LogFormat { filter: LOG_FILTER, json, flat: false, target: true };
    let program = Program {
        name: "ringvault-scheduler",
        version: env!("CARGO_PKG_VERSION"),
        instance: config.id.clone(),
    };
    let telemetry = ringvault_telemetry::start(&program, config.telemetry.as_ref(), logs)?;
    let outcome = Box::pin(run_told(config)).await;
    telemetry.finish().await;
    outcome
}

async fn run_told(config: Config) -> Result<(), StartupError> {
    let ctx = Arc::new(Context::open(config).await?);
    let server = Server::bind(Arc::clone(&ctx)).await?;
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    tokio::spawn(async move {
        told_to_stop().await;
        tracing::info!("stopping");
        on_signal.cancel();
    });
    let address = server.address();
    tracing::info!(id = ctx.config.id, %address, version = env!("CARGO_PKG_VERSION"), "scheduler ready");
    let outcome = Box::pin(serve(&ctx, server, &stop)).await;
    traces::pass(&ctx).await;
    ctx.queue.close().await;
    ctx.db.close().await;
    tracing::info!("stopped");
    outcome
}

/// Runs every loop and the API until `stop`, and waits for what each has in hand.
async fn serve(ctx: &Arc<Context>, server: Server, stop: &CancellationToken) -> Result<(), StartupError> {
    let api = async {
        let ended = server.run(stop.clone()).await;
        // Without its API a scheduler cannot be seen or told anything.
        stop.cancel();
        ended
    };
    let (ended, ()) = tokio::join!(api, work(ctx, stop));
    Ok(ended?)
}

/// Runs every loop until `stop`, and waits for what each has in hand. Each is a task of its own, so
/// that none stands still while another computes.
pub async fn work(ctx: &Arc<Context>, stop: &CancellationToken) {
    let mut loops = JoinSet::new();
    macro_rules! start {
        ($($part:ident),*) => {$({
            let (ctx, stop) = (Arc::clone(ctx), stop.clone());
            loops.spawn(async move { $part::run(&ctx, &stop).await });
        })*};
    }
    start!(
        intake,
        reports,
        heartbeats,
        dead,
        dispatch,
        relay,
        reaper,
        policies,
        housekeeping,
        notify,
        traces
    );
    while let Some(ended) = loops.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            // A scheduler without one of its parts must not look alive.
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be listened for");
            let _ = interrupted.await;
        }
    }
}
