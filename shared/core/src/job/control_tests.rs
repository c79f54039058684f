//! What a job can be told, in each stage of each kind of job.

use chrono::{DateTime, Utc};

use super::{state::is_point_of_no_return, *};

/// Every kind of job with all the stages it can have.
fn kinds() -> Vec<JobSpec> {
    [
        r#"{"kind":"backup","cluster":"c","name":"b"}"#,
        r#"{"kind":"verify","cluster":"c","backup":"b"}"#,
        r#"{"kind":"restore","source":"c","backup":"b","target":"t"}"#,
        r#"{"kind":"restore","source":"c","backup":"b","target":"t","truncate":true,"confirm":"t"}"#,
        r#"{"kind":"restore","source":"c","backup":"b","target":"t","plan_only":true}"#,
        r#"{"kind":"restore","source":"c","backup":"b","target":"c","offline":true,"confirm":"c"}"#,
        r#"{"kind":"purge","cluster":"c"}"#,
    ]
    .map(|text| serde_json::from_str(text).unwrap())
    .into()
}

fn at_stage(spec: &JobSpec, stage: usize) -> Job {
    let mut job = transition(&Job::new(spec.kind(), stages_of(spec)), &JobEvent::Start).unwrap().0;
    for _ in 0..stage {
        job = transition(&job, &JobEvent::StagePassed).unwrap().0;
    }
    job
}

fn told(job: &Job, event: &JobEvent) -> Result<(JobState, Vec<JobEffect>), IllegalTransition> {
    transition(job, event).map(|(job, effects)| (job.state, effects))
}

#[test]
fn every_stage_can_be_paused_and_goes_on_where_it_was() {
    for spec in kinds() {
        for index in 0..stages_of(&spec).len() {
            let running = at_stage(&spec, index);
            let here = format!("{} in {:?}", spec.kind().as_str(), running.current_stage());
            let (paused, effects) = transition(&running, &JobEvent::Pause).unwrap();
            assert!(effects.contains(&JobEffect::StopTasks), "{here}");
            let again = transition(&paused, &JobEvent::Pause).unwrap();
            assert_eq!(again, (paused.clone(), Vec::new()), "{here}");
            let (resumed, effects) = transition(&paused, &JobEvent::Resume).unwrap();
            assert_eq!(resumed, running, "{here}");
            assert!(effects.contains(&JobEffect::ResumeTasks), "{here}");
            assert!(!effects.iter().any(|e| matches!(e, JobEffect::OpenStage(_))), "{here}");
        }
    }
}

#[test]
fn every_stage_can_be_cancelled_up_to_the_point_of_no_return() {
    for spec in kinds() {
        let stages = stages_of(&spec);
        let no_return = stages.iter().position(|stage| is_point_of_no_return(&stages, *stage));
        for index in 0..stages.len() {
            let running = at_stage(&spec, index);
            let here = format!("{} in {:?}", spec.kind().as_str(), running.current_stage());
            let past = no_return.is_some_and(|at| index >= at);
            assert_eq!(running.past_no_return, past, "{here}");
            let (paused, _) = transition(&running, &JobEvent::Pause).unwrap();
            for job in [&running, &paused] {
                for (event, state) in
                    [(JobEvent::Cancel, JobState::Cancelling), (JobEvent::TimeOver, JobState::Abandoning)]
                {
                    let expect = if past {
                        Err(IllegalTransition::PastNoReturn)
                    } else {
                        Ok((state, vec![JobEffect::StopTasks, JobEffect::OpenCleanup]))
                    };
                    assert_eq!(told(job, &event), expect, "{here} {event:?}");
                }
            }
        }
    }
}

#[test]
fn a_failed_job_can_be_retried_or_abandoned_in_every_stage_and_nothing_else() {
    let now = DateTime::<Utc>::UNIX_EPOCH;
    for spec in kinds() {
        for index in 0..stages_of(&spec).len() {
            let running = at_stage(&spec, index);
            let here = format!("{} in {:?}", spec.kind().as_str(), running.current_stage());
            let (failed, _) = transition(&running, &JobEvent::StageFailed { retry_until: now }).unwrap();
            let (retried, effects) = transition(&failed, &JobEvent::Retry { now }).unwrap();
            assert_eq!(retried, running, "{here}");
            assert_eq!(effects.first(), Some(&JobEffect::ReopenFailedTasks), "{here}");
            let (abandoning, _) = transition(&failed, &JobEvent::Abandon).unwrap();
            let over = told(&abandoning, &JobEvent::CleanedUp).unwrap();
            assert_eq!(
                over,
                (JobState::Abandoned, vec![JobEffect::ReleaseHolds, JobEffect::Announce]),
                "{here}"
            );
            for event in [JobEvent::Pause, JobEvent::Resume, JobEvent::Cancel, JobEvent::TimeOver] {
                assert!(transition(&failed, &event).is_err(), "{here} {event:?}");
                assert!(transition(&abandoning, &event).is_err(), "{here} {event:?}");
            }
        }
    }
}

#[test]
fn what_has_not_begun_or_is_over_takes_no_pause() {
    let queued = Job::new(JobKind::Backup, stages_of(&kinds()[0]));
    assert_eq!(told(&queued, &JobEvent::Cancel).unwrap().0, JobState::Cancelled);
    for state in [JobState::Queued, JobState::Succeeded, JobState::Cancelled, JobState::Abandoned] {
        let job = Job { state, ..queued.clone() };
        for event in [JobEvent::Pause, JobEvent::Resume, JobEvent::TimeOver, JobEvent::Abandon] {
            assert!(transition(&job, &event).is_err(), "{state:?} {event:?}");
        }
    }
}
