//! The worker's configuration file: one small section a concern, read strictly.

use std::{
    net::SocketAddr,
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use ringvault_cassandra::{control::ControlTimeouts, cql::CqlTls};
use ringvault_core::{ClusterName, HostId, size::parse_size, text, toml_text::from_toml};
use ringvault_queue::QueueConfig;
use ringvault_telemetry::TelemetryConfig;
use ringvault_tls::{ClientTls, PeerName};
use ringvault_vault::{VaultConfig, upload::UploadConfig};
use serde::{Deserialize, Deserializer, de::Error as _};

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkerConfig {
    /// The cluster its node belongs to.
    pub cluster: ClusterName,
    /// The worker's own folder: its id, its lock, its journals.
    pub state_dir: PathBuf,
    /// Where the broker is.
    pub rabbitmq: QueueConfig,
    /// Where the vault is.
    pub vault: VaultConfig,
    /// The key that tasks are signed with.
    pub signing: SigningConfig,
    /// The node.
    pub cassandra: CassandraConfig,
    /// The worker itself.
    #[serde(default)]
    pub worker: WorkerSection,
    /// Parallelism and sizes of uploads.
    #[serde(default)]
    pub upload: UploadConfig,
    /// Where the worker tells Prometheus of itself; without it, it has no port.
    pub metrics: Option<MetricsConfig>,
    /// Where traces go.
    pub telemetry: Option<TelemetryConfig>,
}

/// Figures and probes over HTTP.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsConfig {
    /// Address and port: `127.0.0.1:9470` for this machine alone, `0.0.0.0:9470` for whoever reaches the pod.
    pub listen: SocketAddr,
}

/// The key that tasks and grants are signed with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningConfig {
    /// File with the key, hex.
    pub key_file: PathBuf,
}

/// How the node is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ControlKind {
    /// JMX over HTTP.
    Jolokia,
    /// Cassandra's own tool.
    Nodetool,
}

/// The node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CassandraConfig {
    /// Native protocol address, `host:port`.
    pub cql: String,
    /// User for CQL, with `password_file`.
    pub username: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// TLS with it, where its `client_encryption_options` ask for that.
    pub tls: Option<CqlTlsConfig>,
    /// How to flush, snapshot and import.
    pub control: ControlKind,
    /// Jolokia's address, for `control = "jolokia"`.
    pub jolokia_url: Option<String>,
    /// User for Jolokia, with `jolokia_password_file`.
    pub jolokia_username: Option<String>,
    /// File with the password.
    pub jolokia_password_file: Option<PathBuf>,
    /// nodetool with its options; needed for imports with either control.
    #[serde(default)]
    pub nodetool: Vec<String>,
    /// Data directories, if the control interface cannot tell them: nodetool cannot.
    #[serde(default)]
    pub data_dirs: Vec<PathBuf>,
    /// The node that this machine is to become by an offline restore, where its Cassandra was never started. Once
    /// that node runs here it says so itself, and this may go.
    pub stands_for: Option<HostId>,
    /// How Cassandra is stopped and started, for offline restores; without it there are none.
    pub offline: Option<OfflineConfig>,
    /// How long the node may take to answer a question, in seconds.
    #[serde(default = "question_timeout_seconds")]
    pub question_timeout_seconds: u64,
    /// How long a flush, snapshot, import or cleanup may take, in seconds. Cassandra reads an
    /// SSTable through before it takes it, so a large one takes its time.
    #[serde(default = "work_timeout_seconds")]
    pub work_timeout_seconds: u64,
}

/// `[cassandra.tls]`: whom to trust, who we are, and whose the node's certificate is.
#[allow(clippy::struct_field_names)] // the settings' names, as published
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CqlTlsConfig {
    /// PEM of the authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM of the worker's certificate and chain, with `key_file`, where the node asks for one.
    pub certificate_file: Option<PathBuf>,
    /// PEM of its key.
    pub key_file: Option<PathBuf>,
    /// The name in the node's certificate; the host of `cql` unless said.
    pub server_name: Option<String>,
    /// Whether the certificate must have that name, or need only be signed by an authority that is trusted.
    #[serde(default = "check_name")]
    pub check_name: bool,
}

const fn check_name() -> bool {
    true
}

impl CqlTlsConfig {
    /// What a session with the node at `cql` is made with. Reads every file, so that what is wrong with one is
    /// said at the start.
    pub fn for_node(&self, cql: &str) -> Result<CqlTls, String> {
        let files = ClientTls {
            ca_file: self.ca_file.clone(),
            certificate_file: self.certificate_file.clone(),
            key_file: self.key_file.clone(),
        };
        files.check().map_err(|error| error.to_string())?;
        let host = cql.rsplit_once(':').map_or(cql, |(host, _)| host);
        // As addresses of IPv6 stand before a port.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = match (&self.server_name, self.check_name) {
            (Some(_), false) => return Err("server_name is of no use where check_name is false".to_owned()),
            (Some(name), true) => PeerName::named(name).map_err(|error| format!("server_name {error}"))?,
            (None, true) => {
                PeerName::named(host).map_err(|error| format!("the host of cassandra.cql {error}"))?
            }
            (None, false) => PeerName::Any,
        };
        Ok(CqlTls { files, name })
    }
}

/// What an offline restore needs to know of the node.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineConfig {
    /// Stops Cassandra: a program with its arguments. It ends once Cassandra's process has ended, with 0
    /// also where Cassandra did not run.
    pub stop_command: Vec<String>,
    /// Starts Cassandra: a program with its arguments. It ends with 0, and changes nothing, where Cassandra runs.
    pub start_command: Vec<String>,
    /// Cassandra's `commitlog_directory`: its content belongs to the data, and is taken away with it.
    pub commitlog_dir: PathBuf,
    /// Cassandra's `saved_caches_directory`: likewise.
    pub saved_caches_dir: PathBuf,
    /// Cassandra's `hints_directory`: taken away where all of the ring goes back in time.
    pub hints_dir: PathBuf,
    /// Cassandra's log, whose end is told when it does not come up.
    pub log_file: Option<PathBuf>,
    /// How long each of the commands may take, in seconds.
    #[serde(default = "command_timeout_seconds")]
    pub command_timeout_seconds: u64,
    /// How long Cassandra may take to come up with what was restored, in seconds; then its old data is put back.
    #[serde(default = "up_timeout_seconds")]
    pub up_timeout_seconds: u64,
}

const fn command_timeout_seconds() -> u64 {
    300
}

const fn up_timeout_seconds() -> u64 {
    900
}

fn question_timeout_seconds() -> u64 {
    ControlTimeouts::default().question.as_secs()
}

fn work_timeout_seconds() -> u64 {
    ControlTimeouts::default().work.as_secs()
}

/// The worker itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSection {
    /// Tasks at once.
    pub slots: u32,
    /// Of these, kept for short tasks such as snapshots.
    pub short_slots: u32,
    /// Rights beyond its own node, such as `vault.delete`.
    pub capabilities: Vec<String>,
    /// Where restored files are staged; must be on the data directories' file system for files to
    /// be linked. Default: `ringvault-stage` beside the first data directory.
    pub stage_dir: Option<PathBuf>,
    /// Seconds between announcements.
    pub hello_seconds: u64,
    /// Bytes a second that all uploads and downloads of the node keep to together, beside the limits of their jobs;
    /// written as `200MiB`. No limit when absent.
    #[serde(deserialize_with = "rate")]
    pub rate_limit: Option<u64>,
    /// Requests a second that all of the worker keeps to at its stores, beside the limits of jobs. No limit when absent.
    pub request_limit: Option<NonZeroU64>,
}

/// Reads `200MiB`.
fn rate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(deserializer)?;
    match parse_size(&text).map_err(D::Error::custom)? {
        0 => Err(D::Error::custom("a rate of nothing never ends: leave it out for no limit")),
        bytes => Ok(Some(bytes)),
    }
}

impl Default for WorkerSection {
    fn default() -> Self {
        Self {
            slots: 4,
            short_slots: 1,
            capabilities: Vec::new(),
            stage_dir: None,
            hello_seconds: 60,
            rate_limit: None,
            request_limit: None,
        }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigProblem {
    /// The file cannot be read.
    #[error("error[RV-CONFIG]: {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// Not TOML, an unknown field, a value of the wrong kind: names line and column.
    #[error("error[RV-CONFIG]: {}: {cause}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// What and where.
        cause: String,
    },
    /// Fields that do not go together.
    #[error("error[RV-CONFIG]: {}: {why}", path.display())]
    Meaning {
        /// The file.
        path: PathBuf,
        /// Which and why.
        why: &'static str,
    },
}

impl WorkerConfig {
    /// Where temporary files go; made when the worker starts.
    pub fn scratch_dir(&self) -> PathBuf {
        self.state_dir.join("scratch")
    }

    /// Reads and checks a file.
    pub fn from_file(path: &Path) -> Result<Self, ConfigProblem> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| ConfigProblem::Unreadable { path: path.to_owned(), cause })?;
        Self::parse(&text, path)
    }

    /// Reads and checks the text of a file; `path` names it in errors.
    pub fn parse(toml: &str, path: &Path) -> Result<Self, ConfigProblem> {
        let config: Self = from_toml(toml)
            .map_err(|error| ConfigProblem::Syntax { path: path.to_owned(), cause: text::cause(error) })?;
        match config.problem() {
            Some(why) => Err(ConfigProblem::Meaning { path: path.to_owned(), why }),
            None => Ok(config),
        }
    }

    fn problem(&self) -> Option<&'static str> {
        let node = &self.cassandra;
        let rules = [
            (
                node.control != ControlKind::Jolokia || node.jolokia_url.is_some(),
                "cassandra.control = \"jolokia\" needs cassandra.jolokia_url",
            ),
            (
                node.control != ControlKind::Nodetool || !node.nodetool.is_empty(),
                "cassandra.control = \"nodetool\" needs cassandra.nodetool",
            ),
            (
                node.control != ControlKind::Nodetool || !node.data_dirs.is_empty(),
                "cassandra.control = \"nodetool\" needs cassandra.data_dirs: nodetool does not tell them",
            ),
            (
                node.jolokia_username.is_some() == node.jolokia_password_file.is_some(),
                "cassandra.jolokia_username and cassandra.jolokia_password_file go together",
            ),
            (
                node.question_timeout_seconds > 0 && node.work_timeout_seconds > 0,
                "cassandra.question_timeout_seconds and cassandra.work_timeout_seconds must be positive",
            ),
            (
                node.stands_for.is_none() || (node.offline.is_some() && !node.data_dirs.is_empty()),
                "cassandra.stands_for needs cassandra.data_dirs and [cassandra.offline]",
            ),
            (
                node.offline.as_ref().is_none_or(|offline| {
                    !offline.stop_command.is_empty() && !offline.start_command.is_empty()
                }),
                "cassandra.offline.stop_command and start_command name a program",
            ),
            (
                node.offline.as_ref().is_none_or(|offline| {
                    offline.command_timeout_seconds > 0 && offline.up_timeout_seconds > 0
                }),
                "cassandra.offline.command_timeout_seconds and up_timeout_seconds must be positive",
            ),
            (
                node.username.is_some() == node.password_file.is_some(),
                "cassandra.username and cassandra.password_file go together",
            ),
            (
                self.worker.short_slots < self.worker.slots,
                "worker.slots must be more than worker.short_slots",
            ),
        ];
        rules.into_iter().find(|(kept, _)| !kept).map(|(_, why)| why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
cluster = "lab"
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
"#;

    fn read(text: &str) -> Result<WorkerConfig, ConfigProblem> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        WorkerConfig::from_file(file.path())
    }

    #[test]
    fn a_misspelt_field_is_refused_with_its_line() {
        assert_eq!(read(GOOD).unwrap().worker.slots, 4);
        let error = read(&GOOD.replace("jolokia_url", "jolokia_uri")).unwrap_err().to_string();
        assert!(error.contains("jolokia_uri") && error.contains("line 13"), "{error}");
    }

    #[test]
    fn a_node_has_a_rate_of_its_own_if_it_is_given_one() {
        let with = |rate: &str| read(&format!("{GOOD}[worker]\nrate_limit = {rate}\n"));
        assert_eq!(read(GOOD).unwrap().worker.rate_limit, None);
        assert_eq!(with("\"200MiB\"").unwrap().worker.rate_limit, Some(200 << 20));
        for wrong in ["\"0\"", "\"fast\"", "200"] {
            let error = with(wrong).unwrap_err().to_string();
            assert!(error.contains("rate_limit") || error.contains("line"), "{error}");
        }
    }

    #[test]
    fn a_node_has_a_limit_of_requests_if_it_is_given_one() {
        let with = |limit: &str| read(&format!("{GOOD}[worker]\nrequest_limit = {limit}\n"));
        assert_eq!(read(GOOD).unwrap().worker.request_limit, None);
        assert_eq!(with("200").unwrap().worker.request_limit.map(NonZeroU64::get), Some(200));
        for wrong in ["0", "-1", "\"200\"", "2.5"] {
            let error = with(wrong).unwrap_err().to_string();
            assert!(error.contains("request_limit") || error.contains("line"), "{error}");
        }
    }

    #[test]
    fn metrics_are_served_where_it_is_asked_for_and_nowhere_else() {
        assert!(read(GOOD).unwrap().metrics.is_none());
        let config = read(&format!("{GOOD}[metrics]\nlisten = \"127.0.0.1:9470\"\n")).unwrap();
        assert_eq!(config.metrics.unwrap().listen.port(), 9470);
        for wrong in ["listen = \"9470\"", "listen = \"127.0.0.1\"", "port = 9470", ""] {
            let error = read(&format!("{GOOD}[metrics]\n{wrong}\n")).unwrap_err().to_string();
            assert!(error.contains("metrics") || error.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn a_machine_that_is_to_become_a_node_knows_how_to_start_it() {
        let offline = "\n[cassandra.offline]\nstop_command = [\"stop\"]\nstart_command = [\"start\"]\n\
             commitlog_dir = \"/c\"\nsaved_caches_dir = \"/s\"\nhints_dir = \"/h\"\n";
        let stands_for = GOOD.replace(
            "cql =",
            "data_dirs = [\"/d\"]\nstands_for = \"00000000-0000-0000-0000-000000000001\"\ncql =",
        );
        let config = read(&format!("{stands_for}{offline}")).unwrap().cassandra.offline.unwrap();
        assert_eq!((config.command_timeout_seconds, config.up_timeout_seconds), (300, 900));
        for (from, to) in [("[\"stop\"]", "[]"), ("hints_dir", "up_timeout_seconds = 0\nhints_dir")] {
            let text = format!("{stands_for}{}", offline.replace(from, to));
            assert!(matches!(read(&text), Err(ConfigProblem::Meaning { .. })), "{text}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for (from, to) in [
            ("control = \"jolokia\"", "control = \"nodetool\"\ndata_dirs = [\"/data\"]"),
            ("control = \"jolokia\"", "control = \"nodetool\"\nnodetool = [\"nodetool\"]"),
            ("cql =", "jolokia_username = \"u\"\ncql ="),
            ("cql =", "work_timeout_seconds = 0\ncql ="),
            ("cql =", "username = \"u\"\ncql ="),
            ("cql =", "stands_for = \"00000000-0000-0000-0000-000000000001\"\ncql ="),
            ("[cassandra]", "[worker]\nslots = 1\nshort_slots = 1\n[cassandra]"),
        ] {
            assert!(matches!(read(&GOOD.replace(from, to)), Err(ConfigProblem::Meaning { .. })));
        }
    }
}
