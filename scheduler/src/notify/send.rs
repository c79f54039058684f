//! One try to hand a notice over.

use chrono::TimeDelta;
use ringvault_state::notices::Claimed;

use super::{mail::Mail, post::Post};
use crate::config::{NotifierConfig, NotifierKind};

/// Why a try failed. Never holds a secret, nor the path of a URL, which is one.
#[derive(Debug)]
pub(super) struct Failure {
    /// In words.
    pub(super) why: String,
    /// The receiver wants no other try before.
    pub(super) not_before: TimeDelta,
}

impl Failure {
    pub(super) fn because(why: impl ToString) -> Self {
        Self { why: why.to_string(), not_before: TimeDelta::zero() }
    }
}

/// A receiver's address and secrets, read and ready.
#[derive(Debug)]
pub(super) enum Sender {
    Post(Post),
    Mail(Box<Mail>),
}

impl Sender {
    /// Reads the receiver's files. What is wrong with which setting, otherwise.
    pub(super) fn open(config: &NotifierConfig) -> Result<Self, String> {
        match config.kind {
            NotifierKind::Webhook | NotifierKind::Slack => Post::open(config).map(Self::Post),
            NotifierKind::Smtp => Mail::open(config).map(Box::new).map(Self::Mail),
        }
    }

    /// Hands a notice over, within the receiver's `timeout`.
    pub(super) async fn send(&self, config: &NotifierConfig, claimed: &Claimed) -> Result<(), Failure> {
        let sending = async {
            match self {
                Self::Post(post) => Box::pin(post.send(claimed)).await,
                Self::Mail(mail) => Box::pin(mail.send(&claimed.notice)).await,
            }
        };
        let silent = || Failure::because(format!("no answer within {} s", config.timeout.as_secs_f32()));
        tokio::time::timeout(config.timeout, sending).await.unwrap_or_else(|_| Err(silent()))
    }
}
