//! A wire between programs and a server that can go silent, as a network does that loses everything:
//! connections stay, nothing arrives, and what was sent arrives late when it is mended.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};
use url::Url;

use super::relay::Relay;

/// The wire: whole, or not.
#[derive(Debug)]
pub(super) struct Wire(Relay<bool>);

impl Wire {
    /// To the server at `to`, such as `127.0.0.1:5672`.
    pub(super) async fn to(to: &str) -> Result<Self> {
        Ok(Self(Relay::before(to, true, join).await?))
    }

    /// To the server of the URL in `file`. The URL that goes by the wire is written into `folder`.
    pub(super) async fn of_url(file: &Path, folder: &Path) -> Result<(Self, PathBuf)> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let mut url: Url = text.trim().parse().with_context(|| format!("the URL in {}", file.display()))?;
        let (host, port) =
            (url.host_str().context("a URL has a host")?, url.port().context("it has a port")?);
        let wire = Self::to(&format!("{host}:{port}")).await?;
        url.set_ip_host(wire.0.address().ip()).ok().context("a URL with a host")?;
        url.set_port(Some(wire.0.address().port())).ok().context("a URL with a host")?;
        let by_wire = folder.join(file.file_name().context("a file has a name")?);
        std::fs::write(&by_wire, url.as_str())?;
        Ok((wire, by_wire))
    }

    /// Nothing goes through from now on.
    pub(super) fn cut(&self) {
        self.0.behave(false);
    }

    /// What was held back goes through.
    pub(super) fn mend(&self) {
        self.0.behave(true);
    }
}

async fn join(mut client: TcpStream, to: String, mut whole: watch::Receiver<bool>) -> Result<()> {
    whole.wait_for(|whole| *whole).await?;
    let mut server = TcpStream::connect(to).await?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::select! {
        done = pass(from_client, to_server, whole.clone()) => done,
        done = pass(from_server, to_client, whole) => done,
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut whole: watch::Receiver<bool>,
) -> Result<()> {
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut piece).await?;
        // An end is news as well, and does not get through either.
        whole.wait_for(|whole| *whole).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&piece[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_is_sent_over_a_cut_wire_arrives_when_it_is_mended() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire = Wire::to(&server.local_addr().unwrap().to_string()).await.unwrap();
        let mut client = TcpStream::connect(wire.0.address()).await.unwrap();
        let (mut served, _) = server.accept().await.unwrap();
        client.write_all(b"a").await.unwrap();
        assert_eq!(served.read_u8().await.unwrap(), b'a');
        wire.cut();
        client.write_all(b"b").await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(100), served.read_u8()).await.is_err());
        wire.mend();
        assert_eq!(served.read_u8().await.unwrap(), b'b');
    }
}
