//! Announcements and rings as hashes: by them one that says nothing new is known without reading anything.

use ringvault_core::cluster::Topology;
use ringvault_queue::message::NodeHello;
use sha2::{Digest, Sha256};

/// SHA-256 of a ring, whichever node tells of it.
pub(super) fn ring(seen: &Topology) -> Vec<u8> {
    of(&super::in_order(seen.clone()))
}

/// SHA-256 of all that an announcement says but which run of the worker says it, and how full its disk is: these
/// are kept each time. `ring` is that of the ring that it tells.
pub(super) fn said(hello: &NodeHello, ring: Option<&[u8]>) -> Vec<u8> {
    // Named one by one, so that a field that is new is not left out.
    let NodeHello {
        worker: _,
        incarnation: _,
        disk: _,
        topology: _,
        cluster,
        host_id,
        stands_for,
        dc,
        rack,
        tokens,
        address,
        cassandra_version,
        partitioner,
        schema_version,
        data_dirs,
        capabilities,
        slots,
        short_slots,
        version,
        problem,
        edition,
        ends,
    } = hello;
    let node = (host_id, stands_for, dc, rack, tokens, address, data_dirs);
    let versions = (cassandra_version, partitioner, schema_version, version);
    of(&(cluster, ring, node, versions, capabilities, slots, short_slots, problem, edition, ends))
}

/// SHA-256 of plain values under plain names, which can be written without fail.
fn of(value: &impl serde::Serialize) -> Vec<u8> {
    Sha256::digest(serde_json::to_vec(value).unwrap_or_default()).to_vec()
}
