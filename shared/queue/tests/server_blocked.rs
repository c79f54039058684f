//! A broker that is short of memory. In a test binary of its own: it concerns the whole broker.

mod support;

use ringvault_queue::{Publish, Role, SessionState};
use support::{Broker, a_report, a_worker, rabbitmqctl, until, within};

/// Sets the broker's limit back, whatever happens.
struct MemoryLimit(String);

impl MemoryLimit {
    fn lower() -> Self {
        let before = rabbitmqctl(&["eval", "vm_memory_monitor:get_vm_memory_high_watermark()."]);
        let limit = Self(before.trim().to_owned());
        rabbitmqctl(&["set_vm_memory_high_watermark", "0.000001"]);
        limit
    }
}

impl Drop for MemoryLimit {
    fn drop(&mut self) {
        rabbitmqctl(&["set_vm_memory_high_watermark", &self.0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_short_of_memory_is_shown_and_what_waits_gets_through() {
    let broker = Broker::new();
    let session = broker.connect(Role::Scheduler).await;
    let limit = tokio::task::spawn_blocking(MemoryLimit::lower).await.expect("rabbitmqctl");
    let message = Publish::report(&a_report(a_worker())).expect("a small message");
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.publish(&message).await }
    });
    let blocked = |state: &SessionState| matches!(state, SessionState::Blocked { .. });
    let state = until(&session, "the alarm to be seen", blocked).await;
    assert!(state.to_string().contains("memory"), "{state}");
    assert!(!waiting.is_finished());
    tokio::task::spawn_blocking(move || drop(limit)).await.expect("rabbitmqctl");
    within("the confirm", waiting).await.expect("no panic").expect("published after all");
    until(&session, "the alarm's end", SessionState::is_connected).await;
    session.close().await;
}
