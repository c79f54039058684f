//! Configuration files of both programs.

use std::path::Path;

use ringvault_scheduler::Config;
use ringvault_worker::config::WorkerConfig;

use super::{SOME, Target};
use crate::{harness::told, mutate, seeds};

super::targets! {
    config => Target {
        name: "config",
        seeds: seeds::texts(&[SCHEDULER, WORKER]),
        mutate: mutate::text,
        base: SOME,
        factor: 256,
        parse: try_config,
    };
}

const SCHEDULER: &str = r#"id = "sched-1"
listen = "127.0.0.1:8090"

[postgres]
url_file = "/run/postgres-url"

[rabbitmq]
url = "amqp://user:secret@[::1]:5672/vhost?heartbeat=5"

[vault]
url = "s3://bucket/prefix"
endpoint = "http://127.0.0.1:9000"
region = "eu-1"
path_style = true
access_key_file = "/run/a"
secret_key_file = "/run/s"
checksums = "when_required"

[signing]
key_file = "/run/signing-key"

[api]
admin_token_file = "/run/token"

[retry]
lease = "3s"

[timing]
poll = "50ms"

[history]
keep = "90d"
keep_last = 20

[requests]
billing = "operator"
"*" = "viewer"
"#;
const WORKER: &str = r#"cluster = "lab"
state_dir = "/var/lib/ringvault"
[rabbitmq]
url_file = "/etc/ringvault/amqp"
[vault]
url = "file:///vault"
[signing]
key_file = "/etc/ringvault/key"
[cassandra]
cql = "127.0.0.1:9042"
control = "jolokia"
jolokia_url = "http://127.0.0.1:8778/jolokia/"
nodetool = ["nodetool", "-h", "127.0.0.1"]
data_dirs = ["/data"]
[worker]
slots = 4
short_slots = 1
capabilities = ["vault.delete"]
"#;

fn try_config(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Err(error) = Config::parse(&text, Path::new("s.toml")) {
        told(error);
    }
    match WorkerConfig::parse(&text, Path::new("w.toml")) {
        Ok(config) => assert!(config.worker.short_slots < config.worker.slots),
        Err(error) => told(error),
    }
}
