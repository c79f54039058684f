//! The restore planner: which method, and which SSTables of the backup each target node fetches.
//! Pure over the two topologies and the facts that manifests hold.

mod auth;
mod data_centers;
mod drill;
mod method;
mod offline;
mod rename;
mod ring;
mod share;
mod stream;

pub use auth::{AUTH_KEYSPACE, auth_copy_keyspace, is_auth_copy, loaded_as};
pub use data_centers::{DataCenterMap, InvalidDataCenterMap};
pub use drill::{drill_keyspace, drill_prefix, drill_renames, is_drill_keyspace};
pub use method::{Method, MethodChoice, Moved, NoMethod, choose_method, settle_method};
pub use offline::{OfflineAsk, OfflineChoice, RingNow, plan_offline};
pub use rename::{InvalidRename, Renames};
pub use ring::ring_changes;
pub use share::{Owners, Share, SstableFacts, SstableSizes, Take};
pub use stream::{STREAM_CAPABILITY, Streams};

use crate::selection::{Selection, is_node_local_keyspace, is_system_keyspace};

/// Whether a restore with this selection brings `keyspace.table` back online. System keyspaces
/// only when named (or `system_auth` by `with_auth`), node-local ones never.
pub fn is_restored_online(selection: &Selection, with_auth: bool, keyspace: &str, table: &str) -> bool {
    if is_node_local_keyspace(keyspace) || !selection.holds(keyspace, table) {
        return keyspace == AUTH_KEYSPACE && with_auth;
    }
    !is_system_keyspace(keyspace) || !selection.names_nothing() || (keyspace == AUTH_KEYSPACE && with_auth)
}

/// Whether a restore or a drill made this keyspace for itself: it is nobody's data.
pub fn is_made_by_a_restore(keyspace: &str) -> bool {
    is_auth_copy(keyspace) || is_drill_keyspace(keyspace)
}
