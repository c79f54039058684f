//! The worker's page, by name.
//!
//! What the scheduler tells under a name is not told here under the same one: it sums what workers report
//! (`uploaded_bytes_total`, `restored_bytes_total`, `tasks`), and with both in one Prometheus a sum over
//! them would count twice. What is of the worker alone begins with `worker_`, and every sample has the
//! cluster; which worker it was is Prometheus's own label `instance`.

use ringvault_metrics::{Kind, Page};
use ringvault_vault::StoreRequests;

use super::{KindFigures, Measures, RunResult};

/// What stands on the page beside the counters.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The worker's cluster.
    pub cluster: &'a str,
    /// Its node's address as the scheduler's metrics have it; empty while it is not known.
    pub node: &'a str,
    /// Tasks that it takes at once.
    pub slots: u32,
    /// Whether it hears the broker.
    pub is_connected: bool,
}

/// The page at this instant.
pub fn write(of: Surroundings<'_>, measures: &Measures, requests: &StoreRequests) -> String {
    let mut page = Page::default();
    let cluster = [("cluster", of.cluster)];
    page.metric("build_info", Kind::Gauge, "The version, and what it is of; always 1.");
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("kind", "worker"), ("node", of.node)];
    page.sample("build_info", &[&cluster[..], &labels].concat(), 1.0);
    page.metric("worker_connected", Kind::Gauge, "Whether the worker hears the broker: 1 if it does.");
    page.sample("worker_connected", &cluster, f64::from(u8::from(of.is_connected)));
    page.metric("worker_slots", Kind::Gauge, "Tasks that the worker takes at once.");
    page.sample("worker_slots", &cluster, f64::from(of.slots));
    ringvault_metrics::traces(&mut page, ringvault_telemetry::lost_spans(), &cluster);

    let by_kind = measures.by_kind();
    let mut each = |name, kind, help, value: fn(&KindFigures) -> f64| {
        page.metric(name, kind, help);
        for (of, figures) in &by_kind {
            page.sample(name, &[cluster[0], ("kind", *of)], value(figures));
        }
    };
    let help = "Tasks that run beside this node, by kind.";
    each("worker_tasks_running", Kind::Gauge, help, |figures| number(figures.running));
    let help = "Bytes sent to the store and fetched from it by tasks, by their kind.";
    each("worker_moved_bytes_total", Kind::Counter, help, |figures| number(figures.bytes_moved));
    let help = "Seconds in which a rate limit held a task's bytes back, by its kind.";
    each("throttled_seconds_total", Kind::Counter, help, |figures| figures.held_back.as_secs_f64());
    let help = "Seconds in which a limit of requests to the store held a task back, by its kind.";
    each("throttled_requests_seconds_total", Kind::Counter, help, |figures| {
        figures.requests_held_back.as_secs_f64()
    });

    page.metric("worker_tasks_total", Kind::Counter, "Runs of tasks that are over, by kind and result.");
    for (of, figures) in &by_kind {
        for (result, count) in RunResult::ALL.iter().zip(figures.ended) {
            let labels = [cluster[0], ("kind", *of), ("result", result.as_str())];
            page.sample("worker_tasks_total", &labels, number(count));
        }
    }
    ringvault_metrics::store(&mut page, requests, &cluster);
    page.finish()
}

#[allow(clippy::cast_precision_loss)] // counts, and bytes up to nine petabytes
const fn number(count: u64) -> f64 {
    count as f64
}
