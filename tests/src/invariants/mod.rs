//! The invariants, as the database, the vault and the nodes show them: run after every end-to-end
//! test, and when a run of `dev/chaos` has settled.
//!
//! What is looked at holds at every commit, whatever is going on; what holds only when nothing is
//! under way (nothing left on nodes, every row sent) is looked at with [`Moment::Settled`] alone.

mod nodes;
mod sql;
mod vault;

use std::fmt;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use sqlx::{Connection as _, PgConnection};

use crate::Lab;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which one.
    pub invariant: String,
    /// Where, and what is there instead.
    pub what: String,
}

impl Violation {
    /// Of an invariant.
    pub fn new(invariant: impl Into<String>, what: impl Into<String>) -> Self {
        Self { invariant: invariant.into(), what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// When it is looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Jobs are under way, as others test in the same lab.
    Busy,
    /// Nothing is under way and everything runs.
    Settled,
}

/// Every violation there is.
pub async fn violations(lab: &Lab, moment: Moment) -> Result<Vec<Violation>> {
    let mut conn = connect(lab).await?;
    let mut found = sql::violations(&mut conn, moment).await?;
    found.extend(sql::replays(&mut conn).await?);
    found.extend(vault::violations(lab, &mut conn).await?);
    if moment == Moment::Settled {
        found.extend(nodes::violations(lab, &mut conn).await?);
    }
    Ok(found)
}

/// Fails with every violation there is.
pub async fn hold(lab: &Lab, moment: Moment) -> Result<()> {
    let found = Box::pin(violations(lab, moment)).await?;
    if found.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
    bail!("invariants do not hold:\n{}", lines.join("\n"))
}

/// The lab's database, as the schedulers see it.
pub async fn connect(lab: &Lab) -> Result<PgConnection> {
    let file = lab.status().await?.services.postgres.url_file;
    let url = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    PgConnection::connect(url.trim()).await.context("the lab's database")
}
