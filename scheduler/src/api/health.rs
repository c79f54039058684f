//! Whether the servers can be used.

use std::time::Duration;

use ringvault_core::api::{Readiness, ServerState, ServerStatus};
use ringvault_queue::SessionState;
use ringvault_state::read::status;
use ringvault_vault::{Vault, layout};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::Api;

/// How long the store's answer is believed: probes and pages ask often, and requests cost money.
const STORE_BELIEVED: Duration = Duration::from_secs(15);

/// How long a server may take to answer before it counts as down.
const PATIENCE: Duration = Duration::from_secs(5);

/// The store's last answer.
#[derive(Debug, Default)]
pub(super) struct StoreHealth {
    last: Mutex<Option<(Instant, ServerStatus)>>,
}

impl StoreHealth {
    async fn ask(&self, vault: &Vault) -> ServerStatus {
        let mut last = self.last.lock().await;
        if let Some((at, status)) = &*last
            && at.elapsed() < STORE_BELIEVED
        {
            return status.clone();
        }
        let status = match timeout(PATIENCE, vault.store().head(layout::VAULT)).await {
            Ok(Ok(_)) => keys(vault).await,
            Ok(Err(error)) => ServerStatus::down(error.to_string()),
            Err(_) => no_answer(),
        };
        *last = Some((Instant::now(), status.clone()));
        status
    }
}

/// Whether the keys of an encrypted vault still open it. Those that are held go on, so it is not down.
async fn keys(vault: &Vault) -> ServerStatus {
    match timeout(PATIENCE, vault.refresh_keys()).await {
        Ok(Ok(())) => ServerStatus::ok(),
        Ok(Err(error)) => ServerStatus { state: ServerState::Degraded, detail: Some(error.to_string()) },
        Err(_) => no_answer(),
    }
}

fn no_answer() -> ServerStatus {
    ServerStatus::down(format!("no answer within {} s", PATIENCE.as_secs()))
}

/// Asks all servers.
pub(super) async fn readiness(api: &Api) -> Readiness {
    let (postgres, store) = tokio::join!(postgres(api), api.store.ask(&api.ctx.vault));
    let rabbitmq = rabbitmq(&api.ctx.queue.state().borrow());
    let ready = [&postgres, &rabbitmq, &store].iter().all(|server| server.state != ServerState::Down);
    Readiness { ready, postgres, rabbitmq, store }
}

async fn postgres(api: &Api) -> ServerStatus {
    let look = async {
        let mut conn = api.ctx.db.acquire().await.map_err(ringvault_state::StateError::from)?;
        status::is_migrated(&mut conn).await
    };
    match timeout(PATIENCE, look).await {
        Ok(Ok(true)) => ServerStatus::ok(),
        Ok(Ok(false)) => ServerStatus::down("the schema is older than this version needs"),
        Ok(Err(error)) => ServerStatus::down(error.to_string()),
        Err(_) => no_answer(),
    }
}

fn rabbitmq(session: &SessionState) -> ServerStatus {
    let state = match session {
        SessionState::Connected { .. } => return ServerStatus::ok(),
        SessionState::Blocked { .. } => ServerState::Degraded,
        SessionState::Connecting { .. } | SessionState::Reconnecting { .. } | SessionState::Closed => {
            ServerState::Down
        }
    };
    ServerStatus { state, detail: Some(session.to_string()) }
}
