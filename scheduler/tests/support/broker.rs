//! A virtual host of its own on a real RabbitMQ, for one test.

use std::{process::Command, time::Duration};

use ringvault_queue::{QueueConfig, Role, Session};
use uuid::Uuid;

pub struct Broker {
    vhost: String,
    url: url::Url,
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: this test needs a real RabbitMQ, run it with dev/test")
    })
}

pub fn rabbitmqctl(arguments: &[&str]) {
    let line = variable("RINGVAULT_TEST_RABBITMQCTL");
    let mut words = line.split_whitespace();
    let program = words.next().expect("RINGVAULT_TEST_RABBITMQCTL is a command line");
    let status = Command::new(program).args(words).args(arguments).output().expect("rabbitmqctl runs");
    assert!(status.status.success(), "rabbitmqctl {arguments:?}: {status:?}");
}

impl Broker {
    pub fn new() -> Self {
        let mut url: url::Url = variable("RINGVAULT_TEST_AMQP_URL").parse().expect("an AMQP URL");
        let vhost = format!("scheduler-test-{}", Uuid::now_v7());
        rabbitmqctl(&["add_vhost", &vhost]);
        rabbitmqctl(&["set_permissions", "-p", &vhost, url.username(), ".*", ".*", ".*"]);
        url.set_path(&vhost);
        Self { vhost, url }
    }

    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// The same broker, user and virtual host over TLS.
    pub fn url_by_tls(&self, host: &str, port: u16) -> String {
        let url = self.url.as_str().replacen("amqp://", "amqps://", 1);
        let mut url: url::Url = url.parse().expect("an AMQP URL");
        url.set_host(Some(host)).expect("a host");
        url.set_port(Some(port)).expect("a port");
        url.to_string()
    }

    pub fn config(&self) -> QueueConfig {
        QueueConfig::from_url(self.url.as_str())
    }

    /// A connection that declares nothing.
    pub async fn client(&self) -> Session {
        let session = Session::start(&self.config(), Role::Client, "client").expect("a good URL");
        assert!(session.connected().await);
        session
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // On a panic the virtual host stays, to be looked at.
        if !std::thread::panicking() {
            rabbitmqctl(&["delete_vhost", &self.vhost]);
        }
    }
}

/// Looks again and again until there is what is looked for.
pub async fn until<T, F: AsyncFnMut() -> Option<T>>(what: &str, look: F) -> T {
    until_within(Duration::from_secs(60), what, look).await
}

/// As [`until`], with a patience of one's own.
pub async fn until_within<T, F: AsyncFnMut() -> Option<T>>(limit: Duration, what: &str, mut look: F) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(limit, looking).await.unwrap_or_else(|_| panic!("waited {limit:?} for {what}"))
}
