//! A cluster's recovery points by day, and which node is in which of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use ringvault_core::{
    ClusterName, JobId,
    api::{
        CalendarDay, CalendarPoint, CoveredBackup, CoveredNode, NodeCoverage, RecoveryCalendar, Verification,
    },
    backup::{BackupFigures, BackupState},
    job::VerifyLevel,
    selection::Selection,
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::nodes;
use crate::{
    StateResult,
    word::{Row, big_count},
};

/// Backups in one calendar: an hourly one for more than a year.
const MOST: i64 = 10_000;

struct Raw {
    name: String,
    job: Uuid,
    policy: Option<String>,
    state: String,
    started_at: DateTime<Utc>,
    figures: Option<Value>,
    verified_level: Option<String>,
    verified_at: Option<DateTime<Utc>>,
    damaged: i64,
    tainted: bool,
    selection: Value,
    dc: Option<String>,
    held: bool,
}

impl Raw {
    fn read(self) -> StateResult<CalendarPoint> {
        let row = Row::new("backup", &self.name);
        let figures: BackupFigures = row.maybe_json("figures", self.figures)?.unwrap_or_default();
        let level: Option<VerifyLevel> =
            row.maybe_json("verified_level", self.verified_level.map(Value::from))?;
        let selection: Selection = row.json("selection", self.selection)?;
        let damaged = big_count(self.damaged);
        let verified =
            level.zip(self.verified_at).map(|(level, at)| Verification { job: None, level, at, damaged });
        Ok(CalendarPoint {
            backup: row.word("name", &self.name)?,
            job: JobId(self.job),
            policy: row.maybe_word("policy", self.policy.as_deref())?,
            at: self.started_at,
            state: row.word("state", &self.state)?,
            bytes: figures.bytes,
            bytes_new: figures.bytes_new,
            verified,
            held: self.held,
            tainted: self.tainted,
            narrowed: self.dc.is_some() || selection != Selection::default(),
        })
    }
}

/// The backups of a cluster that were begun from `from` to `to`, by day.
pub async fn of_cluster(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> StateResult<RecoveryCalendar> {
    let rows = sqlx::query_as!(
        Raw,
        r#"select name, job, policy, state, started_at, figures, verified_level, verified_at, damaged,
             tainted, selection, dc,
             exists (select from holds h where h.cluster = b.cluster and h.backup = b.name
                     and h.released_at is null) as "held!"
         from backups b where cluster = $1 and started_at >= $2 and started_at < $3
         order by started_at desc, name desc limit $4"#,
        cluster.as_str(),
        from,
        to,
        MOST + 1,
    )
    .fetch_all(&mut *conn)
    .await?;
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let cut = rows.len() > most;
    let mut days: BTreeMap<_, Vec<CalendarPoint>> = BTreeMap::new();
    for raw in rows.into_iter().take(most).rev() {
        let point = raw.read()?;
        days.entry(point.at.date_naive()).or_default().push(point);
    }
    let days = days.into_iter().map(|(day, points)| {
        let restorable = points.iter().filter(|point| point.state.is_restorable() && !point.tainted).count();
        CalendarDay { day, restorable: u32::try_from(restorable).unwrap_or(u32::MAX), points }
    });
    let days = days.collect();
    Ok(RecoveryCalendar { cluster: cluster.clone(), as_of: crate::now(conn).await?, from, to, days, cut })
}

/// Which members of the ring are in which of the newest `newest` backups. A worker that was not heard
/// for `silent_after` is silent.
pub async fn coverage(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    newest: u32,
    silent_after: Duration,
) -> StateResult<NodeCoverage> {
    let columns = sqlx::query!(
        "select name, job, state, started_at from backups
         where cluster = $1 and state in ('complete', 'covering', 'incomplete')
         order by started_at desc, name desc limit $2",
        cluster.as_str(),
        i64::from(newest),
    )
    .fetch_all(&mut *conn)
    .await?;
    let jobs: Vec<Uuid> = columns.iter().map(|column| column.job).collect();
    let uploads = sqlx::query!(
        r#"select job, host_id as "host_id!", coalesce((result ->> 'bytes')::bigint, 0) as "bytes!"
         from tasks where job = any($1) and kind = 'upload' and state = 'succeeded' and not cleanup
           and host_id is not null"#,
        &jobs
    )
    .fetch_all(&mut *conn)
    .await?;
    let known: BTreeSet<Uuid> = uploads.iter().map(|upload| upload.job).collect();
    let held: BTreeMap<(Uuid, Uuid), i64> =
        uploads.iter().map(|upload| ((upload.job, upload.host_id), upload.bytes)).collect();
    let members = nodes::list(conn, Some(cluster), silent_after).await?;
    let nodes = members
        .into_iter()
        .filter_map(|node| {
            let host = node.host_id?;
            let of = |job: &Uuid| held.get(&(*job, host.0));
            Some(CoveredNode {
                host_id: host,
                held: jobs.iter().map(|job| of(job).is_some()).collect(),
                bytes: big_count(jobs.iter().find_map(of).copied().unwrap_or(0)),
                address: node.address,
                dc: node.dc,
                rack: node.rack,
                state: node.state,
                problem: node.problem,
            })
        })
        .collect();
    let backups = columns
        .into_iter()
        .map(|raw| {
            let row = Row::new("backup", &raw.name);
            Ok(CoveredBackup {
                backup: row.word("name", &raw.name)?,
                at: raw.started_at,
                state: row.word::<BackupState>("state", &raw.state)?,
                known: known.contains(&raw.job),
            })
        })
        .collect::<StateResult<_>>()?;
    Ok(NodeCoverage { cluster: cluster.clone(), as_of: crate::now(conn).await?, backups, nodes })
}
