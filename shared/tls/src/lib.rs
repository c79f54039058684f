//! TLS as every part of Ringvault uses it: certificates and keys from PEM files, checked before they
//! are used, and what goes wrong said in words that name the file or the peer.
//!
//! Why a part of its own: the HTTP API, RabbitMQ and PostgreSQL each have their own library, and each
//! tells a wrong file or an untrusted peer in words of its own, mostly without the file's name. Here a
//! file is read and judged once ([`Identity`], [`read_certificates`]), and [`explain`] finds what a
//! handshake failed of in whatever error it was wrapped in. Nothing here decides whom to trust: rustls
//! verifies, with its own rules.

mod client;
mod error;
mod explain;
mod files;
pub mod http;
mod identity;
mod peer;
mod server;

pub use client::ClientTls;
pub use error::TlsError;
pub use explain::{Trouble, explain};
pub use files::read_certificates;
pub use identity::Identity;
pub use peer::PeerName;
pub use rustls::ClientConfig;
pub use server::ServerTls;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography of all connections, whatever else of rustls is built into the program.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
