//! The API's socket, in the clear or over TLS.
//!
//! Handshakes go on beside each other, bounded in number and time: who connects and says nothing keeps
//! nobody else out. The files are looked at every few seconds; when they have changed and are sound, new
//! connections meet the new certificate, those that stand go on with the old one. Files that do not fit
//! together (a renewal that is half written, or a wrong one) change nothing but a line in the log.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use chrono::{DateTime, Utc};
use ringvault_tls::{ServerTls, TlsError};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// Handshakes at once.
const HANDSHAKES: usize = 256;
/// How long one may take.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(10);
/// How long a peer that was turned away may take to hear it.
const PARTING: Duration = Duration::from_secs(2);
/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);
/// After a socket that could not be accepted: mostly that there are too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// What new connections are met with.
#[derive(Debug)]
pub(super) struct Certificate {
    files: ServerTls,
    now: RwLock<(Arc<ServerConfig>, DateTime<Utc>)>,
}

impl Certificate {
    /// Reads the files.
    pub(super) fn read(files: &ServerTls) -> Result<Arc<Self>, TlsError> {
        let (config, identity) = files.config()?;
        Ok(Arc::new(Self { files: files.clone(), now: RwLock::new((config, identity.not_after)) }))
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    /// When the certificate in use ends.
    pub(super) fn not_after(&self) -> DateTime<Utc> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Takes over what the files say whenever they change, until `stop`.
    pub(super) async fn follow(&self, stop: &CancellationToken) {
        let mut seen = self.files.contents();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let found = self.files.contents();
            if found == seen {
                continue;
            }
            seen = found;
            match self.files.config() {
                Ok((config, identity)) => {
                    let not_after = identity.not_after;
                    *self.now.write().unwrap_or_else(PoisonError::into_inner) = (config, not_after);
                    tracing::info!(%not_after, "http.tls: the files have changed and are used from now on");
                }
                Err(error) => {
                    tracing::error!(%error, "http.tls: the files have changed but cannot be used; the former go on");
                }
            }
        }
    }
}

/// A socket that takes connections.
#[derive(Debug)]
pub(super) enum Socket {
    /// As they come.
    Plain(TcpListener),
    /// Those whose handshake is done.
    Tls {
        ready: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
        listen: SocketAddr,
        accepting: JoinHandle<()>,
    },
}

impl Socket {
    /// Begins to take connections of `listener`, over TLS if there is a certificate.
    pub(super) fn over(listener: TcpListener, certificate: Option<Arc<Certificate>>) -> io::Result<Self> {
        let Some(certificate) = certificate else {
            return Ok(Self::Plain(listener));
        };
        let listen = listener.local_addr()?;
        let (done, ready) = mpsc::channel(HANDSHAKES);
        Ok(Self::Tls { ready, listen, accepting: tokio::spawn(accept(listener, certificate, done)) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Self::Tls { accepting, .. } = self {
            accepting.abort();
        }
    }
}

async fn accept(
    listener: TcpListener,
    certificate: Arc<Certificate>,
    done: mpsc::Sender<(TlsStream<TcpStream>, SocketAddr)>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
        let (plain, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (acceptor, done) = (TlsAcceptor::from(certificate.config()), done.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(HANDSHAKE_PATIENCE, acceptor.accept(plain).into_fallible()).await {
                // The server may be gone by now.
                Ok(Ok(stream)) => drop(done.send((stream, peer)).await),
                Ok(Err((error, socket))) => {
                    tracing::debug!(%peer, %error, "a TLS handshake failed");
                    part(socket).await;
                }
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            }
            drop(permit);
        });
    }
}

/// Ends a connection whose peer was told why. Closed at once, with something of the peer's unread, it would
/// be reset, and the peer learn of that instead.
async fn part(mut socket: TcpStream) {
    let _ = socket.shutdown().await;
    let mut rest = [0; 1024];
    let unread = async { while matches!(socket.read(&mut rest).await, Ok(count) if count > 0) {} };
    let _ = tokio::time::timeout(PARTING, unread).await;
}

/// One connection.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Listener for Socket {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        match self {
            Self::Plain(listener) => {
                let (stream, peer) = Listener::accept(listener).await;
                (Stream::Plain(stream), peer)
            }
            Self::Tls { ready, .. } => match ready.recv().await {
                Some((stream, peer)) => (Stream::Tls(Box::new(stream)), peer),
                // Who accepts has ended, with the runtime.
                None => std::future::pending().await,
            },
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Plain(listener) => listener.local_addr(),
            Self::Tls { listen, .. } => Ok(*listen),
        }
    }
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            Stream::Tls($stream) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
