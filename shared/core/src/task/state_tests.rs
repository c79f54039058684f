use super::*;
use proptest::prelude::*;

fn worker(n: u128) -> WorkerId {
    WorkerId(uuid::Uuid::from_u128(n))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::seconds(seconds)
}

fn step(task: &Task, event: TaskEvent, now: i64) -> (Task, Vec<TaskEffect>) {
    transition(task, &event, &RetryRules::default(), at(now), 0.5).unwrap()
}

fn running() -> Task {
    let (task, _) = step(&Task::new(at(0)), TaskEvent::Place { worker: worker(1) }, 0);
    step(&task, TaskEvent::Started { epoch: 1, dispatch_seq: 1 }, 1).0
}

#[test]
fn only_the_current_pair_is_granted() {
    let (sent, effects) = step(&Task::new(at(0)), TaskEvent::Place { worker: worker(1) }, 0);
    assert_eq!(effects, vec![TaskEffect::SendOffer]);
    let (resent, effects) = step(&sent, TaskEvent::DispatchTimedOut, 20);
    assert_eq!((resent.epoch, resent.dispatch_seq), (1, 2));
    assert_eq!(effects, vec![TaskEffect::SendOffer]);
    for (epoch, dispatch_seq) in [(1, 1), (0, 2), (2, 2), (1, 3)] {
        let (same, effects) = step(&resent, TaskEvent::Started { epoch, dispatch_seq }, 21);
        assert_eq!((same, effects), (resent.clone(), vec![]), "{epoch}.{dispatch_seq}");
    }
    let (granted, effects) = step(&resent, TaskEvent::Started { epoch: 1, dispatch_seq: 2 }, 21);
    assert_eq!((granted.state, effects), (TaskState::Running, vec![TaskEffect::SendGrant]));
}

#[test]
fn a_lost_lease_is_a_counted_attempt_and_the_old_epoch_changes_nothing() {
    let mut task = running();
    for attempt in 1..=5 {
        let old = task.epoch;
        (task, _) = step(&task, TaskEvent::LeaseExpired, 100);
        assert_eq!(task.attempts, attempt);
        let (same, effects) = step(&task, TaskEvent::Succeeded { epoch: old }, 101);
        assert_eq!((same, effects), (task.clone(), vec![]));
        if attempt < 5 {
            assert_eq!(task.state, TaskState::Ready);
            (task, _) = step(&task, TaskEvent::Place { worker: worker(2) }, 400);
            let epoch = task.epoch;
            assert_eq!(epoch, old + 1);
            (task, _) = step(&task, TaskEvent::Started { epoch, dispatch_seq: 1 }, 401);
        }
    }
    assert_eq!(task.state, TaskState::Failed, "a task that kills its worker does not loop");
}

#[test]
fn surroundings_are_waited_for_without_counting_until_patience_ends() {
    let down = TaskError::environment("RV-CASSANDRA-DOWN", "no answer");
    let patience = RetryRules::default().environment_patience.num_seconds();
    let mut task = Task::new(at(0));
    for now in [10, 100, patience, patience + 10] {
        (task, _) = step(&task, TaskEvent::Place { worker: worker(1) }, now - 2);
        let epoch = task.epoch;
        (task, _) = step(&task, TaskEvent::Started { epoch, dispatch_seq: 1 }, now - 1);
        (task, _) = step(&task, TaskEvent::Failed { epoch, error: down.clone() }, now);
        let state = if now < patience + 10 { TaskState::Ready } else { TaskState::Failed };
        assert_eq!((task.state, task.attempts), (state, 0), "{now}");
    }
}

#[test]
fn an_old_wait_does_not_count_against_an_attempt_that_ran_or_was_paused() {
    let down = TaskError::environment("RV-CASSANDRA-DOWN", "no answer");
    let patience = RetryRules::default().environment_patience.num_seconds();
    let again = |task: &Task, now| {
        let (task, _) = step(task, TaskEvent::Place { worker: worker(1) }, now);
        let epoch = task.epoch;
        step(&task, TaskEvent::Started { epoch, dispatch_seq: 1 }, now + 1).0
    };
    let (sent, _) = step(&Task::new(at(0)), TaskEvent::Place { worker: worker(1) }, 0);
    let (waiting, _) = step(&sent, TaskEvent::Unroutable { epoch: 1 }, 0);
    let running = again(&waiting, 20);
    // (seconds it ran, state after an error of its surroundings beyond the patience)
    for (ran, state) in [(patience, TaskState::Ready), (patience + 3600, TaskState::Ready)] {
        let failed = TaskEvent::Failed { epoch: 2, error: down.clone() };
        let (next, _) = step(&running, failed, 21 + ran);
        assert_eq!((next.state, next.waiting_since), (state, Some(at(21 + ran))), "ran {ran} s");
    }
    let short = again(&waiting, patience);
    let (failed, _) = step(&short, TaskEvent::Failed { epoch: 2, error: down.clone() }, patience + 5);
    assert_eq!(failed.state, TaskState::Failed, "it never got to work");
    let (paused, _) = step(&waiting, TaskEvent::TakeBack { keep: true }, 10);
    let resumed = again(&paused, patience + 3600);
    let failed = TaskEvent::Failed { epoch: 2, error: down };
    assert_eq!(step(&resumed, failed, patience + 3610).0.state, TaskState::Ready, "it was paused");
}

#[test]
fn a_purge_waits_for_backups_for_days_and_for_its_surroundings_as_all_do() {
    let rules = RetryRules::default();
    let waits = TaskError::environment(PURGE_WAITS, "a backup runs");
    let mut task = running();
    let mut now = 10;
    let days = rules.purge_patience.num_seconds();
    while now < days {
        let epoch = task.epoch;
        (task, _) = step(&task, TaskEvent::Failed { epoch, error: waits.clone() }, now);
        let interval = if now == 10 { rules.environment_interval } else { rules.purge_interval };
        assert_eq!((task.state, task.run_at), (TaskState::Ready, at(now) + interval));
        now += 7200;
        (task, _) = step(&task, TaskEvent::Place { worker: worker(1) }, now);
        let epoch = task.epoch;
        (task, _) = step(&task, TaskEvent::Started { epoch, dispatch_seq: 1 }, now);
    }
    let epoch = task.epoch;
    let away = TaskError::environment("RV-STORE-AWAY", "no answer");
    let (waiting, _) = step(&task, TaskEvent::Failed { epoch, error: away }, now);
    assert_eq!(
        (waiting.state, waiting.waiting_since),
        (TaskState::Ready, Some(at(now))),
        "a wait of its own"
    );
    let (over, _) = step(&task, TaskEvent::Failed { epoch, error: waits }, now + 20);
    assert_eq!(over.state, TaskState::Failed);
}

#[test]
fn a_task_that_its_worker_does_not_know_any_more_is_a_counted_attempt() {
    let mut task = running();
    for attempt in 1..=5 {
        let epoch = task.epoch;
        let (told, _) = step(&task, TaskEvent::Stopped { epoch, lost: false }, 50);
        assert_eq!((told.state, told.attempts, told.run_at), (TaskState::Ready, attempt - 1, at(50)));
        let (next, effects) = step(&task, TaskEvent::Stopped { epoch, lost: true }, 50);
        assert_eq!(next.attempts, attempt);
        assert!(effects.contains(&TaskEffect::CloseAttempt));
        task = next;
        if attempt < 5 {
            assert!(task.run_at > at(50), "it backs off");
            (task, _) = step(&task, TaskEvent::Place { worker: worker(1) }, 400);
            let epoch = task.epoch;
            (task, _) = step(&task, TaskEvent::Started { epoch, dispatch_seq: 1 }, 401);
        }
    }
    assert_eq!(task.state, TaskState::Failed, "a result that cannot be sent ends the task");
    assert_eq!(task.error.unwrap().code, "RV-WORKER-FORGOT");
}

#[test]
fn a_task_that_kills_its_worker_each_time_fails_and_says_so() {
    let mut task = running();
    let (same, effects) = step(&Task::new(at(0)), TaskEvent::WorkerStartedAnew, 1);
    assert_eq!((same, effects), (Task::new(at(0)), vec![]), "it was not in its hand");
    for attempt in 1..=5 {
        (task, _) = step(&task, TaskEvent::WorkerStartedAnew, 50);
        assert_eq!(task.attempts, attempt);
        if attempt < 5 {
            (task, _) = step(&task, TaskEvent::Place { worker: worker(1) }, 400);
            let epoch = task.epoch;
            (task, _) = step(&task, TaskEvent::Started { epoch, dispatch_seq: 1 }, 401);
        }
    }
    assert_eq!(task.state, TaskState::Failed);
    let error = task.error.unwrap();
    assert_eq!(error.code, "RV-WORKER-LOST");
    assert!(error.message.contains("process ended during attempt 5"), "{}", error.message);
}

#[test]
fn a_task_without_a_worker_waits_and_fails_when_patience_ends() {
    let alone = || TaskEvent::NoWorker { error: TaskError::environment("RV-NODE-NO-WORKER", "no worker") };
    let patience = RetryRules::default().environment_patience.num_seconds();
    let (waiting, effects) = step(&Task::new(at(0)), alone(), 0);
    assert_eq!((waiting.state, effects), (TaskState::Ready, vec![]));
    assert_eq!((waiting.run_at, waiting.attempts), (at(15), 0));
    let (failed, effects) = step(&waiting, alone(), patience);
    assert_eq!(failed.state, TaskState::Failed);
    assert_eq!(effects, vec![TaskEffect::JudgeBarrier]);
    let (same, effects) = step(&running(), alone(), 5);
    assert_eq!((same.state, effects), (TaskState::Running, vec![]), "it has one");
}

#[test]
fn a_permanent_failure_is_final_until_the_job_is_retried() {
    let bad = TaskError::permanent("RV-DIGEST", "damaged");
    let (failed, effects) = step(&running(), TaskEvent::Failed { epoch: 1, error: bad }, 5);
    assert_eq!(failed.state, TaskState::Failed);
    assert_eq!(effects, vec![TaskEffect::CloseAttempt, TaskEffect::JudgeBarrier]);
    let (again, _) = step(&failed, TaskEvent::Reopen, 9);
    assert_eq!((again.state, again.attempts, again.epoch), (TaskState::Ready, 0, 1));
}

#[test]
fn backoff_is_jittered_doubling_and_capped() {
    let rules = RetryRules::default();
    assert_eq!(backoff(&rules, 1, 1.0), Duration::seconds(2));
    assert_eq!(backoff(&rules, 4, 1.0), Duration::seconds(16));
    assert_eq!(backoff(&rules, 4, 0.5), Duration::seconds(8));
    assert_eq!(backoff(&rules, 60, 1.0), rules.backoff_cap);
}

fn any_event() -> impl Strategy<Value = TaskEvent> {
    let epoch = 0_u32..6;
    prop_oneof![
        (1_u128..3).prop_map(|n| TaskEvent::Place { worker: worker(n) }),
        Just(TaskEvent::DispatchTimedOut),
        Just(TaskEvent::NoWorker { error: TaskError::environment("RV-NODE-NO-WORKER", "no worker") }),
        epoch.clone().prop_map(|epoch| TaskEvent::Unroutable { epoch }),
        (epoch.clone(), 0_u32..3)
            .prop_map(|(epoch, dispatch_seq)| TaskEvent::Started { epoch, dispatch_seq }),
        epoch.clone().prop_map(|epoch| TaskEvent::Heartbeat { epoch }),
        Just(TaskEvent::LeaseExpired),
        Just(TaskEvent::WorkerStartedAnew),
        epoch.clone().prop_map(|epoch| TaskEvent::Succeeded { epoch }),
        epoch.clone().prop_map(|epoch| TaskEvent::Failed { epoch, error: TaskError::transient("RV-X", "x") }),
        (epoch.clone(), any::<bool>()).prop_map(|(epoch, lost)| TaskEvent::Stopped { epoch, lost }),
        any::<bool>().prop_map(|keep| TaskEvent::TakeBack { keep }),
        Just(TaskEvent::Reopen),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_in_whatever_order_fencing_holds(
        events in proptest::collection::vec(any_event(), 0..80),
    ) {
        let mut task = Task::new(at(0));
        let mut granted: Vec<(u32, u32)> = Vec::new();
        for (index, event) in events.into_iter().enumerate() {
            let now = at(i64::try_from(index).unwrap() * 7);
            let Ok((next, effects)) =
                transition(&task, &event, &RetryRules::default(), now, 0.3) else { continue };
            prop_assert!(next.epoch >= task.epoch, "epochs only rise");
            if matches!(task.state, TaskState::Succeeded | TaskState::Cancelled) {
                prop_assert_eq!(&next, &task, "a task that is over stays as it is");
            }
            if effects.contains(&TaskEffect::SendGrant) {
                let pair = (next.epoch, next.dispatch_seq);
                let same_epoch = granted.iter().find(|(epoch, _)| *epoch == pair.0);
                prop_assert!(same_epoch.is_none_or(|held| *held == pair), "one grant an epoch");
                granted.push(pair);
            }
            if let TaskEvent::Succeeded { epoch } = event
                && next.state == TaskState::Succeeded
                && task.state != TaskState::Succeeded
            {
                prop_assert!(granted.iter().any(|(held, _)| *held == epoch));
            }
            if matches!(next.state, TaskState::Dispatched | TaskState::Running) {
                prop_assert!(next.worker.is_some() && next.deadline.is_some());
            }
            task = next;
        }
    }
}
