//! The domain of Ringvault without any I/O: identifiers, the ring, the specifications of jobs, the
//! state machines that every job and task goes through, and the planners (which tasks a stage has,
//! what a policy fires, what retention expires, what a restore fetches).
//!
//! Every decision here is a pure function that takes time as a value, so it can be tested by
//! simulation and replayed from a transition log.

pub mod api;
pub mod audit;
pub mod backup;
pub mod cluster;
pub mod error;
pub mod id;
pub mod job;
pub mod lasting;
pub mod notice;
pub mod policy;
pub mod restore;
pub mod rows;
pub mod selection;
pub mod size;
pub mod task;
pub mod text;
pub mod toml_text;
pub mod trace;

pub use error::{ErrorClass, TaskError};
pub use id::{BackupName, ClusterName, HostId, JobId, PolicyName, TaskId, WorkerId};
