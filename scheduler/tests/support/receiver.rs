//! Who is told: a real HTTP server that answers as a test says, and a real mail server.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse as _, Response},
};
use tempfile::TempDir;

use super::authority::Files;

/// How a request is answered.
#[derive(Debug, Clone, Copy)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// 429, not before so many seconds.
    Later(u64),
    /// Not at all.
    Never,
}

/// What came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    seen: Vec<Seen>,
}

/// Answers 200 to what is not in its script.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    pub async fn start(answers: &[Answer]) -> Self {
        let script = Script { answers: answers.iter().copied().collect(), seen: Vec::new() };
        let script = Arc::new(Mutex::new(script));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let router = Router::new().fallback(take).with_state(Arc::clone(&script));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, script }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hooks/secret-path", self.address)
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.script.lock().expect("the script").seen.clone()
    }

    /// From now on.
    pub fn answers(&self, answers: &[Answer]) {
        self.script.lock().expect("the script").answers = answers.iter().copied().collect();
    }
}

async fn take(State(script): State<Arc<Mutex<Script>>>, headers: HeaderMap, body: Bytes) -> Response {
    let answer = {
        let mut script = script.lock().expect("the script");
        let body = String::from_utf8(body.to_vec()).expect("text");
        script.seen.push(Seen { at: Instant::now(), headers, body });
        script.answers.pop_front().unwrap_or(Answer::Status(200))
    };
    match answer {
        Answer::Status(status) => StatusCode::from_u16(status).expect("a status").into_response(),
        Answer::Later(seconds) => {
            let mut response = StatusCode::TOO_MANY_REQUESTS.into_response();
            response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
            response
        }
        Answer::Never => std::future::pending().await,
    }
}

/// A mail server (aiosmtpd) that keeps what it is sent.
pub struct MailServer {
    pub port: u16,
    folder: TempDir,
    process: Child,
}

impl MailServer {
    /// With a certificate it offers STARTTLS.
    pub fn start(certificate: Option<&Files>) -> Self {
        let python = std::env::var("RINGVAULT_TEST_SMTP")
            .expect("RINGVAULT_TEST_SMTP is not set: this test needs a mail server, run it with dev/test");
        let folder = TempDir::new().expect("a temporary folder");
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        let mut command = Command::new(python);
        command.args(["-m", "aiosmtpd", "-n", "-l", &format!("127.0.0.1:{port}")]);
        if let Some(Files { certificate, key }) = certificate {
            command.arg("--tlscert").arg(certificate).arg("--tlskey").arg(key);
        }
        let mails = folder.path().join("mails");
        command.args(["-c", "aiosmtpd.handlers.Mailbox"]).arg(&mails);
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("aiosmtpd runs");
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "the mail server does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { port, folder, process }
    }

    /// Every mail, as it came.
    pub fn mails(&self) -> Vec<String> {
        let folder: PathBuf = Path::new(self.folder.path()).join("mails/new");
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok()).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
