//! A job's stages with their tasks counted.

use ringvault_core::{
    api::{StageProgress, StageState},
    job::{JobState, StageKind},
    task::TaskState,
};

/// Tasks of one stage in one state.
pub(super) struct Count {
    /// Index of the stage.
    pub(super) stage: usize,
    /// Their state.
    pub(super) state: TaskState,
    /// How many.
    pub(super) tasks: u32,
}

/// The stages of a job that is in `state` with the stage of index `open` open (or last open).
pub(super) fn progress_of(
    kinds: &[StageKind],
    state: JobState,
    open: usize,
    counts: &[Count],
) -> Vec<StageProgress> {
    let of = |index: usize, kind: StageKind| {
        let count = |wanted: &[TaskState]| {
            counts
                .iter()
                .filter(|count| count.stage == index && wanted.contains(&count.state))
                .map(|count| count.tasks)
                .sum()
        };
        StageProgress {
            stage: kind,
            state: stage_state(state, open, index),
            tasks: count(&TaskState::ALL),
            ready: count(&[TaskState::Ready]),
            running: count(&[TaskState::Dispatched, TaskState::Running]),
            succeeded: count(&[TaskState::Succeeded]),
            failed: count(&[TaskState::Failed, TaskState::Cancelled]),
        }
    };
    kinds.iter().enumerate().map(|(index, kind)| of(index, *kind)).collect()
}

fn stage_state(state: JobState, open: usize, index: usize) -> StageState {
    match (state, index.cmp(&open)) {
        (JobState::Succeeded, _) => StageState::Done,
        (JobState::Queued, _) | (_, std::cmp::Ordering::Greater) => StageState::Waiting,
        (_, std::cmp::Ordering::Less) => StageState::Done,
        (JobState::Running | JobState::Paused, _) => StageState::Open,
        (JobState::Failed | JobState::Abandoning | JobState::Abandoned, _) => StageState::Failed,
        (JobState::Cancelling | JobState::Cancelled, _) => StageState::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_before_the_open_one_are_done_and_those_after_it_wait() {
        use StageState::{Done, Failed, Open, Stopped, Waiting};
        let kinds = [StageKind::Snapshot, StageKind::Upload, StageKind::Seal];
        let states = |state| {
            let stages = progress_of(&kinds, state, 1, &[]);
            stages.into_iter().map(|stage| stage.state).collect::<Vec<_>>()
        };
        assert_eq!(states(JobState::Running), [Done, Open, Waiting]);
        assert_eq!(states(JobState::Failed), [Done, Failed, Waiting]);
        assert_eq!(states(JobState::Cancelling), [Done, Stopped, Waiting]);
        assert_eq!(states(JobState::Succeeded), [Done, Done, Done]);
        assert_eq!(states(JobState::Queued), [Waiting, Waiting, Waiting]);
    }

    #[test]
    fn tasks_are_counted_once() {
        let count = |state, tasks| Count { stage: 0, state, tasks };
        let counts = [
            count(TaskState::Ready, 1),
            count(TaskState::Dispatched, 2),
            count(TaskState::Running, 3),
            count(TaskState::Succeeded, 4),
            count(TaskState::Failed, 5),
            count(TaskState::Cancelled, 6),
        ];
        let stage = &progress_of(&[StageKind::Check], JobState::Running, 0, &counts)[0];
        let seen = (stage.tasks, stage.ready, stage.running, stage.succeeded, stage.failed);
        assert_eq!(seen, (21, 1, 5, 4, 11));
    }
}
