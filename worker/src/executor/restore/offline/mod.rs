//! Offline restores: nodes become again what they were when they were backed up, with their tokens and host
//! ids, while their Cassandra is stopped.
//!
//! Every file is staged and checked by hash first, in Cassandra's own layout, and linked into folders that are
//! ready to be put in place. Only then is Cassandra stopped, and from there on it is renames within a file
//! system, which [`swap`] records one by one: what the node held goes aside, what was staged takes its place,
//! Cassandra starts. If it does not come up as the node that the backup says, everything goes back.
//!
//! A worker needs no node for this: which one its machine is to become, its configuration says.

mod apply;
mod command;
mod files;
mod machine;
mod places;
mod plan;
mod preflight;
mod swap;
#[cfg(test)]
mod swap_tests;
