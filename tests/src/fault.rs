//! Breaking parts of the lab for a while.

use std::process::Stdio;

use anyhow::Result;

use crate::Lab;

/// What mends a broken part: done when the test says so, and when the test fails before.
#[derive(Debug)]
pub struct Mend {
    lab: Lab,
    arguments: Vec<String>,
    is_due: bool,
}

impl Mend {
    /// `dev/lab` with `arguments` mends it.
    pub fn with(lab: &Lab, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        Self { lab: lab.clone(), arguments, is_due: true }
    }

    /// Mends it now.
    pub async fn now(mut self) -> Result<()> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.lab.run(&arguments).await?;
        self.is_due = false;
        Ok(())
    }
}

impl Drop for Mend {
    fn drop(&mut self) {
        if self.is_due {
            let mut command = self.lab.command();
            // The test has failed already; the next ones need what it broke.
            let _ = command.as_std_mut().args(&self.arguments).stdin(Stdio::null()).status();
        }
    }
}

/// Stops a node's Cassandra; its worker stays.
pub async fn stop_node(lab: &Lab, cluster: &str, node: u32) -> Result<Mend> {
    let node = node.to_string();
    let mend = Mend::with(lab, &["start-node", &node, "--cluster", cluster]);
    lab.run(&["stop-node", &node, "--cluster", cluster]).await?;
    Ok(mend)
}
