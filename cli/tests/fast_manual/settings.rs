//! TOML and JSON of the manual. A block of TOML is a policy file, or a part of `scheduler.toml`, of `worker.toml`, or of
//! both: what it leaves out is put in, and the program's own type reads it. One that says `: the defaults` must change
//! nothing. JSON must be JSON, and a request one that a scheduler takes.

use std::path::Path;

use ringvault_core::policy::parse_policies;
use ringvault_queue::{Envelope, Request};
use ringvault_scheduler::Config;
use ringvault_worker::config::WorkerConfig;
use toml::{Table, Value};

use crate::pages::Page;

const SCHEDULER: &str = r#"
id = "s"
listen = "127.0.0.1:1"
postgres.url_file = "/p"
rabbitmq.url_file = "/r"
vault.url = "s3://b/p"
signing.key_file = "/k"
api.admin_token_file = "/t"
"#;
const WORKER: &str = r#"
cluster = "c"
state_dir = "/s"
rabbitmq.url_file = "/r"
vault.url = "s3://b/p"
signing.key_file = "/k"
cassandra = { cql = "c:9042", control = "jolokia", jolokia_url = "http://j", data_dirs = ["/d"] }
"#;
/// In one of the two files and not in the other.
const OF_SCHEDULER: &[&str] = &[
    "id",
    "listen",
    "postgres",
    "api",
    "http",
    "oidc",
    "requests",
    "notify",
    "store_price",
    "retry",
    "timing",
    "history",
];
const OF_WORKER: &[&str] = &["cluster", "state_dir", "cassandra", "worker", "upload", "metrics"];

/// What is wrong with a page's blocks.
pub(crate) fn faults(page: &Page) -> Vec<String> {
    let fault = |block: &crate::pages::Block| {
        let text = &block.piece.text;
        let outcome = match block.language.as_str() {
            "toml" => toml_block(text),
            "json" => json_block(text),
            _ => Ok(()),
        };
        outcome.err().map(|why| format!("{}: {why}", block.piece.place))
    };
    page.blocks.iter().filter_map(fault).collect()
}

fn toml_block(text: &str) -> Result<(), String> {
    let table: Table = text.parse().map_err(|error| format!("no TOML: {error}"))?;
    if table.contains_key("policy") {
        return parse_policies(text).map(|_| ()).map_err(|error| error.to_string());
    }
    let has = |names: &[&str]| table.keys().any(|key| names.contains(&key.as_str()));
    let (of_scheduler, of_worker) = (has(OF_SCHEDULER), has(OF_WORKER));
    let is_default = text.contains(": the defaults");
    if !of_worker || of_scheduler {
        let (plain, with) = (scheduler(Table::new())?, scheduler(table.clone())?);
        if is_default && plain != with {
            return Err(format!("these are not the defaults:\n{plain}\n{with}"));
        }
    }
    if !of_scheduler || of_worker {
        let (plain, with) = (worker(Table::new())?, worker(table)?);
        if is_default && plain != with {
            return Err(format!("these are not the defaults:\n{plain}\n{with}"));
        }
    }
    Ok(())
}

/// The configuration as the scheduler reads it, to be compared.
fn scheduler(part: Table) -> Result<String, String> {
    let text = completed(SCHEDULER, part);
    let config = Config::parse(&text, Path::new("scheduler.toml")).map_err(|error| error.to_string())?;
    Ok(format!("{config:?}"))
}

/// The configuration as a worker reads it, to be compared.
fn worker(part: Table) -> Result<String, String> {
    let text = completed(WORKER, part);
    let config = WorkerConfig::parse(&text, Path::new("worker.toml")).map_err(|error| error.to_string())?;
    Ok(format!("{config:?}"))
}

/// `part` with what it lacks of the least that must be said.
fn completed(least: &str, part: Table) -> String {
    let mut whole: Table = least.parse().unwrap();
    lay_over(&mut whole, part);
    whole.to_string()
}

fn lay_over(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay_over(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

fn json_block(text: &str) -> Result<(), String> {
    // A manifest is several, a line each.
    for value in serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>() {
        let value = value.map_err(|error| format!("no JSON: {error}"))?;
        if value.get("idempotency_key").is_some() {
            let bytes = value.to_string().into_bytes();
            Envelope::<Request>::parse(&bytes).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

#[test]
fn a_wrong_block_is_found() {
    let faults = |text: &str| faults(&Page::parse("p.md", text));
    for (text, says) in [
        (
            "```toml\n[policy.p]\ncluster = 'c'\nschedule = '@daily'\naction = 'backup'\nretention = { keep = 1 }\n```",
            "keep",
        ),
        ("```toml\n[vault]\nurl = 's3://b/p'\nregoin = 'x'\n```", "regoin"),
        ("```toml\n[timing]\npol = '1s'\n```", "pol"),
        ("```toml\n# scheduler.toml: the defaults\n[timing]\npoll = '1s'\n```", "not the defaults"),
        ("```toml\n[cassandra]\ncontrol = 'nodetol'\n```", "nodetol"),
        ("```toml\n[wroker]\nslots = 1\n```", "wroker"),
        ("```toml\nx = \n```", "no TOML"),
        ("- x\n\n  ```json\n  {\"a\": }\n  ```", "no JSON"),
        ("```json\n{\"idempotency_key\": \"k\", \"type\": \"job.creat\"}\n```", "p.md:1"),
    ] {
        let found = faults(text);
        assert!(found.len() == 1 && found[0].contains(says), "{text}: {found:?}");
    }
    let good = "```toml\n[vault.gcs]\nanonymous = true\n```\n```toml\n# worker.toml: the defaults\n[worker]\nslots = 4\n```";
    assert!(faults(good).is_empty(), "{:?}", faults(good));
}
