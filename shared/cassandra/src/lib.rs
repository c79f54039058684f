//! One Cassandra node, seen from the worker beside it: its control interface (Jolokia or nodetool),
//! its schema and ring over CQL, its snapshots and `SSTables` on disk.
//!
//! Nothing here knows of jobs, queues or the vault, and nothing decides: each call does one thing to
//! one node and says exactly how it ended. Facts about Cassandra that the code relies on stand
//! beside the code that relies on them.

pub mod control;
pub mod cql;
pub mod credentials;
pub mod error;
pub mod schema;
pub mod snapshot;
pub mod sstable;

pub use control::NodeControl;
pub use cql::CqlSession;
pub use credentials::Credentials;
pub use error::{NodeError, NodeErrorKind};
