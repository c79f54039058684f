//! Policies as they stand, with their last fire.

use chrono::{DateTime, Utc};
use ringvault_core::{
    JobId, PolicyName,
    api::{FireState, FireView, PolicyView},
    policy::Policy,
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    word::{self, Row},
};

struct Raw {
    name: String,
    document: Value,
    paused: bool,
    updated_at: DateTime<Utc>,
    fires_after: DateTime<Utc>,
    now: DateTime<Utc>,
    fire_time: Option<DateTime<Utc>>,
    job: Option<Uuid>,
    skipped: Option<String>,
}

impl Raw {
    fn read(self) -> StateResult<PolicyView> {
        let row = Row::new("policy", &self.name);
        let policy: Policy = row.document("document", self.document)?;
        let schedule = policy.compiled_schedule().map_err(|why| row.unreadable("schedule", why))?;
        let last_fire = self.fire_time.map(|at| FireView {
            at,
            state: if self.job.is_some() { FireState::Fired } else { FireState::Skipped },
            job: self.job.map(JobId),
            reason: self.skipped,
        });
        let next_fire = schedule.next_after(self.fires_after.max(self.now));
        Ok(PolicyView {
            name: row.word("name", &self.name)?,
            policy,
            paused: self.paused,
            applied_at: self.updated_at,
            next_fire: next_fire.filter(|_| !self.paused),
            last_fire,
        })
    }
}

/// Policies that can be read, by name, at most `limit` of those after `after`; only `only` where it is given.
pub async fn list(
    conn: &mut PgConnection,
    only: Option<&PolicyName>,
    after: Option<&str>,
    limit: i64,
) -> StateResult<Vec<PolicyView>> {
    let rows = sqlx::query_as!(
        Raw,
        r#"select p.name, p.document, p.paused, p.updated_at, p.fires_after,
             clock_timestamp() as "now!", f.fire_time as "fire_time?", f.job as "job?",
             f.skipped as "skipped?"
         from policies p left join lateral (
             select fire_time, job, skipped from fires f
             where f.policy = p.name order by fire_time desc limit 1) f on true
         where ($1::text is null or p.name = $1) and ($2::text is null or p.name > $2)
         order by p.name limit $3"#,
        only.map(PolicyName::as_str),
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(word::readable(rows.into_iter().map(Raw::read)))
}
