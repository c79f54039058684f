//! How a job that ran to its end ended: the command line's exit code follows from it.

use ringvault_core::{api::JobResult, cluster::Coverage, job::TaskOutcome, task::TaskResult};
use ringvault_state::tasks;

use super::{DriveError, Step};

impl Step<'_> {
    pub(super) async fn outcome(&mut self) -> Result<JobResult, DriveError> {
        Ok(of(&tasks::outcomes(self.conn, self.job.id).await?))
    }
}

/// A backup that is less than complete is partial; findings, mismatches and blockers are problems.
fn of(outcomes: &[TaskOutcome]) -> JobResult {
    let has_problem = |result: &TaskResult| match result {
        TaskResult::Check(check) => check.damaged > 0,
        TaskResult::Validate(validate) => !validate.problems.is_empty(),
        TaskResult::Plan(plan) => !plan.blockers.is_empty(),
        TaskResult::Preflight(preflight) => !preflight.blockers.is_empty(),
        _ => false,
    };
    let is_partial =
        |result: &TaskResult| matches!(result, TaskResult::Seal(seal) if seal.coverage != Coverage::Complete);
    let results = || outcomes.iter().filter_map(|outcome| outcome.result.as_ref());
    if results().any(has_problem) {
        JobResult::Problems
    } else if results().any(is_partial) {
        JobResult::Partial
    } else {
        JobResult::Ok
    }
}

#[cfg(test)]
mod tests {
    use ringvault_core::{job::StageKind, task::CheckResult};

    use super::*;

    #[test]
    fn one_finding_is_a_problem() {
        let check = |damaged| TaskOutcome {
            stage: StageKind::Check,
            host_id: None,
            result: Some(TaskResult::Check(CheckResult { damaged, ..CheckResult::default() })),
        };
        assert_eq!(of(&[check(0), check(0)]), JobResult::Ok);
        assert_eq!(of(&[check(0), check(1)]), JobResult::Problems);
    }
}
