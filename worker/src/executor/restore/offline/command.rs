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
const TAIL: u64 = 16 << 10;
/// Lines told of it.
const LINES: usize = 8;
/// Most characters told of it.
const CHARS: usize = 1600;

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
pub(super) fn with_end(why: String, whose: &str, log: &Path) -> String {
    match end_of(log) {
        Some(end) => format!("{why}; {whose} last: {end}"),
        None => why,
    }
}

/// The last lines of a file, in one.
fn end_of(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let end = lines[lines.len().saturating_sub(LINES)..].join(" | ");
    let skip = end.chars().count().saturating_sub(CHARS);
    let end: String = end.chars().skip(skip).collect();
    (!end.is_empty()).then_some(end)
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
}
