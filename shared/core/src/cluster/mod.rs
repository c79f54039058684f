//! A Cassandra cluster as seen from outside: its ring, who owns what, and what must be held for a
//! backup to be called complete.

mod coverage;
mod owned;
mod replication;
mod token;
mod topology;

pub use coverage::{Coverage, CoverageReport, KeyspaceCoverage, RequiredCoverage, assess};
pub use owned::{Ownership, TokenSet};
pub use replication::{Replication, Ring};
pub use token::{Token, TokenRange};
pub use topology::{Node, Topology};

#[cfg(test)]
pub(crate) use topology::testing;
