//! Running nodetool once, and what it means when it fails.

use std::{io, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Command,
};

use super::{
    super::{Result, output},
    Nodetool,
};
use crate::{
    NodeErrorKind,
    error::{kind_of_message, quote},
};

/// Longest text that is read, in bytes. The longest that is asked for names every member of a ring, or says
/// what became of every directory of an import.
const MAX_BYTES: u64 = 16 << 20;

/// What nodetool said.
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) status: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Said {
    pub(super) fn both(&self) -> String {
        format!("{}\n{}", self.stderr.trim(), self.stdout.trim())
    }
}

impl Nodetool {
    pub(super) async fn run(&self, operation: &str, args: &[&str], timeout: Duration) -> Result<Said> {
        let Some((program, first)) = self.config.argv.split_first() else {
            let kind = NodeErrorKind::Refused("no nodetool is configured".to_owned());
            return Err(self.error(operation, kind));
        };
        let child = Command::new(program)
            .args(first)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let mut child = child.map_err(|error| {
            let what = format!("{program} cannot be started: {error}");
            self.error(operation, NodeErrorKind::Unreachable(what))
        })?;
        // On a timeout the future is dropped, and with it the child, which is then killed.
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let all = async { futures::try_join!(text_of(stdout), text_of(stderr), child.wait()) };
        let (stdout, stderr, status) = tokio::time::timeout(timeout, all)
            .await
            .map_err(|_| self.error(operation, NodeErrorKind::Timeout(timeout)))?
            .map_err(|error| self.failed(operation, &format!("nodetool: {error}")))?;
        Ok(Said { success: status.success(), status: status.to_string(), stdout, stderr })
    }
}

/// All that a program prints, which is an error when it is more than any answer.
async fn text_of(stream: Option<impl AsyncRead + Unpin>) -> io::Result<String> {
    let Some(stream) = stream else { return Ok(String::new()) };
    let mut text = Vec::new();
    stream.take(MAX_BYTES + 1).read_to_end(&mut text).await?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!("it printed more than {MAX_BYTES} bytes")));
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

pub(super) fn kind_of_output(said: &Said) -> NodeErrorKind {
    let text = said.both();
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    if has(&[
        "Failed to connect to",
        "Connection refused",
        "Has this node finished starting up",
        "java.rmi.ConnectException",
        "java.rmi.UnmarshalException",
        "The client has been closed",
    ]) {
        return NodeErrorKind::Unreachable(quote(&output::without_stack_trace(&text)));
    }
    match kind_of_message(&output::without_stack_trace(&text)) {
        // nodetool's exit status 1 is a request it refused itself (unknown option, bad argument).
        NodeErrorKind::Failed(words) if text.contains("See 'nodetool help'") => NodeErrorKind::Refused(words),
        NodeErrorKind::Failed(words) if words.is_empty() => {
            NodeErrorKind::Failed(format!("nodetool said nothing and ended with {}", said.status))
        }
        kind => kind,
    }
}
