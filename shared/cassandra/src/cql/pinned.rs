//! Holding the driver to one node.
//!
//! The driver learns the ring from the node it first connects to and opens connections to all of
//! it. Here every address that it learns is translated back to the one that was given, and all
//! peers but one are filtered out, so each connection it ever opens goes to the given address,
//! whatever the node believes its address to be (behind NAT, in a container). The peer that passes
//! the filter is the first one asked for; it need not be the right one, because what it is called
//! decides nothing once its address has been translated. The session then corrects it, see
//! [`super::session`].

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use scylla::{
    cluster::metadata::Peer,
    errors::TranslationError,
    policies::{
        address_translator::{AddressTranslator, UntranslatedPeer},
        host_filter::HostFilter,
    },
};
use uuid::Uuid;

/// Lets one peer through: the named one, or whichever is asked for first.
#[derive(Debug, Clone, Default)]
pub(super) struct OnePeer {
    host_id: Arc<OnceLock<Uuid>>,
}

impl OnePeer {
    pub(super) fn named(host_id: Uuid) -> Self {
        Self { host_id: Arc::new(OnceLock::from(host_id)) }
    }

    /// The peer that was let through.
    pub(super) fn chosen(&self) -> Option<Uuid> {
        self.host_id.get().copied()
    }
}

impl HostFilter for OnePeer {
    fn accept(&self, peer: &Peer) -> bool {
        *self.host_id.get_or_init(|| peer.host_id) == peer.host_id
    }
}

/// Translates every address to one.
#[derive(Debug)]
pub(super) struct OneAddress(pub(super) SocketAddr);

#[async_trait]
impl AddressTranslator for OneAddress {
    async fn translate_address(&self, _peer: &UntranslatedPeer) -> Result<SocketAddr, TranslationError> {
        Ok(self.0)
    }
}
