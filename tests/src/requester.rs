//! Other systems, in other languages: the programs in `clients` publish requests and listen to
//! events with nothing but the committed message schemas to go by.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::process::Command;

use crate::{
    Lab,
    process::{Ended, run_for},
};

/// What the client is told to do.
#[derive(Debug, Default, Serialize)]
pub struct Errand {
    /// Message bodies, published one after another.
    pub publish: Vec<String>,
    /// Events to wait for.
    pub wait_for: Vec<Expected>,
    /// How long, in seconds.
    pub seconds: u64,
}

/// An event that must come.
#[derive(Debug, Clone, Serialize)]
pub struct Expected {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Fields of its payload.
    pub payload: BTreeMap<String, Value>,
}

impl Expected {
    /// An event of this type with these fields.
    pub fn new<const N: usize>(kind: &str, fields: [(&str, &str); N]) -> Self {
        let payload = fields.map(|(name, value)| (name.to_owned(), Value::from(value)));
        Self { kind: kind.to_owned(), payload: payload.into() }
    }
}

/// An event as it came.
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// Routing key.
    pub routing_key: String,
    /// The envelope.
    pub body: Value,
}

/// A message in the dead queue.
#[derive(Debug, Clone, Deserialize)]
pub struct Dead {
    /// Why it is there.
    pub reason: String,
    /// The queue it was on.
    pub queue: String,
    /// What was sent.
    pub body: String,
}

/// Publishes, waits for the events, and returns all that came.
pub async fn request(lab: &Lab, errand: &Errand) -> Result<Vec<Event>> {
    let url = lab.status().await?.services.rabbitmq.requester_url_file;
    let limit = Duration::from_secs(errand.seconds + 30);
    client(lab, &["errand"], &url, &serde_json::to_string(errand)?, limit).await?.json()
}

/// What lies in the dead queue. It stays there.
pub async fn dead(lab: &Lab) -> Result<Vec<Dead>> {
    let url = lab.status().await?.services.rabbitmq.administrator_url_file;
    client(lab, &["dead"], &url, "", Duration::from_mins(1)).await?.json()
}

async fn client(lab: &Lab, arguments: &[&str], url: &Path, input: &str, limit: Duration) -> Result<Ended> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), input)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/request.py");
    let mut command = lab.command();
    command.arg("python").arg(script).args(arguments).arg(url).arg(file.path());
    run_for(&mut command, limit).await?.expect(0)
}

/// What the program that `dev/lab tool` has under this name (see `clients/go`, `clients/java`) makes
/// of asking for a backup of a keyspace.
pub async fn ask(lab: &Lab, program: &str, [cluster, keyspace, backup, key]: [&str; 4]) -> Result<Ended> {
    let url = lab.status().await?.services.rabbitmq.requester_url_file;
    let built = lab.run(&["tool", program]).await?.stdout;
    let mut command = Command::new(built.trim());
    command.arg(url).args([cluster, keyspace, backup, key]);
    run_for(&mut command, Duration::from_mins(3)).await
}
