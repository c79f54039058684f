//! What people are told of by webhook, chat or mail: which happenings there are, how grave each is, and
//! whom a filter lets through to. A pure matter; who delivers stands in the scheduler.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{ClusterName, job::JobKind};

/// How grave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Worth a look.
    Warning,
    /// Somebody has to do something.
    Error,
}

impl Severity {
    /// The word used in JSON and configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! happenings {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $severity:ident;)*) => {
        /// What happened, in one word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Happening {
            $($(#[$doc])* $name,)*
        }

        impl Happening {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word used in JSON and configuration.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// How grave it is.
            pub const fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                }
            }
        }
    };
}

happenings! {
    /// A job was asked for.
    Created = "created", Info;
    /// A job began.
    Started = "started", Info;
    /// A job did what it was asked; a verify says `verified` instead.
    Succeeded = "succeeded", Info;
    /// A job stopped with an error; it may be retried.
    Failed = "failed", Error;
    /// A job was stopped on demand.
    Cancelled = "cancelled", Info;
    /// A job is over for good without having done what it was asked.
    Abandoned = "abandoned", Error;
    /// A backup can be restored from now on.
    Sealed = "sealed", Info;
    /// A backup is gone for good.
    Expired = "expired", Info;
    /// A verify found damage.
    Damaged = "damaged", Error;
    /// A verify came to its end and found its backup whole.
    Verified = "verified", Info;
    /// A request could not be read, or may not be done.
    Rejected = "rejected", Warning;
    /// A cluster's newest good backup is older than a policy allows.
    Late = "late", Error;
    /// It no longer is.
    Recovered = "recovered", Info;
    /// Somebody tries whether notices arrive.
    Test = "test", Info;
}

/// A notice, as a webhook posts it. Only ever added to: ignore fields that you do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// 1.
    pub schema_version: u32,
    /// The same however often this notice is sent to this receiver: forget what was seen before.
    pub delivery: Uuid,
    /// What happened.
    pub event: Happening,
    /// How grave.
    pub severity: Severity,
    /// When, by the database's clock.
    pub at: DateTime<Utc>,
    /// The deployment that tells it.
    pub deployment: String,
    /// The cluster it is about, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterName>,
    /// In a few words.
    pub title: String,
    /// In a sentence or two, with the next command where there is one.
    pub text: String,
    /// What the event on `ringvault.events` says, where it was one: `type` and `payload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

/// Which notices a receiver gets: all that pass each of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeFilter {
    /// These happenings.
    pub events: Vec<Happening>,
    /// At least as grave.
    pub severity: Severity,
    /// About these clusters; all when empty. What is about no cluster passes.
    pub clusters: Vec<ClusterName>,
    /// About jobs of these kinds; all when empty. What is about no job passes.
    pub jobs: Vec<JobKind>,
}

impl Default for NoticeFilter {
    fn default() -> Self {
        use Happening::{Abandoned, Damaged, Failed, Late, Recovered};
        Self {
            events: vec![Failed, Abandoned, Damaged, Late, Recovered],
            severity: Severity::Info,
            clusters: Vec::new(),
            jobs: Vec::new(),
        }
    }
}

impl NoticeFilter {
    /// Whether it lets this through. A test always passes: that is what it tests.
    pub fn passes(&self, event: Happening, cluster: Option<&ClusterName>, job: Option<JobKind>) -> bool {
        if event == Happening::Test {
            return true;
        }
        self.events.contains(&event)
            && event.severity() >= self.severity
            && cluster.is_none_or(|cluster| self.clusters.is_empty() || self.clusters.contains(cluster))
            && job.is_none_or(|job| self.jobs.is_empty() || self.jobs.contains(&job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_through_what_passes_each_of_its_parts() {
        let cluster = |name: &str| ClusterName::new(name).unwrap();
        let all = NoticeFilter::default();
        assert!(all.passes(Happening::Failed, Some(&cluster("a")), Some(JobKind::Backup)));
        assert!(!all.passes(Happening::Succeeded, Some(&cluster("a")), Some(JobKind::Backup)));
        let some = NoticeFilter {
            events: Happening::ALL.to_vec(),
            severity: Severity::Warning,
            clusters: vec![cluster("a")],
            jobs: vec![JobKind::Restore],
        };
        for (event, name, job, passes) in [
            (Happening::Failed, Some("a"), Some(JobKind::Restore), true),
            (Happening::Failed, Some("b"), Some(JobKind::Restore), false),
            (Happening::Failed, Some("a"), Some(JobKind::Backup), false),
            (Happening::Succeeded, Some("a"), Some(JobKind::Restore), false),
            (Happening::Late, Some("a"), None, true),
            (Happening::Rejected, None, None, true),
            (Happening::Test, None, None, true),
        ] {
            let cluster = name.map(cluster);
            assert_eq!(some.passes(event, cluster.as_ref(), job), passes, "{event:?} {name:?} {job:?}");
        }
    }

    #[test]
    fn words_are_those_of_json() {
        for happening in Happening::ALL {
            assert_eq!(serde_json::to_value(happening).unwrap(), happening.as_str());
        }
        assert!(Severity::Error > Severity::Warning && Severity::Warning > Severity::Info);
    }
}
