//! `/metrics`: the metrics of the manual, by the names and labels it gives them.
//!
//! Nearly all of them are read from the database when asked for, so every scheduler says the same,
//! a restart resets no counter, and a scheduler that is away takes nothing with it. A page is kept
//! for a few seconds: several scrapers cost one reading. What a process counts for itself, its certificate
//! and its requests to the store, is its own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use ringvault_core::api::{ClusterStatus, NodeState, NodeView, PolicyView, RpoState};
use ringvault_metrics::{Kind, Page};
use ringvault_state::{
    PgConnection, StateResult,
    read::{
        measures::{self, Durations, Measure},
        nodes, policies,
    },
};
use tokio::{sync::Mutex, time::Instant};

use super::status;

/// How long a page is kept.
const FRESH: Duration = Duration::from_secs(5);

/// Upper bounds of the durations of backups, in seconds: a minute to two days.
pub(crate) const DURATION_BOUNDS: [f64; 10] =
    [60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 86_400.0, 172_800.0];

/// Every metric that [`measures::all`] brings: name, kind, meaning.
const MEASURED: [(&str, Kind, &str); 23] = [
    (
        "last_backup_success_timestamp_seconds",
        Kind::Gauge,
        "The instant that the newest backup which can be restored whole holds.",
    ),
    ("last_verify_success_timestamp_seconds", Kind::Gauge, "When a verify last found a backup whole."),
    ("backup_runs_total", Kind::Counter, "Backups that are over for good, by result."),
    ("backup_nodes", Kind::Gauge, "Nodes of the newest backup: held by it, and in all."),
    ("uploaded_bytes_total", Kind::Counter, "Bytes that backups brought to the vault."),
    (
        "reused_bytes_total",
        Kind::Counter,
        "Bytes that backups name and did not bring: held already, or saved by compression.",
    ),
    ("restore_runs_total", Kind::Counter, "Restores that are over for good, by result."),
    ("restored_bytes_total", Kind::Counter, "Bytes of SSTables that restores handed to Cassandra."),
    ("corrupt_objects", Kind::Gauge, "Damaged objects named by backups that are not expired."),
    ("repository_bytes", Kind::Gauge, "Bytes brought to the vault and not purged."),
    ("purged_bytes_total", Kind::Counter, "Bytes that purges deleted."),
    ("legal_holds", Kind::Gauge, "Holds set by hand."),
    ("jobs", Kind::Gauge, "Jobs by kind and state."),
    ("tasks", Kind::Gauge, "Tasks of jobs that are under way, by kind and state."),
    ("task_retries_total", Kind::Counter, "Placements of tasks after the first."),
    ("oldest_queued_task_seconds", Kind::Gauge, "How long the oldest task that may run waits."),
    ("outbox_pending", Kind::Gauge, "Messages that RabbitMQ has not confirmed."),
    ("outbox_oldest_seconds", Kind::Gauge, "Age of the oldest of them."),
    ("dead_messages_total", Kind::Counter, "Messages that could not be read, by reason."),
    ("notices_total", Kind::Counter, "Notices that were sent or given up, by how they are sent."),
    ("notices_pending", Kind::Gauge, "Notices that wait to be sent or to be tried again."),
    ("notices_oldest_seconds", Kind::Gauge, "Age of the oldest of them."),
    ("worker_last_heartbeat_timestamp_seconds", Kind::Gauge, "When a worker was last heard."),
];

/// What this process alone knows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Local {
    /// When the certificate that it shows ends.
    pub(super) certificate_ends: Option<DateTime<Utc>>,
}

/// The page, kept while it is fresh.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    kept: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Metrics {
    /// The page, read anew if the last one is old.
    pub(super) async fn page(
        &self,
        conn: &mut PgConnection,
        silent_after: TimeDelta,
        local: Local,
    ) -> StateResult<Arc<str>> {
        let mut kept = self.kept.lock().await;
        if let Some((at, page)) = &*kept
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(page));
        }
        let measured = measures::all(conn).await?;
        let durations = measures::backup_durations(conn, &DURATION_BOUNDS).await?;
        let policies = policies::list(conn, None, None, i64::MAX).await?;
        let fleet = status::fleet(conn, silent_after).await?;
        let nodes = nodes::list(conn, None, silent_after).await?;
        let mut text = write(&measured, &durations, &policies, local);
        text += &judged(&fleet, &nodes);
        let page: Arc<str> = text.into();
        *kept = Some((Instant::now(), Arc::clone(&page)));
        Ok(page)
    }
}

/// What is judged of the fleet, as [`status`] tells it, so that no alert judges otherwise.
fn judged(fleet: &[ClusterStatus], nodes: &[NodeView]) -> String {
    let mut page = Page::default();
    let help = "Whether the newest good backup is older than a policy allows, or there is none: 1 if it is.";
    page.metric("recovery_point_late", Kind::Gauge, help);
    for cluster in fleet.iter().filter(|cluster| cluster.rpo != RpoState::None) {
        let late = f64::from(u8::from(cluster.rpo == RpoState::Late));
        page.sample("recovery_point_late", &[("cluster", cluster.cluster.as_str())], late);
    }
    let help = "When a drill last proved that the cluster can be restored.";
    page.metric("last_drill_success_timestamp_seconds", Kind::Gauge, help);
    for cluster in fleet {
        if let Some(at) = cluster.last_drill_at {
            #[allow(clippy::cast_precision_loss)] // seconds of this era
            let at = at.timestamp() as f64;
            let labels = [("cluster", cluster.cluster.as_str())];
            page.sample("last_drill_success_timestamp_seconds", &labels, at);
        }
    }
    page.metric("nodes", Kind::Gauge, "Members of rings, and workers that wait for a node, by state.");
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for cluster in fleet {
        for state in NodeState::ALL {
            counts.insert((cluster.cluster.as_str(), state.as_str()), 0);
        }
    }
    for node in nodes {
        *counts.entry((node.cluster.as_str(), node.state.as_str())).or_default() += 1;
    }
    for ((cluster, state), count) in counts {
        page.sample("nodes", &[("cluster", cluster), ("state", state)], f64::from(count));
    }
    page.finish()
}

fn write(measured: &[Measure], durations: &[Durations], policies: &[PolicyView], local: Local) -> String {
    let mut page = Page::default();
    let help = "When the certificate ends that this scheduler serves its API with.";
    page.metric("certificate_expiry_timestamp_seconds", Kind::Gauge, help);
    if let Some(ends) = local.certificate_ends {
        #[allow(clippy::cast_precision_loss)] // seconds of this era
        page.sample("certificate_expiry_timestamp_seconds", &[], ends.timestamp() as f64);
    }
    page.metric("build_info", Kind::Gauge, "The version, and what it is of; always 1.");
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("kind", "scheduler")];
    page.sample("build_info", &labels, 1.0);
    ringvault_metrics::traces(&mut page, ringvault_telemetry::lost_spans(), &[]);
    for (name, kind, help) in MEASURED {
        page.metric(name, kind, help);
        for measure in measured.iter().filter(|measure| measure.name == name) {
            let labels = [
                ("cluster", measure.cluster.as_str()),
                ("policy", measure.policy.as_str()),
                ("node", measure.node.as_str()),
                ("result", measure.result.as_str()),
                ("state", measure.state.as_str()),
                ("kind", measure.kind.as_str()),
            ];
            page.sample(name, &labels, measure.value);
        }
    }
    page.metric("rpo_target_seconds", Kind::Gauge, "The longest time without a good backup, by policy.");
    for view in policies {
        if let Some(rpo) = view.policy.rpo {
            let labels = [("cluster", view.policy.cluster.as_str()), ("policy", view.name.as_str())];
            page.sample("rpo_target_seconds", &labels, rpo.as_secs_f64());
        }
    }
    page.metric("backup_duration_seconds", Kind::Histogram, "Seconds that backups took.");
    for took in durations {
        let labels = [("cluster", took.cluster.as_str()), ("policy", took.policy.as_str())];
        #[allow(clippy::cast_precision_loss)] // counts of backups
        let counts: Vec<f64> = took.within.iter().map(|count| *count as f64).collect();
        #[allow(clippy::cast_precision_loss)]
        let total = (took.count as f64, took.sum);
        page.histogram("backup_duration_seconds", &labels, &DURATION_BOUNDS, &counts, total);
    }
    page.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(name: &str) -> Measure {
        Measure {
            name: name.to_owned(),
            cluster: "orders".to_owned(),
            state: "running".to_owned(),
            value: 2.0,
            ..Measure::default()
        }
    }

    #[test]
    fn labels_are_those_of_the_manual_and_no_others() {
        let durations = [Durations {
            cluster: "orders".to_owned(),
            policy: "nightly".to_owned(),
            count: 1,
            sum: 70.0,
            within: DURATION_BOUNDS.iter().map(|bound| i64::from(*bound >= 70.0)).collect(),
        }];
        let page = write(&[measure("jobs")], &durations, &[], Local::default());
        assert!(page.contains("ringvault_jobs{cluster=\"orders\",state=\"running\"} 2\n"), "{page}");
        assert!(page.contains(
            "ringvault_backup_duration_seconds_bucket{cluster=\"orders\",policy=\"nightly\",le=\"300\"} 1\n"
        ));
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest);
            for label in labels.split("\",").filter_map(|part| part.split_once("=\"")) {
                let allowed = ["cluster", "policy", "node", "result", "state", "kind", "le", "version"];
                assert!(allowed.contains(&label.0), "{line}");
            }
        }
    }

    #[test]
    fn every_metric_is_declared_once_even_without_samples() {
        let page = write(&[], &[], &[], Local::default());
        let mut names: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split_once(' '))
            .collect();
        let declared = names.len();
        names.sort_unstable();
        names.dedup_by_key(|(name, _)| *name);
        assert_eq!(names.len(), declared);
        assert_eq!(declared, MEASURED.len() + 5);
        for (name, kind) in names {
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        }
    }
}
