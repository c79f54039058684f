//! A virtual host of its own on a real RabbitMQ for each test, so that tests neither see each other
//! nor whatever else uses the broker.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::{process::Command, time::Duration};

use chrono::Utc;
use ringvault_core::{TaskId, WorkerId};
use ringvault_queue::{
    Envelope, Publish, QueueConfig, Role, Session, SessionState, TaskMessage,
    message::{Report, TaskGrant, TaskStarted},
};
use url::Url;
use uuid::Uuid;

/// Long enough for a slow machine; nothing waits so long when all is well.
const PATIENCE: Duration = Duration::from_mins(3);

pub struct Broker {
    vhost: String,
    url: Url,
    users: Vec<String>,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: this test needs a real RabbitMQ, run it with dev/test")
    })
}

/// Runs rabbitmqctl and returns what it says.
pub fn rabbitmqctl(arguments: &[&str]) -> String {
    let line = variable("RINGVAULT_TEST_RABBITMQCTL");
    let mut words = line.split_whitespace();
    let program = words.next().expect("RINGVAULT_TEST_RABBITMQCTL is a command line");
    let output = Command::new(program)
        .args(words)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
    assert!(
        output.status.success(),
        "rabbitmqctl {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Broker {
    pub fn new() -> Self {
        let mut url: Url = variable("RINGVAULT_TEST_AMQP_URL").parse().expect("an AMQP URL");
        let vhost = format!("queue-test-{}", Uuid::now_v7());
        rabbitmqctl(&["add_vhost", &vhost]);
        let user = match url.username() {
            "" => "guest".to_owned(),
            user => user.to_owned(),
        };
        rabbitmqctl(&["set_permissions", "-p", &vhost, &user, ".*", ".*", ".*"]);
        url.set_path(&vhost);
        Self { vhost, url, users: Vec::new() }
    }

    pub fn config(&self) -> QueueConfig {
        QueueConfig::from_url(self.url.as_str())
    }

    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    pub fn url(&self) -> &Url {
        &self.url
    }

    /// A user with these rights on the virtual host, and the configuration to connect as that user.
    pub fn add_user(&mut self, configure: &str, write: &str, read: &str) -> QueueConfig {
        let user = format!("user-{}", Uuid::now_v7());
        rabbitmqctl(&["add_user", &user, "a-password"]);
        rabbitmqctl(&["set_permissions", "-p", &self.vhost, &user, configure, write, read]);
        let mut url = self.url.clone();
        url.set_username(&user).expect("a URL with a host");
        url.set_password(Some("a-password")).expect("a URL with a host");
        self.users.push(user);
        QueueConfig::from_url(url.as_str())
    }

    pub fn start(&self, role: Role) -> Session {
        Session::start(&self.config(), role, format!("test {role:?}")).expect("a good configuration")
    }

    pub async fn connect(&self, role: Role) -> Session {
        let session = self.start(role);
        within("the session to connect", session.connected()).await;
        session
    }

    /// Ends every connection to this virtual host, as an operator would.
    pub async fn kill_connections(&self) {
        let vhost = self.vhost.clone();
        // Never `--global`: that means all virtual hosts, and so every other test's connections.
        let kill = move || rabbitmqctl(&["close_all_connections", "--vhost", &vhost, "killed by a test"]);
        tokio::task::spawn_blocking(kill).await.expect("rabbitmqctl");
    }

    pub async fn delete_queue(&self, queue: &str) {
        let (vhost, queue) = (self.vhost.clone(), queue.to_owned());
        let delete = move || rabbitmqctl(&["delete_queue", "-p", &vhost, &queue]);
        tokio::task::spawn_blocking(delete).await.expect("rabbitmqctl");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // On a panic the virtual host stays, to be looked at.
        if !std::thread::panicking() {
            rabbitmqctl(&["delete_vhost", &self.vhost]);
            for user in &self.users {
                rabbitmqctl(&["delete_user", user]);
            }
        }
    }
}

/// Waits, and names what never came.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {} s for {what}", PATIENCE.as_secs()))
}

/// Waits for a state of the session.
pub async fn until(session: &Session, what: &str, is: impl FnMut(&SessionState) -> bool) -> SessionState {
    let mut states = session.state();
    within(what, states.wait_for(is)).await.expect("the session exists").clone()
}

pub fn a_worker() -> WorkerId {
    WorkerId::generate()
}

pub fn a_grant() -> Envelope<TaskMessage> {
    let grant =
        TaskGrant { task: TaskId::generate(), epoch: 1, dispatch_seq: 1, lease_seconds: 60, nonce: None };
    Envelope::new("scheduler/test", Utc::now(), TaskMessage::Grant(grant))
}

pub fn a_report(worker: WorkerId) -> Envelope<Report> {
    let started = TaskStarted { task: TaskId::generate(), epoch: 1, dispatch_seq: 1, worker, nonce: None };
    Envelope::new("worker/test", Utc::now(), Report::Started(started))
}

pub fn to(worker: WorkerId) -> Publish {
    Publish::to_worker(worker, &a_grant()).expect("a small message")
}
