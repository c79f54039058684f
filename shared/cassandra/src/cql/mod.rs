//! CQL to exactly one node: its view of the ring and of the schema, and the few statements that a
//! backup or restore needs.
//!
//! The driver is held to the one node that was named (module `pinned`): a worker asks *its* node what it
//! knows, and a node that is down must show as down, not be stood in for by another.

mod agreement;
mod catalog;
mod pinned;
mod reading;
mod rows;
mod session;
mod streams;
mod tables;
mod topology;
mod views;

pub use agreement::SchemaVersions;
pub use reading::{RangeCounting, RangeReading, RowReader, ValueCounter, ViewCounters};
pub use rows::{CopyRules, RowChanges};
pub use scylla::statement::Consistency;
pub use session::{CqlConfig, CqlSession, CqlTls, LocalNode};
pub use streams::{StreamState, StreamStatus};
pub use topology::RingView;

/// A result of speaking to a node.
pub type Result<T> = std::result::Result<T, crate::NodeError>;
