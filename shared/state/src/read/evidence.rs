//! What was tested, held, changed, and by whom, from wherever it stands: the newest first.

use chrono::{DateTime, Utc};
use ringvault_core::{
    ClusterName, JobId,
    api::{EvidenceItem, EvidenceKind, JobResult},
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    word::{Row, big_count},
};

/// The place of a page's last item: when, and the key that tells it from others of that instant.
pub type After = (DateTime<Utc>, String);

/// An item with its place.
pub type Placed = (String, EvidenceItem);

struct Raw {
    key: String,
    at: DateTime<Utc>,
    kind: String,
    cluster: String,
    backup: Option<String>,
    backup_cluster: Option<String>,
    job: Option<Uuid>,
    job_kind: Option<String>,
    policy: Option<String>,
    by: Option<String>,
    level: Option<String>,
    count: Option<i64>,
    state: Option<String>,
    result: Option<String>,
    plan_only: bool,
    name: Option<String>,
    detail: Option<String>,
}

impl Raw {
    fn read(self) -> StateResult<Placed> {
        let row = Row::new("evidence", &self.key);
        let cluster: ClusterName = row.word("cluster", &self.cluster)?;
        let of: Option<ClusterName> = row.maybe_word("cluster", self.backup_cluster.as_deref())?;
        let item = EvidenceItem {
            at: self.at,
            kind: row.word::<EvidenceKind>("kind", &self.kind)?,
            backup: row.maybe_word("backup", self.backup.as_deref())?,
            backup_cluster: of.filter(|of| *of != cluster),
            cluster,
            job: self.job.map(JobId),
            job_kind: row.maybe_word("kind", self.job_kind.as_deref())?,
            policy: row.maybe_word("policy", self.policy.as_deref())?,
            by: self.by,
            level: row.maybe_json("level", self.level.map(Value::from))?,
            count: self.count.map(big_count),
            state: row.maybe_word("state", self.state.as_deref())?,
            result: row.maybe_json::<JobResult>("outcome", self.result.map(Value::from))?,
            plan_only: self.plan_only,
            name: self.name,
            detail: self.detail,
        };
        Ok((self.key, item))
    }
}

/// Evidence of `cluster` (of all where absent) and `kind` (of every), the newest first, at most `limit`
/// items of those after `after`. Each source is read from its newest end, as far as the page needs.
pub async fn list(
    conn: &mut PgConnection,
    cluster: Option<&ClusterName>,
    kind: Option<EvidenceKind>,
    after: Option<&After>,
    limit: i64,
) -> StateResult<Vec<Placed>> {
    let rows = sqlx::query_as!(
        Raw,
        r#"with verified as (
             select v.at, 'v' || v.job || v.backup as key, v.cluster, v.backup, v.job, v.level, v.damaged
             from verifications v
             where ($2::text is null or $2 = 'verified') and ($1::text is null or v.cluster = $1)
               and v.at <= coalesce($3::timestamptz, 'infinity')
               and ($4::text is null or (v.at, 'v' || v.job || v.backup) < ($3, $4))
             order by v.at desc, 'v' || v.job || v.backup desc limit $5),
           ended as (
             select j.ended_at as at, 'j' || j.id as key, j.*
             from jobs j
             where j.kind in ('restore', 'purge', 'drill') and j.ended_at is not null
               and ($2::text is null or $2 = case j.kind when 'restore' then 'restored' when 'drill' then 'drilled'
                   else 'purged' end)
               and ($1::text is null or j.cluster = $1 or j.backup_cluster = $1)
               and j.ended_at <= coalesce($3::timestamptz, 'infinity')
               and ($4::text is null or (j.ended_at, 'j' || j.id) < ($3, $4))
             order by j.ended_at desc, 'j' || j.id desc limit $5),
           held as (
             select h.created_at as at, 'h' || h.id as key, h.*
             from holds h
             where h.name is not null and ($2::text is null or $2 = 'held')
               and ($1::text is null or h.cluster = $1)
               and h.created_at <= coalesce($3::timestamptz, 'infinity')
               and ($4::text is null or (h.created_at, 'h' || h.id) < ($3, $4))
             order by h.created_at desc, 'h' || h.id desc limit $5),
           released as (
             select h.released_at as at, 'r' || h.id as key, h.*
             from holds h
             where h.name is not null and h.released_at is not null and ($2::text is null or $2 = 'released')
               and ($1::text is null or h.cluster = $1)
               and h.released_at <= coalesce($3::timestamptz, 'infinity')
               and ($4::text is null or (h.released_at, 'r' || h.id) < ($3, $4))
             order by h.released_at desc, 'r' || h.id desc limit $5),
           ordered as (
             select t.at, 't' || t.id as key, t.job, t.event, t.actor
             from transitions t
             where t.task is null and t.from_state is not null
               and (t.actor like 'token %' or t.actor like 'person %' or t.actor like 'amqp %')
               and ($2::text is null or $2 = 'ordered')
               and ($1::text is null or exists (select from jobs j where j.id = t.job and j.cluster = $1))
               and t.at <= coalesce($3::timestamptz, 'infinity')
               and ($4::text is null or (t.at, 't' || t.id) < ($3, $4))
             order by t.at desc, 't' || t.id desc limit $5),
           applied as (
             select p.updated_at as at, 'p' || p.name as key, p.cluster, p.name, p.paused
             from policies p
             where ($2::text is null or $2 = 'policy') and ($1::text is null or p.cluster = $1)
               and p.updated_at <= coalesce($3::timestamptz, 'infinity')
               and ($4::text is null or (p.updated_at, 'p' || p.name) < ($3, $4))
             order by p.updated_at desc, 'p' || p.name desc limit $5)
         select e.key as "key!", e.at as "at!", e.kind as "kind!", e.cluster as "cluster!",
             e.backup, e.backup_cluster, e.job, e.job_kind, e.policy, e.by, e.level, e.count, e.state,
             e.result, e.plan_only as "plan_only!", e.name, e.detail
         from (
             select v.key, v.at, 'verified' as kind, v.cluster, v.backup, null::text as backup_cluster, v.job,
                 case when j.id is not null then 'verify' end as job_kind, j.policy,
                 j.requested_by as by, v.level, v.damaged as count, null::text as state,
                 null::text as result, false as plan_only, null::text as name, null::text as detail
             from verified v left join jobs j on j.id = v.job
             union all
             select e.key, e.at, case e.kind when 'restore' then 'restored' when 'drill' then 'drilled'
                 else 'purged' end, e.cluster,
                 e.backup, e.backup_cluster, e.id, e.kind, e.policy, e.requested_by, null,
                 (select sum(coalesce((t.result ->> 'rows_read')::numeric, (t.result ->> 'objects')::numeric))
                      ::bigint
                  from tasks t where t.job = e.id and t.kind in ('validate', 'sweep')),
                 e.state, e.outcome, coalesce((e.spec ->> 'plan_only')::boolean, false), null,
                 e.error ->> 'message'
             from ended e
             union all
             select h.key, h.at, 'held', h.cluster, h.backup, null, null, null, null, h.created_by, null,
                 null, null, null, false, h.name, h.reason
             from held h
             union all
             select r.key, r.at, 'released', r.cluster, r.backup, null, null, null, null, r.released_by, null,
                 null, null, null, false, r.name, r.release_reason
             from released r
             union all
             select o.key, o.at, 'ordered', j.cluster, j.backup, j.backup_cluster, j.id, j.kind, j.policy,
                 o.actor, null, null, null, null, false, null, o.event ->> 'event'
             from ordered o join jobs j on j.id = o.job
             union all
             select a.key, a.at, 'policy', a.cluster, null, null, null, null, a.name, null, null, null, null,
                 null, false, null, case when a.paused then 'paused' end
             from applied a) e
         order by e.at desc, e.key desc limit $5"#,
        cluster.map(ClusterName::as_str),
        kind.map(EvidenceKind::as_str),
        after.map(|(at, _)| *at),
        after.map(|(_, key)| key.as_str()),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::read).collect()
}
