//! Streams: this node has its SSTables streamed to whoever owns their partitions, one at a time each.
//!
//! What Cassandra says of a stream is half of the truth: what it cannot open, or has no table for, it leaves out,
//! and a stream of nothing succeeds. So each SSTable is a stream of its own, of files that were hashed directly before,
//! and counts as taken when the stream has ended well *and* was of at least as many files as there are nodes
//! that own one of its two outermost partitions. A receiver says that it is done once it serves what it got.
//!
//! Streaming an SSTable twice is harmless, as importing it twice is: the same cells, the same counter shards. Still
//! a stream goes on in Cassandra when its worker dies. Which one it is is noted beside its folder, so the
//! next attempt waits for it rather than sending all of it again, and the restore does not end before it.

mod handed;
mod probe;

use std::{path::Path, time::Duration};

use futures::{StreamExt as _, stream};
use ringvault_cassandra::cql::{StreamState, StreamStatus};
use ringvault_core::{HostId, TaskError, selection::TableName, size::format_size};
use ringvault_fault::point;
use tracing::{info, warn};
use uuid::Uuid;

use self::handed::{Earlier, Handed};
use super::{
    apply::Attempt,
    share::{SharedSstable, StreamTo, whole_size},
    staged::Staged,
};
use crate::executor::{Executor, failure};

/// Streams at the same time: small ones are mostly waiting for answers.
const AT_ONCE: usize = 4;
/// How often a stream is looked at, at first and at most seldom.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LAST_LOOK: Duration = Duration::from_secs(5);

/// What became of a stream.
enum Ended {
    /// All of it is where it belongs.
    Well(StreamState),
    /// Some of it is not, in Cassandra's words.
    Badly(String),
    /// The node knows of none: it was started again.
    Lost,
}

/// One SSTable on its way.
struct Way<'a> {
    attempt: &'a Attempt<'a>,
    table: &'a TableName,
    sstable: &'a SharedSstable,
    to: StreamTo,
    number: usize,
}

impl Executor {
    /// Streams the SSTables of a table that are not recorded as taken, and records each.
    pub(super) async fn stream_table(
        &self,
        attempt: &mut Attempt<'_>,
        table: &TableName,
        mut open: Vec<SharedSstable>,
    ) -> Result<(), TaskError> {
        let first = attempt.batches;
        attempt.batches += open.len();
        let earlier = Earlier::read(&attempt.stage)?;
        // The largest first, so that none waits long for what goes beside it.
        open.sort_by_cached_key(|sstable| std::cmp::Reverse(whole_size(&sstable.entry)));
        for (start, some) in (first..).step_by(AT_ONCE).zip(open.chunks(AT_ONCE)) {
            let done: Vec<Result<String, TaskError>> = {
                let ways = (start + 1..).zip(some).filter_map(|(number, sstable)| {
                    let to = sstable.stream?;
                    Some(Way { attempt, table, sstable, to, number })
                });
                let streams = ways.map(|way| self.stream_one(way, &earlier));
                stream::iter(streams.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await
            };
            let (places, errors): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
            // What went well is recorded whatever became of the others.
            attempt.taken.took(&places.into_iter().flatten().collect::<Vec<_>>())?;
            if let Some(Err(error)) = errors.into_iter().next() {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Streams one SSTable, unless a stream of an earlier attempt has done so, and says which.
    async fn stream_one(&self, way: Way<'_>, earlier: &Earlier) -> Result<String, TaskError> {
        let (attempt, place) = (way.attempt, way.sstable.place());
        attempt.handle.go_on()?;
        for plan in earlier.plans(&place) {
            match self.follow(&way, plan).await? {
                Ended::Well(state) if state.files >= way.to.receivers as u64 => {
                    info!(place, %plan, "streamed by an earlier attempt");
                    return Ok(place);
                }
                Ended::Well(_) | Ended::Badly(_) | Ended::Lost => {}
            }
        }
        let transfer = self.transfer(attempt.handle, attempt.task.spec.rate_limit);
        let only = std::slice::from_ref(way.sstable);
        self.stage_files(attempt.plan, only, &attempt.stage, &transfer).await?;
        let loaded_as = attempt.plan.loaded_as(way.table);
        let handed = {
            let (stage, name, number) = (attempt.stage.clone(), attempt.name.clone(), way.number);
            let sstable = way.sstable.clone();
            tokio::task::spawn_blocking(move || {
                let staged = Staged::of(&stage, &sstable)?;
                Handed::link(&stage, &name, number, &loaded_as, &staged)
            })
            .await
            .map_err(failure::internal)??
        };
        attempt.handle.go_on()?;
        point!("apply.stream.before").hit().await?;
        let plan = self.node.control().bulk_load(&handed.dir).await?;
        handed.note(&place, plan)?;
        point!("apply.stream.after").hit().await?;
        let ended = self.follow(&way, plan).await?;
        self.judge(&way, plan, ended).await?;
        handed.tidy();
        Ok(place)
    }

    /// Waits for the end of a stream, and tells the progress.
    async fn follow(&self, way: &Way<'_>, plan: Uuid) -> Result<Ended, TaskError> {
        let mut pause = FIRST_LOOK;
        let target = way.attempt.plan.spec.rename.target(way.table);
        loop {
            let Some(state) = self.node.cql().await?.stream_state(plan).await? else {
                return Ok(Ended::Lost);
            };
            match state.status {
                StreamStatus::Done => return Ok(Ended::Well(state)),
                StreamStatus::Failed(why) => return Ok(Ended::Badly(why)),
                StreamStatus::Running if state.bytes > 0 => {
                    let (sent, all) = (format_size(state.bytes_sent), format_size(state.bytes));
                    way.attempt.handle.doing(format!("streaming {target}: {sent} of {all}"));
                }
                StreamStatus::Running => {}
            }
            // Cassandra goes on with it; the next attempt finds it by its note.
            way.attempt.handle.go_on()?;
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LAST_LOOK);
        }
    }

    /// Whether the stream brought all of the SSTable to all of its owners.
    async fn judge(&self, way: &Way<'_>, plan: Uuid, ended: Ended) -> Result<(), TaskError> {
        let (node, place) = (self.node.address(), way.sstable.place());
        let target = way.attempt.plan.spec.rename.target(way.table);
        let what = format!("the stream {plan} of {place} to {target} from node {node}");
        let look = "look at the node's system.log, then: ringvault job retry JOB";
        match ended {
            Ended::Well(state) if state.files >= way.to.receivers as u64 => {
                info!(place, %plan, files = state.files, bytes = state.bytes, "streamed");
                Ok(())
            }
            Ended::Well(StreamState { files, .. }) => Err(TaskError::transient(
                "RV-STREAM-SHORT",
                format!(
                    "{what} ended, and was of {files} files, though at least {} nodes own some of it: Cassandra left it out",
                    way.to.receivers
                ),
            )
            .with_next(look)),
            Ended::Badly(why) => {
                let down = self.nodes_down(way.attempt).await;
                if down.is_empty() {
                    return Err(TaskError::transient("RV-STREAM-FAILED", format!("{what} failed: {why}"))
                        .with_next(look));
                }
                let down = down.join(", ");
                let message = format!("{what} failed: {why}. Every owner must be up, and {down} is not");
                Err(TaskError::environment("RV-STREAM-FAILED", message).with_next("start Cassandra there"))
            }
            Ended::Lost => Err(TaskError::transient(
                "RV-STREAM-LOST",
                format!("{what} is not known to the node any more: it was started again"),
            )),
        }
    }

    /// Addresses of target nodes that this node takes to be down.
    async fn nodes_down(&self, attempt: &Attempt<'_>) -> Vec<String> {
        let live = match self.node.control().live_members().await {
            Ok(live) => live,
            Err(error) => {
                warn!(%error, "which nodes are up could not be asked");
                return Vec::new();
            }
        };
        let is_down = |host: &HostId| !live.contains(host);
        let nodes = attempt.plan.target.nodes.iter();
        nodes.filter(|node| is_down(&node.host_id)).map(|node| node.address.clone()).collect()
    }
}

/// Where what is handed over lies.
fn root(stage: &Path) -> std::path::PathBuf {
    stage.join("stream")
}
