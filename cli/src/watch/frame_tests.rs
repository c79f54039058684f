use super::*;
use ringvault_core::{
    JobId, TaskError,
    job::{JobKind, JobState, StageKind},
    task::Progress,
};

const NOW: &str = "2026-11-22T08:14:00Z";

fn stage_of(kind: StageKind, state: StageState, tasks: u32, succeeded: u32) -> StageProgress {
    StageProgress { stage: kind, state, tasks, ready: 0, running: tasks - succeeded, succeeded, failed: 0 }
}

fn node(label: &str, state: TaskState, percent: Option<u8>) -> NodeProgress {
    NodeProgress {
        host_id: Some(ringvault_core::HostId(uuid::Uuid::nil())),
        label: label.to_owned(),
        state,
        percent,
        progress: Progress::default(),
        error: None,
    }
}

/// The upload of INTERFACE's example.
fn upload() -> JobProgress {
    let mut slow = node("cass-09", TaskState::Running, Some(31));
    slow.progress.throttled = true;
    JobProgress {
        job: JobId::generate(),
        kind: JobKind::Backup,
        cluster: "orders-prod".parse().unwrap(),
        backup: Some("orders-prod-20261122T080000Z".parse().unwrap()),
        state: JobState::Running,
        result: None,
        as_of: NOW.parse().unwrap(),
        started_at: Some("2026-11-22T08:00:00Z".parse().unwrap()),
        stage: Some(StageKind::Upload),
        percent: Some(61),
        bytes_done: 25_125_558_682,
        bytes_total: 40_909_563_494,
        bytes_per_second: Some(42_991_616),
        eta_seconds: Some(367),
        stages: vec![
            stage_of(StageKind::Snapshot, StageState::Done, 12, 12),
            stage_of(StageKind::Upload, StageState::Open, 12, 10),
            stage_of(StageKind::Seal, StageState::Waiting, 0, 0),
        ],
        nodes: vec![
            node("cass-01", TaskState::Succeeded, Some(100)),
            node("cass-07", TaskState::Running, Some(79)),
            slow,
        ],
        error: None,
    }
}

fn text(lines: &[Line]) -> Vec<String> {
    let join = |line: &Line| line.iter().map(|(text, _)| text.as_str()).collect();
    lines.iter().map(join).collect()
}

#[test]
fn the_picture_is_the_published_one() {
    let lines = text(&frame(&upload(), NOW.parse().unwrap(), 50, 24));
    assert_eq!(
        lines,
        [
            "backup orders-prod-20261122T080000Z  running 14m  61%  ETA 6m",
            "snapshot 12/12   upload 23.4/38.1 GiB at 41.0 MiB/s   seal waiting",
            "cass-09  [###-------] 31%  throttled",
            "cass-07  [#######---] 79%",
            "Ctrl-C detaches; the job goes on.",
        ]
    );
}

#[test]
fn the_picture_is_never_taller_than_the_terminal() {
    let mut progress = upload();
    let denied = TaskError::permanent("RV-STORE-403", "PutObject denied");
    progress.nodes = (0..100)
        .map(|n| NodeProgress {
            error: (n % 7 == 0).then(|| denied.clone()),
            ..node(&format!("cass-{n:02}"), TaskState::Running, Some(n))
        })
        .collect();
    for height in 5..40 {
        let lines = text(&frame(&progress, NOW.parse().unwrap(), 80, height));
        assert!(lines.len() < height, "{} of {height}", lines.len());
    }
    let lines = text(&frame(&progress, NOW.parse().unwrap(), 80, 10));
    assert!(lines[2].contains("RV-STORE-403"), "trouble first: {lines:?}");
    assert!(lines.iter().any(|line| line == "and 96 more"), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("on 15 nodes (cass-00, cass-07")), "{lines:?}");
}

#[test]
fn a_line_says_all_that_matters() {
    let line = line(&upload(), NOW.parse().unwrap());
    assert_eq!(
        line,
        "2026-11-22T08:14:00Z  backup orders-prod-20261122T080000Z  running 14m  61%  ETA 6m  \
         snapshot 12/12   upload 23.4/38.1 GiB at 41.0 MiB/s   seal waiting"
    );
}

#[test]
fn the_end_says_no_percent() {
    let mut progress = upload();
    progress.state = JobState::Failed;
    assert!(line(&progress, NOW.parse().unwrap()).contains("failed 14m  snapshot"));
}
