//! Postgres: the durable state of the workflow, as repositories over `migrations/`.
//!
//! Functions take a connection (`&mut PgConnection`), so that whoever calls decides what is one
//! transaction; the driver in the scheduler puts a transition, its log line and its messages into
//! one. Nothing here decides: decisions are ringvault-core's, and here is only what makes them
//! safe under concurrency.
//!
//! - Lock order: a cluster's row, a job's row, then its tasks', a worker's, a backup's. Whoever
//!   changes a job or one of its tasks holds the job's row lock ([`jobs::lock`]), so a barrier is
//!   judged by one at a time. Heartbeats alone go past it: they move a deadline and nothing else.
//! - Time is this server's: [`now`], never a scheduler's clock.
//! - SQL is checked at compile time against the query data in `.sqlx`; after a change of a query
//!   or the schema run `cargo sqlx prepare` in this crate's folder, with `DATABASE_URL` naming a
//!   migrated database.

pub mod audit;
pub mod backups;
pub mod catalog;
mod commit;
pub mod counters;
pub mod dead;
pub mod error;
pub mod fires;
pub mod history;
pub mod holds;
pub mod inbox;
pub mod jobs;
pub mod log;
pub mod notices;
pub mod outbox;
pub mod policies;
pub mod pool;
pub mod read;
pub mod registry;
pub mod replay;
pub mod schedulers;
pub mod sessions;
pub mod tasks;
pub mod tokens;
pub mod windows;
mod word;

pub use commit::{Tx, commit};
pub use error::{StateError, StateResult};
pub use pool::{OpenError, PostgresConfig, open};
pub use sqlx::{Connection, PgConnection, PgPool};

use chrono::{DateTime, Utc};

/// Now, on the database's clock.
pub async fn now(conn: &mut PgConnection) -> StateResult<DateTime<Utc>> {
    let now = sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(conn).await?;
    Ok(now)
}
