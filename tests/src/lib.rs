//! What the end-to-end tests share: the lab, the `ringvault` program, CQL, and the comparison of
//! every cell.
//!
//! The tests drive the real thing as its users do. They know its commands, its JSON documents and
//! its exit codes, the messages other systems exchange with it, and Cassandra's own CQL; nothing
//! here calls the scheduler's or the worker's code; `invariants` alone reads the database and the
//! vault, through the crates that know their form. They run under `dev/test`, which starts the lab
//! and says where it is; each names what it makes after itself, so that they leave each other alone.

pub mod chaos;
pub mod content;
pub mod cql;
pub mod disk;
pub mod fault;
pub mod faults;
pub mod invariants;
pub mod lab;
pub mod medusa;
pub mod own;
pub mod process;
pub mod requester;
pub mod ringvault;
pub mod round_trip;
pub mod rows;
pub mod shop;
pub mod store;
pub mod wait;

pub use content::Content;
pub use lab::Lab;
pub use ringvault::{Answer, Ringvault};
