//! Policies as their owners wrote them.

use chrono::{DateTime, Utc};
use ringvault_core::{PolicyName, policy::Policy};
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    StateError, StateResult,
    word::{self, Row},
};

/// A policy.
#[derive(Debug, Clone)]
pub struct PolicyRow {
    /// Its name.
    pub name: PolicyName,
    /// What it says.
    pub policy: Policy,
    /// Whether it fires nothing for the time being.
    pub paused: bool,
    /// When it was first applied.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Instants up to here are never fired.
    pub fires_after: DateTime<Utc>,
    /// The last instant that was fired or skipped.
    pub last_fire: Option<DateTime<Utc>>,
}

struct Raw {
    name: String,
    document: Value,
    paused: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    fires_after: DateTime<Utc>,
    last_fire: Option<DateTime<Utc>>,
}

impl Raw {
    fn read(self) -> StateResult<PolicyRow> {
        let row = Row::new("policy", &self.name);
        Ok(PolicyRow {
            name: row.word("name", &self.name)?,
            policy: row.document("document", self.document)?,
            paused: self.paused,
            created_at: self.created_at,
            updated_at: self.updated_at,
            fires_after: self.fires_after,
            last_fire: self.last_fire,
        })
    }
}

/// All policies that can be read, by name.
pub async fn list(conn: &mut PgConnection) -> StateResult<Vec<PolicyRow>> {
    let rows = sqlx::query_as!(
        Raw,
        r#"select p.name, p.document, p.paused, p.created_at, p.updated_at, p.fires_after,
             (select max(f.fire_time) from fires f where f.policy = p.name) as last_fire
         from policies p order by p.name"#
    )
    .fetch_all(conn)
    .await?;
    Ok(word::readable(rows.into_iter().map(Raw::read)))
}

/// One policy; none if it is not there, or cannot be read: what it says is then left out.
pub async fn find_readable(conn: &mut PgConnection, name: &PolicyName) -> StateResult<Option<PolicyRow>> {
    match find(conn, name).await {
        Err(error @ StateError::Unreadable { .. }) => {
            tracing::error!(policy = %name, %error, "a policy is left out");
            Ok(None)
        }
        found => found,
    }
}

/// One policy.
pub async fn find(conn: &mut PgConnection, name: &PolicyName) -> StateResult<Option<PolicyRow>> {
    let raw = sqlx::query_as!(
        Raw,
        r#"select p.name, p.document, p.paused, p.created_at, p.updated_at, p.fires_after,
             (select max(f.fire_time) from fires f where f.policy = p.name) as last_fire
         from policies p where p.name = $1"#,
        name.as_str()
    )
    .fetch_optional(conn)
    .await?;
    raw.map(Raw::read).transpose()
}

/// What applying a policy came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is new.
    Created,
    /// It says something else than before.
    Changed,
    /// It says what it said.
    Unchanged,
}

/// Writes a policy. Instants before a change are never fired by it.
pub async fn apply(conn: &mut PgConnection, name: &PolicyName, policy: &Policy) -> StateResult<Applied> {
    let document = word::json("a policy", policy)?;
    let known =
        sqlx::query_scalar!("select document from policies where name = $1 for update", name.as_str())
            .fetch_optional(&mut *conn)
            .await?;
    let applied = match known {
        Some(known) if known == document => return Ok(Applied::Unchanged),
        Some(_) => Applied::Changed,
        None => Applied::Created,
    };
    sqlx::query!(
        "insert into policies (name, cluster, document) values ($1, $2, $3)
         on conflict (name) do update
             set cluster = $2, document = $3, updated_at = now(), fires_after = now()",
        name.as_str(),
        policy.cluster.as_str(),
        document
    )
    .execute(conn)
    .await?;
    Ok(applied)
}

/// Deletes a policy; its jobs and backups stay. `false`: there is none of that name.
pub async fn delete(conn: &mut PgConnection, name: &PolicyName) -> StateResult<bool> {
    let done = sqlx::query!("delete from policies where name = $1", name.as_str()).execute(conn).await?;
    Ok(done.rows_affected() > 0)
}

/// Pauses or resumes a policy. What it would have fired while paused is gone. `false`: there is
/// none of that name.
pub async fn set_paused(conn: &mut PgConnection, name: &PolicyName, paused: bool) -> StateResult<bool> {
    let done = sqlx::query!(
        "update policies set paused = $2,
             fires_after = case when paused and not $2 then now() else fires_after end
         where name = $1",
        name.as_str(),
        paused
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
