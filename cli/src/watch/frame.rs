//! What progress looks like: pure functions from a progress document, the time and the terminal's
//! size to lines of text.
//!
//! ```text
//! backup orders-prod-20261122T080000Z  running 14m  61%  ETA 6m
//! snapshot 12/12   upload 23.4/38.1 GiB at 41 MiB/s   seal waiting
//! cass-07  [########--] 79%
//! cass-09  [###-------] 31%  throttled
//! Ctrl-C detaches; the job goes on.
//! ```

use chrono::{DateTime, Duration, Utc};
use ringvault_core::{
    TaskError,
    api::{JobProgress, NodeProgress, StageProgress, StageState},
    task::TaskState,
};

use super::{
    screen::{Line, plain, state},
    trouble,
};
use crate::output::{
    Tone,
    human::{percent, rough, size, size_of},
};

/// The narrowest and widest a bar gets, in characters between the brackets.
const BAR: std::ops::RangeInclusive<usize> = 10..=40;

/// The whole picture, at most `height` lines (and at least three).
pub(super) fn frame(progress: &JobProgress, now: DateTime<Utc>, width: usize, height: usize) -> Vec<Line> {
    let mut lines = vec![headline(progress, now)];
    lines.push(vec![plain(stages_line(&progress.stages, Some(progress)))]);
    let mut footer: Vec<Line> = trouble::gather(node_errors(progress))
        .iter()
        .take(3)
        .map(|trouble| vec![(trouble.sentence(), Tone::Warn)])
        .collect();
    footer.push(vec![plain("Ctrl-C detaches; the job goes on.")]);
    // One row is left for the cursor.
    let room = height.saturating_sub(lines.len() + footer.len() + 1);
    lines.extend(node_lines(&progress.nodes, width, room));
    lines.extend(footer);
    lines
}

/// Everything that matters in one line.
pub(super) fn line(progress: &JobProgress, now: DateTime<Utc>) -> String {
    let head: String = headline(progress, now).into_iter().map(|(text, _)| text).collect();
    let stages = stages_line(&progress.stages, Some(progress));
    let mut text = format!("{}  {head}  {stages}", crate::output::human::time(now, chrono_tz::Tz::UTC));
    for trouble in trouble::gather(node_errors(progress)) {
        text += "  ";
        text += &trouble.sentence();
    }
    crate::output::one_line(&text)
}

fn headline(progress: &JobProgress, now: DateTime<Utc>) -> Line {
    let what = progress.backup.as_ref().map_or(progress.cluster.as_str(), |backup| backup.as_str());
    let mut line = vec![plain(format!("{} {what}  ", progress.kind.as_str()))];
    line.push(state(progress.state.as_str()));
    if let Some(started) = progress.started_at {
        line.push(plain(format!(" {}", rough(now - started))));
    }
    if progress.state.is_settled() {
        return line;
    }
    if let Some(percent) = progress.percent {
        line.push(plain(format!("  {percent}%")));
    }
    if let Some(eta) = progress.eta_seconds.and_then(|s| i64::try_from(s).ok()) {
        let eta = Duration::try_seconds(eta).unwrap_or(Duration::MAX);
        line.push(plain(format!("  ETA {}", rough(eta))));
    }
    line
}

/// Every stage in a few words. `open` tells the bytes of the open stage, where they are known.
pub(crate) fn stages_line(stages: &[StageProgress], open: Option<&JobProgress>) -> String {
    let words = stages.iter().map(|stage| {
        let name = stage.stage.as_str();
        match stage.state {
            StageState::Waiting => format!("{name} waiting"),
            StageState::Done if stage.tasks == 0 => format!("{name} done"),
            StageState::Done => format!("{name} {}/{}", stage.succeeded, stage.tasks),
            StageState::Stopped => format!("{name} stopped"),
            StageState::Failed => format!("{name} failed on {}/{}", stage.failed, stage.tasks),
            StageState::Open => match open.filter(|open| open.bytes_total > 0) {
                Some(open) => format!("{name} {}", bytes(open)),
                None => format!("{name} {}/{}", stage.succeeded, stage.tasks),
            },
        }
    });
    words.collect::<Vec<_>>().join("   ")
}

fn bytes(open: &JobProgress) -> String {
    let done = size_of(open.bytes_done, open.bytes_total);
    match open.bytes_per_second {
        Some(rate) if rate > 0 => format!("{done} at {}/s", size(rate)),
        _ => done,
    }
}

/// The nodes that are worth a look first; what has no room is counted.
fn node_lines(nodes: &[NodeProgress], width: usize, room: usize) -> Vec<Line> {
    let mut shown: Vec<&NodeProgress> =
        nodes.iter().filter(|node| node.state != TaskState::Succeeded).collect();
    shown.sort_by_key(|node| (rank(node), node.percent.unwrap_or(0)));
    let left_out = if shown.len() > room {
        let kept = room.saturating_sub(1);
        let left_out = shown.len() - kept;
        shown.truncate(kept);
        left_out
    } else {
        0
    };
    let label_width = shown.iter().map(|node| node.label.chars().count()).max();
    let mut lines: Vec<Line> =
        shown.iter().map(|node| node_line(node, label_width.unwrap_or(0), width)).collect();
    if left_out > 0 && room > 0 {
        lines.push(vec![plain(format!("and {left_out} more"))]);
    }
    lines
}

/// What went wrong first, then what runs, then what waits.
const fn rank(node: &NodeProgress) -> u8 {
    match (node.state, node.error.is_some()) {
        (TaskState::Failed, _) => 0,
        (_, true) => 1,
        (TaskState::Running, _) => 2,
        (TaskState::Dispatched, _) => 3,
        _ => 4,
    }
}

fn node_line(node: &NodeProgress, label_width: usize, width: usize) -> Line {
    let label = format!("{:label_width$}  ", node.label);
    let share = node
        .percent
        .or_else(|| percent(node.progress.bytes_done, node.progress.bytes_total))
        .or_else(|| percent(node.progress.items_done, node.progress.items_total));
    let mut line = vec![plain(label)];
    match share {
        Some(share) if node.state == TaskState::Running => {
            let free = width.saturating_sub(label_width + 40);
            line.push(plain(format!("{} {share:>2}%", bar(share, free))));
        }
        _ => line.push(state(node.state.as_str())),
    }
    if node.progress.throttled {
        line.push(("  throttled".to_owned(), Tone::Warn));
    }
    if let Some(error) = &node.error {
        line.push((format!("  {}", error.code), Tone::Warn));
    }
    if let Some(doing) = &node.progress.doing {
        // Of a file its name: the folders before it are alike for all, and long.
        let name = doing.rsplit('/').next().unwrap_or(doing);
        line.push(plain(format!("  {name}")));
    }
    line
}

/// `[########--]`, as wide as there is room for.
fn bar(percent: u8, free: usize) -> String {
    let cells = free.clamp(*BAR.start(), *BAR.end());
    let full = usize::from(percent.min(100)) * cells / 100;
    format!("[{}{}]", "#".repeat(full), "-".repeat(cells - full))
}

fn node_errors<'a>(progress: &'a JobProgress) -> impl Iterator<Item = (&'a str, &'a TaskError)> {
    // The label of what any worker may do names no place.
    let place = |node: &'a NodeProgress| node.host_id.map_or("", |_| node.label.as_str());
    progress.nodes.iter().filter_map(move |node| Some((place(node), node.error.as_ref()?)))
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
