//! Jobs of policies with a window, and whether it was the window that paused them.

use ringvault_core::{JobId, PolicyName, job::JobState};
use sqlx::PgConnection;

use crate::{
    StateResult,
    word::{self, Row},
};

/// A job that a policy fired and that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// The job.
    pub id: JobId,
    /// Its policy.
    pub policy: PolicyName,
    /// Whether that policy still is there.
    pub policy_is_there: bool,
    /// Running or paused.
    pub state: JobState,
    /// Paused by this actor, and not by a person since.
    pub paused_by_window: bool,
}

/// Jobs of policies that are paused, or that run and have a window. `actor` is who pauses them for the
/// window.
pub async fn under_way(conn: &mut PgConnection, actor: &str) -> StateResult<Vec<UnderWay>> {
    let rows = sqlx::query!(
        r#"select j.id, j.state, j.policy as "policy!",
             exists (select from policies p where p.name = j.policy) as "there!",
             j.state = 'paused' and coalesce((
                 select t.actor = $1 from transitions t
                 where t.job = j.id and t.task is null and t.to_state = 'paused'
                 order by t.id desc limit 1), false) as "by_window!"
         from jobs j
         where j.policy is not null
           and (j.state = 'paused' or (j.state = 'running' and exists (
                 select from policies p where p.name = j.policy and p.document ->> 'window' is not null)))
         order by j.created_at"#,
        actor
    )
    .fetch_all(conn)
    .await?;
    Ok(word::readable(rows.into_iter().map(|raw| {
        let row = Row::new("job", &raw.id);
        Ok(UnderWay {
            id: JobId(raw.id),
            policy: row.word("policy", &raw.policy)?,
            policy_is_there: raw.there,
            state: row.word("state", &raw.state)?,
            paused_by_window: raw.by_window,
        })
    })))
}

/// Policies with a window that have queued jobs.
pub async fn waiting(conn: &mut PgConnection) -> StateResult<Vec<PolicyName>> {
    let rows = sqlx::query_scalar!(
        r#"select distinct j.policy as "policy!" from jobs j
         where j.state = 'queued' and j.policy is not null and exists (
             select from policies p where p.name = j.policy and p.document ->> 'window' is not null)"#
    )
    .fetch_all(conn)
    .await?;
    Ok(word::readable(rows.iter().map(|name| Row::new("policy", name).word("name", name))))
}

/// Whether `actor` was the last to pause the job.
pub async fn is_paused_by(conn: &mut PgConnection, job: JobId, actor: &str) -> StateResult<bool> {
    let last = sqlx::query_scalar!(
        "select actor from transitions where job = $1 and task is null and to_state = 'paused'
         order by id desc limit 1",
        job.0
    )
    .fetch_optional(conn)
    .await?;
    Ok(last.is_some_and(|last| last == actor))
}
