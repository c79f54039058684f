//! A socket that whoever asks cannot use up: few connections at once, and none that stands still.
//!
//! The worker shares its open files with the tasks that back a node up, so what comes from outside is
//! bounded; a client that asks more often waits until one of its connections has ended.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Connections at once: a few Prometheus servers, and whoever looks by hand.
const AT_ONCE: usize = 16;
/// A connection over which nothing comes for so long is closed; Prometheus opens another.
const IDLE: Duration = Duration::from_secs(180);

/// The socket.
pub(super) struct Bounded {
    socket: TcpListener,
    seats: Arc<Semaphore>,
    idle: Duration,
}

impl Bounded {
    pub(super) fn new(socket: TcpListener) -> Self {
        Self { socket, seats: Arc::new(Semaphore::new(AT_ONCE)), idle: IDLE }
    }
}

impl axum::serve::Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Never closed; without a seat a connection would only be unbounded.
        let seat = Arc::clone(&self.seats).acquire_owned().await.ok();
        let (stream, peer) = axum::serve::Listener::accept(&mut self.socket).await;
        (Connection { stream, idle: self.idle, end: Box::pin(sleep(self.idle)), _seat: seat }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// One connection; its seat is free once it is dropped.
pub(super) struct Connection {
    stream: TcpStream,
    idle: Duration,
    end: Pin<Box<Sleep>>,
    _seat: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            let end = Instant::now() + self.idle;
            self.end.as_mut().reset(end);
            return read;
        }
        self.end.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, routing::get};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn connections_that_stand_still_end_and_make_room() {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let bounded = Bounded { idle: Duration::from_millis(300), ..Bounded::new(socket) };
        let router = Router::new().route("/", get(async || "here"));
        let serving = tokio::spawn(async move { axum::serve(bounded, router).await });
        let mut still = Vec::new();
        for _ in 0..AT_ONCE {
            still.push(TcpStream::connect(address).await.unwrap());
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_string(&mut answer)).await;
        read.expect("a seat became free").unwrap();
        assert!(answer.ends_with("here"), "{answer}");
        let closed = still[0].read(&mut [0; 1]).await;
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
        serving.abort();
    }
}
