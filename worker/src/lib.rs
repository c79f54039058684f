//! The worker: one process beside one Cassandra node.
//!
//! It is told what to do over RabbitMQ, and knows nothing of Postgres. [`agent`] is the protocol
//! (offer, grant, heartbeat, report), [`executor`] does the work of each kind of task, [`node`]
//! speaks to the node beside it. A worker re-derives rather than remembers: after a crash a task
//! starts again and finds what is done.

pub mod agent;
pub mod config;
pub mod executor;
pub mod health;
pub mod identity;
pub mod metrics;
pub mod node;
pub mod run;
