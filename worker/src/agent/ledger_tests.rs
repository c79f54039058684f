use ringvault_core::{
    JobId,
    job::StageKind,
    task::{ReleaseTask, TaskPayload},
};

use super::*;

fn offer(task: TaskId, epoch: u32, dispatch_seq: u32) -> TaskOffer {
    let job = JobId::generate();
    TaskOffer {
        task,
        job,
        stage: StageKind::Release,
        epoch,
        dispatch_seq,
        grant_within_seconds: 30,
        deadline: None,
        request_limit: None,
        payload: TaskPayload::Release(ReleaseTask { job, abort: None, auth_copies: false, drill: false }),
    }
}

#[allow(clippy::unnecessary_wraps)] // what an executor hands over
fn result() -> Result<TaskResult, TaskError> {
    Ok(TaskResult::Release { cleared: 1, sealed: None })
}

fn failure() -> Result<TaskResult, TaskError> {
    Err(TaskError::transient("RV-X", "it did not work"))
}

/// A ledger with one task, and the scheduler's side of the talk about it.
struct Talk {
    ledger: Ledger,
    task: TaskId,
    nonce: Uuid,
}

impl Talk {
    fn new() -> Self {
        Self { ledger: Ledger::default(), task: TaskId::generate(), nonce: Uuid::nil() }
    }

    fn offer(&mut self, epoch: u32, dispatch_seq: u32) -> OfferAnswer {
        self.offer_at(None, epoch, dispatch_seq)
    }

    fn offer_at(&mut self, trace: Option<TraceParent>, epoch: u32, dispatch_seq: u32) -> OfferAnswer {
        let offered = (offer(self.task, epoch, dispatch_seq), trace);
        let answer = self.ledger.offer(offered, Uuid::new_v4(), Instant::now());
        if let OfferAnswer::Ask(nonce) = answer {
            self.nonce = nonce;
        }
        answer
    }

    /// The grant that answers the last question.
    fn message(&self, epoch: u32, dispatch_seq: u32) -> TaskGrant {
        let nonce = Some(self.nonce);
        TaskGrant { task: self.task, epoch, dispatch_seq, lease_seconds: 30, nonce }
    }

    fn grant(&mut self, epoch: u32, dispatch_seq: u32) -> Granted {
        self.ledger.grant(&self.message(epoch, dispatch_seq))
    }

    fn begin(&mut self, epoch: u32) -> (TaskHandle, u64) {
        assert!(matches!(self.offer(epoch, 1), OfferAnswer::Ask(_)));
        match self.grant(epoch, 1) {
            Granted::Start(_, handle, run) => (handle, run),
            _ => panic!("it was not begun"),
        }
    }

    fn end(&mut self, run: u64, outcome: &Result<TaskResult, TaskError>) -> Ended {
        self.ledger.finish(self.task, run, outcome, Instant::now())
    }
}

#[test]
fn nothing_begins_without_the_grant_of_its_own_pair() {
    let mut talk = Talk::new();
    assert!(matches!(talk.grant(1, 1), Granted::Gone), "never offered");
    talk.offer(1, 1);
    talk.offer(1, 2);
    assert!(matches!(talk.grant(1, 1), Granted::Late), "an older pair");
    assert!(matches!(talk.grant(2, 2), Granted::Late), "forged");
    assert!(matches!(talk.grant(1, 2), Granted::Start(..)));
    assert!(matches!(talk.grant(1, 2), Granted::Late), "repeated");
}

#[test]
fn a_run_is_where_in_a_trace_it_was_offered() {
    let mut talk = Talk::new();
    let first = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let second = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b8-01".parse().unwrap();
    talk.offer_at(Some(first), 1, 1);
    talk.offer_at(Some(second), 1, 2);
    let Granted::Start(_, handle, _) = talk.grant(1, 2) else { panic!("it was not begun") };
    assert_eq!(handle.trace, Some(second));
}

#[test]
fn a_kept_offer_and_its_grant_begin_nothing_when_they_are_sent_again() {
    let mut talk = Talk::new();
    let (_, run) = talk.begin(1);
    let kept = talk.message(1, 1);
    talk.end(run, &result());
    talk.ledger.forget_reported(talk.task, 1);
    assert!(talk.ledger.tasks.is_empty());
    assert_eq!(talk.offer(1, 1), OfferAnswer::Stale, "it ended under this epoch");
    assert!(matches!(talk.ledger.grant(&kept), Granted::Late));
    // A worker that has started anew remembers nothing, and asks with another nonce.
    talk.ledger = Ledger::default();
    assert!(matches!(talk.offer(1, 1), OfferAnswer::Ask(_)));
    assert!(matches!(talk.ledger.grant(&kept), Granted::Late));
    let unmarked = TaskGrant { nonce: None, ..kept };
    assert!(matches!(talk.ledger.grant(&unmarked), Granted::Late));
}

#[test]
fn the_same_offer_twice_is_begun_by_the_answer_to_either_question() {
    let mut talk = Talk::new();
    let first = talk.offer(1, 1);
    assert_eq!(talk.offer(1, 1), first);
    assert!(matches!(talk.grant(1, 1), Granted::Start(..)));
}

#[test]
fn an_offer_without_a_grant_is_forgotten_and_a_late_grant_is_answered() {
    let mut talk = Talk::new();
    talk.offer(1, 1);
    talk.ledger.drop_ungranted(Instant::now() + Duration::from_secs(31));
    assert!(matches!(talk.grant(1, 1), Granted::Gone));
}

#[test]
fn a_running_task_is_adopted_under_a_newer_epoch() {
    let mut talk = Talk::new();
    let (_, run) = talk.begin(1);
    assert!(matches!(talk.offer(2, 1), OfferAnswer::Ask(_)));
    assert!(matches!(talk.grant(2, 1), Granted::Adopted));
    assert!(talk.ledger.running(talk.task, 1).is_none() && talk.ledger.running(talk.task, 2).is_some());
    assert_eq!(talk.offer(1, 9), OfferAnswer::Stale);
    assert_eq!(talk.end(run, &result()), Ended::Report(2, None));
}

#[test]
fn a_run_whose_lease_is_over_goes_on_only_under_a_new_grant() {
    let mut talk = Talk::new();
    let (handle, _) = talk.begin(1);
    handle.go_on().unwrap();
    handle.lease.renew(1, Duration::ZERO, Moment::now());
    talk.offer(2, 1);
    talk.grant(2, 1);
    handle.go_on().unwrap();
    handle.lease.renew(2, Duration::ZERO, Moment::now());
    assert_eq!(handle.go_on().unwrap_err().code, "RV-LEASE-LOST");
    assert_eq!(handle.stop.reason(), Some(StopReason::Gone));
}

#[test]
fn an_outcome_that_was_not_heard_is_told_again_under_the_new_epoch() {
    let mut talk = Talk::new();
    let (_, run) = talk.begin(1);
    assert_eq!(talk.end(run, &result()), Ended::Report(1, None));
    talk.offer(2, 1);
    talk.ledger.forget_reported(talk.task, 1);
    let Granted::AlreadyDone(2, outcome) = talk.grant(2, 1) else {
        panic!("it was started again");
    };
    assert_eq!(Ok(outcome), result());
    talk.ledger.forget_reported(talk.task, 2);
    assert!(talk.ledger.tasks.is_empty());
}

#[test]
fn an_outcome_that_was_heard_is_not_kept_for_an_offer_that_is_never_granted() {
    let mut talk = Talk::new();
    let (_, run) = talk.begin(1);
    talk.end(run, &result());
    talk.offer(2, 1);
    talk.ledger.drop_ungranted(Instant::now() + Duration::from_secs(31));
    assert!(talk.ledger.is_being_reported(talk.task), "it was not heard yet");
    talk.ledger.forget_reported(talk.task, 1);
    assert!(talk.ledger.tasks.is_empty());
}

#[test]
fn a_failure_is_not_told_again_but_tried_anew() {
    let mut talk = Talk::new();
    let (_, run) = talk.begin(1);
    assert_eq!(talk.end(run, &failure()), Ended::Report(1, None));
    let (_, again) = talk.begin(2);
    assert_ne!(again, run);
    // The same when the newer offer came while it ran.
    talk.offer(3, 1);
    assert_eq!(talk.end(again, &failure()), Ended::Report(2, None));
    assert!(matches!(talk.grant(3, 1), Granted::Start(..)));
}

#[test]
fn a_forgotten_task_reports_nothing_and_its_next_run_waits_for_its_end() {
    let mut talk = Talk::new();
    let (handle, run) = talk.begin(1);
    talk.ledger.forget(talk.task, 1);
    assert!(handle.stop.token().is_cancelled() && talk.ledger.has_running());
    assert_eq!(talk.offer(2, 1), OfferAnswer::Wait);
    let Ended::Ask { epoch: 2, dispatch_seq: 1, nonce } = talk.end(run, &result()) else {
        panic!("the offer that waited was lost");
    };
    talk.nonce = nonce;
    let Granted::Start(_, _, next) = talk.grant(2, 1) else { panic!("it was not begun") };
    assert_eq!(talk.end(run, &failure()), Ended::Nothing, "the end of the former run, once more");
    assert!(talk.ledger.running(talk.task, 2).is_some());
    assert_eq!(talk.end(next, &result()), Ended::Report(2, None));
}

#[test]
fn an_end_that_belongs_to_no_run_removes_no_offer() {
    let mut talk = Talk::new();
    talk.offer(5, 1);
    assert_eq!(talk.end(7, &failure()), Ended::Nothing);
    assert!(matches!(talk.grant(5, 1), Granted::Start(..)));
}

#[test]
fn a_stop_reaches_the_task_and_keeps_its_first_reason() {
    let mut talk = Talk::new();
    let task = talk.task;
    assert!(!talk.ledger.stop(task, 1, StopReason::Cancel), "unknown: the caller answers");
    let (_, run) = talk.begin(1);
    assert!(talk.ledger.stop(task, 1, StopReason::Cancel));
    talk.ledger.stop_all(StopReason::Gone);
    assert_eq!(talk.end(run, &failure()), Ended::Report(1, Some(StopReason::Cancel)));
}
