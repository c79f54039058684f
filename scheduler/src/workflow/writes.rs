//! What a step has decided of tasks and not written yet: many events of one transaction are a few
//! statements.

use std::collections::BTreeMap;

use ringvault_core::{TaskError, TaskId, WorkerId};
use ringvault_state::{
    PgConnection, StateResult,
    log::{self, Line},
    outbox::{self, Message},
    tasks::{
        self, TaskRow,
        attempts::{self, Attempt, End},
    },
};

/// Kept in the order in which it was decided.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// As each task is now.
    tasks: BTreeMap<TaskId, TaskRow>,
    lines: Vec<Line>,
    messages: Vec<Message>,
    opened: Vec<(Attempt, WorkerId)>,
    granted: Vec<Attempt>,
    closed: Vec<End>,
}

impl Writes {
    /// A task has changed, as the line of the log says.
    pub(super) fn task(&mut self, task: &TaskRow, line: Line) {
        self.tasks.insert(task.id, task.clone());
        self.lines.push(line);
    }

    pub(super) fn message(&mut self, message: Message) {
        self.messages.push(message);
    }

    pub(super) fn opened(&mut self, task: &TaskRow, worker: WorkerId) {
        self.opened.push((Attempt { task: task.id, epoch: task.machine.epoch }, worker));
    }

    pub(super) fn granted(&mut self, task: &TaskRow) {
        self.granted.push(Attempt { task: task.id, epoch: task.machine.epoch });
    }

    pub(super) fn closed(&mut self, attempt: Attempt, outcome: &'static str, error: Option<TaskError>) {
        self.closed.push(End { attempt, outcome, error });
    }

    /// Writes all of it.
    pub(super) async fn flush(&mut self, conn: &mut PgConnection) -> StateResult<()> {
        let Self { tasks, lines, messages, opened, granted, closed } = std::mem::take(self);
        tasks::save(conn, &tasks.values().collect::<Vec<_>>()).await?;
        log::write(conn, &lines).await?;
        // A placement is there before it is granted, and granted before it ends.
        attempts::opened(conn, &opened).await?;
        attempts::granted(conn, &granted).await?;
        attempts::closed(conn, &closed).await?;
        outbox::insert(conn, &messages).await
    }
}
