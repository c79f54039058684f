//! A proxy in front of the store that can misbehave: bytes go through as they are, so that
//! signatures hold, unless it is told to answer by itself, to break off, or to be slow.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use super::relay::Relay;

/// Bytes of an answer that still go through before it breaks off.
const CUT_AFTER: usize = 700;
/// Pause before each piece when it is slow.
const SLOW: Duration = Duration::from_millis(250);
/// Longest head of a request that is read.
const MAX_HEAD: usize = 64 << 10;

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// As if it were not there.
    Honest,
    /// Every request gets this status.
    Answers(u16),
    /// Answers break off.
    Cuts,
    /// Every piece is late.
    Slow,
}

/// The proxy.
#[derive(Debug)]
pub(super) struct Proxy(Relay<Manner>);

impl Proxy {
    /// Before the store at `to`, such as `127.0.0.1:7070`.
    pub(super) async fn before(to: &str) -> Result<Self> {
        Ok(Self(Relay::before(to, Manner::Honest, serve).await?))
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Behaves so from now on. Connections under way end: what they carried is unknown to both sides.
    pub(super) fn behave(&self, manner: Manner) {
        self.0.behave(manner);
    }
}

async fn serve(client: TcpStream, to: String, mut manner: watch::Receiver<Manner>) {
    let now = *manner.borrow_and_update();
    let served = async {
        match now {
            Manner::Answers(status) => answer(client, status).await,
            Manner::Honest | Manner::Cuts | Manner::Slow => pass(client, &to, now).await,
        }
    };
    // Errors are the point: whoever is connected sees them.
    tokio::select! {
        _ = served => {}
        _ = manner.changed() => {}
    }
}

async fn pass(mut client: TcpStream, to: &str, manner: Manner) -> std::io::Result<()> {
    let mut store = TcpStream::connect(to).await?;
    let (mut from_client, mut to_client) = client.split();
    let (mut from_store, mut to_store) = store.split();
    let up = async {
        let mut piece = vec![0; 64 << 10];
        loop {
            let read = from_client.read(&mut piece).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>(());
            }
            if manner == Manner::Slow {
                tokio::time::sleep(SLOW).await;
            }
            to_store.write_all(&piece[..read]).await?;
        }
    };
    let down = async {
        let mut piece = vec![0; 64 << 10];
        let mut left = if manner == Manner::Cuts { CUT_AFTER } else { usize::MAX };
        loop {
            let read = from_store.read(&mut piece).await?;
            if read == 0 {
                return Ok::<_, std::io::Error>(());
            }
            if manner == Manner::Slow {
                tokio::time::sleep(SLOW).await;
            }
            to_client.write_all(&piece[..read.min(left)]).await?;
            left = left.saturating_sub(read);
            if left == 0 {
                return Ok(());
            }
        }
    };
    tokio::select! { done = up => done, done = down => done }
}

/// Reads requests to their end, so that the answer is seen, and refuses each.
async fn answer(mut client: TcpStream, status: u16) -> std::io::Result<()> {
    let code = if status == 503 { "SlowDown" } else { "InternalError" };
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>chaos</Message></Error>");
    let reply = format!(
        "HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {}\r\nConnection: \
         close\r\n\r\n{body}",
        body.len()
    );
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let end = head.windows(4).position(|end| end == b"\r\n\r\n").map_or(head.len(), |at| at + 4);
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    if text.contains("expect: 100-continue") {
        client.write_all(reply.as_bytes()).await?;
        return client.shutdown().await;
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok())
        .unwrap_or_default();
    let mut left = length.saturating_sub(head.len() - end);
    let mut piece = vec![0; 64 << 10];
    while left > 0 {
        let read = client.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        left = left.saturating_sub(read);
    }
    client.write_all(reply.as_bytes()).await?;
    client.shutdown().await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn ask(proxy: &Proxy) -> Vec<u8> {
        let mut client = TcpStream::connect(proxy.address()).await.unwrap();
        let request = b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
        let mut answer = Vec::new();
        if client.write_all(request).await.is_ok() {
            client.read_to_end(&mut answer).await.ok();
        }
        answer
    }

    #[tokio::test]
    async fn it_passes_refuses_and_breaks_off() {
        let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = store.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = store.accept().await {
                let mut piece = [0; 1024];
                assert!(client.read(&mut piece).await.is_ok_and(|read| read > 0));
                client.write_all(&[b'x'; 2000]).await.ok();
            }
        });
        let proxy = Proxy::before(&to).await.unwrap();
        assert_eq!(ask(&proxy).await.len(), 2000);
        proxy.behave(Manner::Answers(503));
        assert!(ask(&proxy).await.starts_with(b"HTTP/1.1 503 SlowDown"));
        proxy.behave(Manner::Cuts);
        assert_eq!(ask(&proxy).await.len(), CUT_AFTER);
    }
}
