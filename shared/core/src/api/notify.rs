//! Receivers of notices, and what became of each notice.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::notice::{Happening, NoticeFilter};

/// One `[notify.NAME]` of the scheduler that answers. Never its secrets, nor the path of its URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotifierView {
    /// Its name.
    pub name: String,
    /// `webhook`, `slack` or `smtp`.
    pub kind: String,
    /// Whom it sends to: a host, or the addresses of a mail.
    pub to: String,
    /// Which notices it gets.
    pub filter: NoticeFilter,
    /// Notices that wait to be sent or to be tried again.
    pub pending: u64,
    /// Since when the oldest of them waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_since: Option<DateTime<Utc>>,
    /// When one last arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_sent_at: Option<DateTime<Utc>>,
    /// When one was last given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_given_up_at: Option<DateTime<Utc>>,
    /// What the last try failed of, while nothing has arrived since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NoticeState {
    /// It is tried, or tried again.
    Pending,
    /// The receiver has taken it.
    Sent,
    /// It was tried for as long as is configured.
    GivenUp,
}

impl NoticeState {
    /// The word used in tables, JSON and the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::GivenUp => "given_up",
        }
    }
}

/// Text that is not a state of a notice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the state of a notice")]
pub struct UnknownNoticeState(pub String);

impl std::str::FromStr for NoticeState {
    type Err = UnknownNoticeState;
    fn from_str(text: &str) -> Result<Self, UnknownNoticeState> {
        [Self::Pending, Self::Sent, Self::GivenUp]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownNoticeState(text.to_owned()))
    }
}

/// One notice on its way to one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeView {
    /// Its delivery id.
    pub id: Uuid,
    /// The receiver's name.
    pub notifier: String,
    /// What it tells of.
    pub event: Happening,
    /// In a few words.
    pub title: String,
    /// What became of it.
    pub state: NoticeState,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Tries so far.
    pub attempts: u32,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<DateTime<Utc>>,
    /// When it was taken or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// What the last try failed of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How notices fare, in the fleet's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeTrouble {
    /// The receiver's name.
    pub notifier: String,
    /// Notices given up since one last arrived.
    pub given_up: u64,
    /// Notices that wait and have failed at least once.
    pub failing: u64,
    /// What the last try failed of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
