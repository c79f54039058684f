//! `/metrics`: the metrics of the manual, by the names and labels it gives them.
//!
//! Nearly all of them are read from the database when asked for, so every scheduler says the same,
//! a restart resets no counter, and a scheduler that is away takes nothing with it. A page is kept
//! for a few seconds: several scrapers cost one reading.

mod text;

use std::{sync::Arc, time::Duration};

use ringvault_core::api::PolicyView;
use ringvault_state::{
    PgConnection, StateResult,
    read::{
        measures::{self, Durations, Measure},
        policies,
    },
};
use tokio::{sync::Mutex, time::Instant};

use text::{Kind, Page};

/// How long a page is kept.
const FRESH: Duration = Duration::from_secs(5);

/// Upper bounds of the durations of backups, in seconds: a minute to two days.
pub(crate) const DURATION_BOUNDS: [f64; 10] =
    [60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 28_800.0, 86_400.0, 172_800.0];

/// Every metric that [`measures::all`] brings: name, kind, meaning.
const MEASURED: [(&str, Kind, &str); 20] = [
    (
        "last_backup_success_timestamp_seconds",
        Kind::Gauge,
        "The instant that the newest backup which can be restored whole holds.",
    ),
    ("last_verify_success_timestamp_seconds", Kind::Gauge, "When a verify last found a backup whole."),
    ("backup_runs_total", Kind::Counter, "Backups that are over for good, by result."),
    ("backup_nodes", Kind::Gauge, "Nodes of the newest backup: held by it, and in all."),
    ("uploaded_bytes_total", Kind::Counter, "Bytes that backups brought to the vault."),
    ("reused_bytes_total", Kind::Counter, "Bytes that backups name and the vault held already."),
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
    ("worker_last_heartbeat_timestamp_seconds", Kind::Gauge, "When a worker was last heard."),
];

/// The page, kept while it is fresh.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    kept: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Metrics {
    /// The page, read anew if the last one is old.
    pub(super) async fn page(&self, conn: &mut PgConnection) -> StateResult<Arc<str>> {
        let mut kept = self.kept.lock().await;
        if let Some((at, page)) = &*kept
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(page));
        }
        let measured = measures::all(conn).await?;
        let durations = measures::backup_durations(conn, &DURATION_BOUNDS).await?;
        let policies = policies::list(conn, None, None, i64::MAX).await?;
        let page: Arc<str> = write(&measured, &durations, &policies).into();
        *kept = Some((Instant::now(), Arc::clone(&page)));
        Ok(page)
    }
}

fn write(measured: &[Measure], durations: &[Durations], policies: &[PolicyView]) -> String {
    let mut page = Page::default();
    page.metric("build_info", Kind::Gauge, "The scheduler's version; always 1.");
    page.sample("build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
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
        let page = write(&[measure("jobs")], &durations, &[]);
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
        let page = write(&[], &[], &[]);
        let mut names: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .filter_map(|line| line.split_once(' '))
            .collect();
        let declared = names.len();
        names.sort_unstable();
        names.dedup_by_key(|(name, _)| *name);
        assert_eq!(names.len(), declared);
        assert_eq!(declared, MEASURED.len() + 3);
        for (name, kind) in names {
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        }
    }
}
