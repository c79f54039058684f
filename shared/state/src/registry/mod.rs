//! What workers say of themselves, their nodes and their rings.

pub mod clusters;
pub mod forgotten;
pub mod topologies;
pub mod votes;
pub mod workers;
