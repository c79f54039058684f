//! A PostgreSQL of the test's own that speaks TLS, and a TLS listener of the lab's RabbitMQ with
//! certificates of the test's.
#![allow(clippy::unnecessary_debug_formatting)] // as a string in quotes, for TOML

use std::{
    net::TcpListener,
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::{authority::Files, broker::rabbitmqctl};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port()
}

/// A TLS listener of the lab's broker; it goes with the value.
pub struct TlsListener {
    pub port: u16,
}

impl TlsListener {
    /// Presents `server`, and lets nobody in whose certificate `client_ca` did not sign, where given.
    pub fn start(server: &Files, ca: &Path, is_mutual: bool) -> Self {
        let port = free_port();
        let verify = if is_mutual {
            "{verify,verify_peer},{fail_if_no_peer_cert,true}"
        } else {
            "{verify,verify_none}"
        };
        let options = format!(
            "[{{cacertfile,{ca:?}}},{{certfile,{:?}}},{{keyfile,{:?}}},{verify}]",
            server.certificate, server.key
        );
        let call =
            format!("ok = rabbit_networking:start_ssl_listener({{\"127.0.0.1\",{port},auto}},{options},1).");
        rabbitmqctl(&["eval", &call]);
        Self { port }
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        let call = format!("rabbit_networking:stop_tcp_listener({{\"127.0.0.1\",{},auto}}).", self.port);
        if !std::thread::panicking() {
            rabbitmqctl(&["eval", &call]);
        }
    }
}

/// A server with a database `postgres` and the user `postgres`, who needs a certificate of `client_ca`.
pub struct Postgres {
    pub port: u16,
    folder: TempDir,
    process: Child,
}

/// Debian's newest.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let newest = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max();
    format!("/usr/lib/postgresql/{}/bin", newest.expect("a version of PostgreSQL")).into()
}

/// PostgreSQL refuses to run as root: then it is Debian's user for it.
fn account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("the users");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("the user postgres");
    let mut ids = line.split(':').skip(2).filter_map(|id| id.parse().ok());
    Some((ids.next()?, ids.next()?))
}

fn program(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(programs().join(name));
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((user, group)) = account() {
        command.gid(group).uid(user);
    }
    command
}

impl Postgres {
    pub fn start(server: &Files, client_ca: &Path) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let give = |path: &Path| {
            if let Some((user, group)) = account() {
                chown(path, Some(user), Some(group)).expect("given to postgres");
            }
        };
        give(folder.path());
        let data = folder.path().join("data");
        let made = program("initdb", folder.path())
            .args(["-U", "postgres", "-A", "trust", "--no-sync", "-D"])
            .arg(&data)
            .status()
            .expect("initdb runs");
        assert!(made.success(), "initdb: {made:?}");
        for (from, to) in [
            (&server.certificate, "server.pem"),
            (&server.key, "server.key"),
            (&client_ca.to_owned(), "ca.pem"),
        ] {
            let to = data.join(to);
            std::fs::copy(from, &to).expect("copied");
            std::fs::set_permissions(&to, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .expect("kept close");
            give(&to);
        }
        std::fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n")
            .expect("who may connect");
        let port = free_port();
        let settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\nssl = on\nfsync = off\n\
             ssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\nssl_ca_file = 'ca.pem'\n"
        );
        std::fs::write(data.join("postgresql.auto.conf"), settings).expect("the settings");
        let process = program("postgres", folder.path()).arg("-D").arg(&data).spawn().expect("postgres runs");
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "PostgreSQL does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { port, folder, process }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its fast shutdown: it waits for no client.
        let _ = rustix::process::kill_process(Pid::from_child(&self.process), Signal::INT);
        let _ = self.process.wait();
    }
}
