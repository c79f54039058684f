//! A port of one's own before a server, and how connections to it fare at the moment.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// It is gone when dropped.
#[derive(Debug)]
pub(super) struct Relay<M> {
    manner: watch::Sender<M>,
    address: SocketAddr,
    accepting: tokio::task::JoinHandle<()>,
}

impl<M: Send + Sync + 'static> Relay<M> {
    /// Hands each connection to `serve`, with the address of the server (such as `127.0.0.1:7070`) and
    /// the manner, which may change.
    pub(super) async fn before<F>(
        to: &str,
        manner: M,
        serve: impl Fn(TcpStream, String, watch::Receiver<M>) -> F + Send + 'static,
    ) -> Result<Self>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a relay's port")?;
        let address = listener.local_addr()?;
        let (manner, watched) = watch::channel(manner);
        let to = to.to_owned();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, to.clone(), watched.clone()));
            }
        });
        Ok(Self { manner, address, accepting })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// So from now on.
    pub(super) fn behave(&self, manner: M) {
        self.manner.send_replace(manner);
    }
}

impl<M> Drop for Relay<M> {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
