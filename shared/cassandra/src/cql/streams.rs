//! What became of a stream that the node began.
//!
//! Cassandra 4.1 and newer keep the state of every stream in a virtual table of the node, `system_views.streaming`,
//! for three days after its end (`streaming_state_expires`), but not over a restart. Where the node streams
//! to itself too, the row is that of the sender, which registers first (tried on 4.1.10 and 5.0.4).

use uuid::Uuid;

use super::{CqlSession, Result};

/// How far a stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamStatus {
    /// It goes on.
    Running,
    /// Every receiver has what was sent to it, and serves it.
    Done,
    /// Some receiver has not, or no node could be reached: why, in Cassandra's words.
    Failed(String),
}

/// What a node says of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// How far it is.
    pub status: StreamStatus,
    /// What is sent to each receiver: a part of an `SSTable` counts as one file, a whole one as its components.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Bytes that went so far.
    pub bytes_sent: u64,
}

type Row = (Option<String>, Option<String>, Option<i64>, Option<i64>, Option<i64>);

impl CqlSession {
    /// What this node says of the stream under this plan's id; `None` if it knows of none.
    pub async fn stream_state(&self, plan: Uuid) -> Result<Option<StreamState>> {
        let operation = format!("see how far stream {plan} is");
        // An id is no text of somebody's: a statement that is not prepared is one round trip.
        let text = format!(
            "SELECT status, failure_cause, files_to_send, bytes_to_send, bytes_sent \
             FROM system_views.streaming WHERE id = {plan}"
        );
        let rows: Vec<Row> = self.rows(&operation, text, ()).await?;
        Ok(rows.into_iter().next().map(state))
    }
}

fn state((status, cause, files, bytes, sent): Row) -> StreamState {
    let count = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    let status = match status.as_deref() {
        Some("success") => StreamStatus::Done,
        Some("failure") => StreamStatus::Failed(words(&cause.unwrap_or_default())),
        _ => StreamStatus::Running,
    };
    StreamState { status, files: count(files), bytes: count(bytes), bytes_sent: count(sent) }
}

/// What stands before a stack trace: that it failed, and a line for each receiver that did.
fn words(cause: &str) -> String {
    let lines = cause.lines().map(str::trim).take_while(|line| !line.starts_with("at "));
    let said: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    if said.is_empty() { "it does not say why".to_owned() } else { crate::error::quote(&said.join(" ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_how_far_it_is() {
        let begun = state((Some("init".to_owned()), None, None, None, None));
        assert_eq!(begun, StreamState { status: StreamStatus::Running, files: 0, bytes: 0, bytes_sent: 0 });
        let done = state((Some("success".to_owned()), None, Some(3), Some(9), Some(9)));
        assert_eq!(done, StreamState { status: StreamStatus::Done, files: 3, bytes: 9, bytes_sent: 9 });
        let trace = "org.apache.cassandra.streaming.StreamException: Stream failed: \n\
                     Session peer /127.0.2.3:7000 Remote peer /127.0.2.3:7000 failed stream session\n\
                     \tat org.apache.cassandra.streaming.StreamResultFuture.maybeComplete(StreamResultFuture.java:251)";
        let failed = state((Some("failure".to_owned()), Some(trace.to_owned()), Some(-1), None, None));
        let why = "org.apache.cassandra.streaming.StreamException: Stream failed: Session peer /127.0.2.3:7000 \
                   Remote peer /127.0.2.3:7000 failed stream session";
        assert_eq!((failed.status, failed.files), (StreamStatus::Failed(why.to_owned()), 0));
        let silent = state((Some("failure".to_owned()), None, None, None, None));
        assert_eq!(silent.status, StreamStatus::Failed("it does not say why".to_owned()));
    }
}
