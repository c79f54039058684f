//! The configured commands that stop and start Cassandra.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    process::Stdio,
    time::Duration,
};

use tokio::process::Command;

/// Bytes looked at at a log's end.
const TAIL: u64 = 256 << 10;
/// Lines told of it.
const LINES: usize = 8;
/// Most characters told of one.
const CHARS: usize = 240;

/// Runs a program with its arguments to its end. Its output goes to the file `log`, not to a pipe: a daemon that
/// it leaves behind may keep that open. It has a process group of its own, so that what stops this worker does not
/// stop what was started. An error says what went wrong, with what the program said last.
pub(super) async fn run(argv: &[String], limit: Duration, log: &Path) -> Result<(), String> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err("no command is configured".to_owned());
    };
    let shown = argv.join(" ");
    let output =
        |error: std::io::Error| format!("`{shown}`: its output cannot go to {}: {error}", log.display());
    let stdout = File::create(log).map_err(output)?;
    let stderr = stdout.try_clone().map_err(output)?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("`{shown}` cannot be started: {error}"))?;
    let why = match tokio::time::timeout(limit, child.wait()).await {
        Ok(Ok(status)) if status.success() => return Ok(()),
        Ok(Ok(status)) => format!("`{shown}` ended with {status}"),
        Ok(Err(error)) => format!("`{shown}` cannot be waited for: {error}"),
        Err(_) => {
            // Fails only if it has ended just now.
            let _ = child.start_kill();
            format!("`{shown}` was not done after {} s and was killed", limit.as_secs())
        }
    };
    Err(with_end(why, "it said", log))
}

/// `why` with the last lines of a log, if it has any.
fn with_end(why: String, whose: &str, log: &Path) -> String {
    match lines_of(log, 0).map(|lines| in_one(&lines, LINES)) {
        Some(end) if !end.is_empty() => format!("{why}; {whose} last: {end}"),
        _ => why,
    }
}

/// A log that another program writes, from a moment on.
#[derive(Debug)]
pub(super) struct LogSince<'a> {
    log: &'a Path,
    length: u64,
}

impl<'a> LogSince<'a> {
    pub(super) fn now(log: &'a Path) -> Self {
        Self { log, length: std::fs::metadata(log).map_or(0, |found| found.len()) }
    }

    /// What it says went wrong since, else what it says last; none if it says nothing.
    pub(super) fn says(&self) -> Option<String> {
        // Shorter than before: it was begun anew.
        let is_new = std::fs::metadata(self.log).is_ok_and(|found| found.len() < self.length);
        let lines = lines_of(self.log, if is_new { 0 } else { self.length })?;
        let is_bad = |line: &&String| ["ERROR", "FATAL", "Exception"].iter().any(|word| line.contains(word));
        let bad: Vec<String> = lines.iter().filter(is_bad).cloned().collect();
        let said = in_one(if bad.is_empty() { &lines } else { &bad }, LINES / 2);
        (!said.is_empty()).then_some(said)
    }
}

/// The lines at a file's end, from this byte on.
fn lines_of(log: &Path, from: u64) -> Option<Vec<String>> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL).max(from))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

/// The last of these lines in one, each cut to a readable length.
fn in_one(lines: &[String], most: usize) -> String {
    let cut = |line: &String| line.chars().take(CHARS).collect::<String>();
    lines[lines.len().saturating_sub(most)..].iter().map(cut).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(command: &str) -> Vec<String> {
        ["sh", "-c", command].map(str::to_owned).into()
    }

    #[tokio::test]
    async fn a_command_is_told_by_its_end_and_what_it_said_last() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let limit = Duration::from_secs(20);
        // What it leaves behind keeps its output open, and is not waited for.
        run(&words("sleep 30 & exit 0"), limit, &log).await.unwrap();
        let error = run(&words("seq 100; echo no such unit >&2; exit 3"), limit, &log).await.unwrap_err();
        assert!(error.contains("exit status: 3") && error.ends_with("99 | 100 | no such unit"), "{error}");
        assert!(!error.contains("| 90 |"), "{error}");
        let error = run(&words("sleep 30"), Duration::from_millis(50), &log).await.unwrap_err();
        assert!(error.contains("was killed"), "{error}");
        let error = run(&["/is/not/there".to_owned()], limit, &log).await.unwrap_err();
        assert!(error.contains("cannot be started"), "{error}");
    }
    #[test]
    fn a_log_is_told_from_a_moment_on_and_what_went_wrong_first() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(LogSince::now(&log).says(), None, "there is none");
        std::fs::write(&log, "ERROR of long ago\n").unwrap();
        let since = LogSince::now(&log);
        assert_eq!(since.says(), None);
        std::fs::write(&log, "ERROR of long ago\nINFO starting\n").unwrap();
        assert_eq!(since.says().as_deref(), Some("INFO starting"));
        std::fs::write(&log, "ERROR of long ago\nERROR no tokens\nINFO stopping\n").unwrap();
        assert_eq!(since.says().as_deref(), Some("ERROR no tokens"));
        std::fs::write(&log, "INFO anew\n").unwrap();
        assert_eq!(since.says().as_deref(), Some("INFO anew"), "rotated");
    }
}
