//! `--probe`: the scheduler that runs with a configuration is asked how it is, by its own program.
//!
//! For images without a shell or `curl`, and for scripts. Kubernetes asks `/healthz` and `/readyz` itself.
//!
//! Where the API is served over TLS the certificate is not judged: it is for the name that people know the scheduler
//! by, not for this machine's own address, and nothing that is secret is said. Where clients need one, the scheduler's
//! own is shown.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use ringvault_tls::ServerTls;

/// How long an answer may take: longer than a scheduler waits for its servers.
const PATIENCE: Duration = Duration::from_secs(8);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Probe {
    /// Whether the process answers.
    Live,
    /// Whether the servers that it needs can be used.
    Ready,
}

impl Probe {
    const fn path(self) -> &'static str {
        match self {
            Self::Live => "healthz",
            Self::Ready => "readyz",
        }
    }
}

/// Why the scheduler is not as it was asked to be.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// Nobody answers.
    #[error("no scheduler answers at {url}: {cause}")]
    Silent {
        /// Where.
        url: String,
        /// Why.
        cause: reqwest::Error,
    },
    /// What to show it cannot be read.
    #[error("{path} cannot be read: {cause}")]
    File {
        /// Certificate or key.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It says so itself.
    #[error("the scheduler at {url} says {status}: {answer}")]
    Said {
        /// Where.
        url: String,
        /// Such as 503.
        status: u16,
        /// Which server is down.
        answer: String,
    },
}

/// Asks the scheduler that listens at `listen` on this machine.
pub async fn ask(listen: SocketAddr, tls: Option<&ServerTls>, what: Probe) -> Result<(), Unwell> {
    let scheme = if tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/{}", reachable(listen), what.path());
    let silent = |cause| Unwell::Silent { url: url.clone(), cause };
    let mut client = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
    if let Some(files) = tls {
        client = client.tls_danger_accept_invalid_certs(true);
        if files.client_ca_file.is_some() {
            let mut pem = read(&files.certificate_file)?;
            pem.extend(read(&files.key_file)?);
            client = client.identity(reqwest::Identity::from_pem(&pem).map_err(silent)?);
        }
    }
    let client = client.build().map_err(silent)?;
    let answer = client.get(&url).send().await.map_err(silent)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let answer = answer.text().await.unwrap_or_default();
    Err(Unwell::Said { status: status.as_u16(), answer, url })
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Unwell> {
    std::fs::read(path).map_err(|cause| Unwell::File { path: path.clone(), cause })
}

/// Who listens everywhere is met at home.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::StatusCode, routing::get};

    use super::*;

    #[tokio::test]
    async fn what_the_scheduler_says_is_the_answer() {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let unready = get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "postgres down") });
        let app = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", unready);
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        ask(address, None, Probe::Live).await.unwrap();
        let said = ask(address, None, Probe::Ready).await.unwrap_err().to_string();
        assert!(said.contains("503") && said.contains("postgres down"), "{said}");
        server.abort();
        let _ = server.await;
        assert!(matches!(ask(address, None, Probe::Live).await, Err(Unwell::Silent { .. })));
    }
}
