//! A whole scheduler at work over the database and a broker of its own.

use std::sync::Arc;

use ringvault_core::{JobId, job::JobState};
use ringvault_scheduler::startup;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{
    Lab,
    broker::{Broker, until},
};

pub struct Running {
    pub lab: Lab,
    pub broker: Broker,
    /// Stops the scheduler, and whatever a test lets end with it.
    pub stop: CancellationToken,
    work: tokio::task::JoinHandle<()>,
}

impl Running {
    /// With these settings, as [`Lab::with`] takes them.
    pub async fn start(db: PgPool, settings: &str) -> Self {
        let broker = Broker::new();
        let lab = Lab::with(db, "sched-1", &broker.config(), settings).await;
        assert!(lab.ctx.queue.connected().await);
        let stop = CancellationToken::new();
        let work = tokio::spawn({
            let (ctx, stop) = (Arc::clone(&lab.ctx), stop.clone());
            async move { startup::work(&ctx, &stop).await }
        });
        Self { lab, broker, stop, work }
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.work.await.expect("the scheduler stops in good order");
        self.lab.ctx.queue.close().await;
    }

    pub async fn comes_to(&self, job: JobId, state: JobState) {
        until(&format!("job {job} to be {}", state.as_str()), async || {
            (self.lab.state(job).await == state).then_some(())
        })
        .await;
    }
}
