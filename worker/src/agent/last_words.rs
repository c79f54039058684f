//! What a worker says that cannot run: its node with the reason, as its last word.

use std::time::Duration;

use ringvault_queue::{
    Session,
    message::{Beat, NodeHello},
};
use tracing::warn;

use super::outbound::Outbound;
use crate::{config::WorkerConfig, identity::Identity, node::Node};

/// How long it tries: the reason stands in the log as well.
const PATIENCE: Duration = Duration::from_secs(15);

/// Announces the node with the reason `why` its worker does not run, so that it is seen where the fleet
/// is looked at and not only in this machine's log.
pub async fn last_words(
    session: &Session,
    identity: &Identity,
    node: &Node,
    config: &WorkerConfig,
    why: String,
) {
    let outbound = Outbound::new(session.clone(), identity);
    let speak = async {
        let hello = node.describe(config, identity.worker, identity.incarnation).await;
        // One message: of two, another scheduler might take the second first.
        let last = NodeHello { problem: Some(why), ends: true, ..hello };
        session.connected().await && outbound.beat(Beat::Hello(last)).await
    };
    if !tokio::time::timeout(PATIENCE, speak).await.unwrap_or(false) {
        warn!("schedulers could not be told why this worker does not run");
    }
}
