//! Notices on their way to people: written with what they tell of, sent by whichever scheduler claims
//! them.
//!
//! A claim moves `due_at` into the future; whoever dies with a notice in hand leaves it to be claimed
//! again then, under the same id. So a notice may arrive twice and none is lost.

use chrono::{DateTime, Duration, Utc};
use ringvault_core::{
    ClusterName,
    api::{NoticeState, NoticeTrouble, NoticeView},
    notice::{Happening, Notice},
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    word::{self, Row, big_count},
};

/// Writes a notice to a receiver.
pub async fn insert(conn: &mut PgConnection, notifier: &str, notice: &Notice) -> StateResult<()> {
    sqlx::query!(
        "insert into notices (id, notifier, event, title, body) values ($1, $2, $3, $4, $5)",
        notice.delivery,
        notifier,
        notice.event.as_str(),
        notice.title,
        word::json("notice", notice)?,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A notice in a sender's hand.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// What to send.
    pub notice: Notice,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Now.
    pub now: DateTime<Utc>,
    /// Tries, this one included.
    pub attempts: u32,
}

impl Claimed {
    /// How long ago it was written.
    pub fn age(&self) -> Duration {
        self.now - self.created_at
    }
}

/// Takes up to `limit` notices to `notifier` that are due in hand for `lease`, the oldest first.
pub async fn claim(
    conn: &mut PgConnection,
    notifier: &str,
    lease: Duration,
    limit: i64,
) -> StateResult<Vec<Claimed>> {
    let rows = sqlx::query!(
        r#"with chosen as (
             select id from notices
             where state = 'pending' and notifier = $1 and due_at <= clock_timestamp()
             order by due_at limit $3 for update skip locked)
         update notices n set due_at = clock_timestamp() + make_interval(secs => $2),
             attempts = n.attempts + 1
         from chosen where n.id = chosen.id
         returning n.id, n.body, n.created_at, n.attempts, clock_timestamp() as "now!""#,
        notifier,
        lease.as_seconds_f64(),
        limit
    )
    .fetch_all(conn)
    .await?;
    let mut claimed = word::readable(rows.into_iter().map(|raw| {
        let row = Row::new("notice", &raw.id);
        Ok(Claimed {
            notice: row.json("body", raw.body)?,
            created_at: raw.created_at,
            now: raw.now,
            attempts: row.count("attempts", raw.attempts)?,
        })
    }));
    claimed.sort_by_key(|claimed| claimed.created_at);
    Ok(claimed)
}

/// It has come to its end: `kind` is how it was sent, for the metric, which is counted with it. One that
/// has ended already (its claim was over, and somebody else was faster) stays as it is.
pub async fn end(
    conn: &mut PgConnection,
    id: Uuid,
    state: NoticeState,
    kind: &str,
    error: Option<&str>,
) -> StateResult<()> {
    sqlx::query!(
        "with ended as (
             update notices set state = $2, ended_at = clock_timestamp(), error = $4
             where id = $1 and state = 'pending' returning 1)
         insert into counters as c (name, cluster, policy, kind, result, value)
         select 'notices_total', '', '', $3, $2, 1 from ended
         on conflict (name, cluster, policy, kind, result) do update set value = c.value + 1",
        id,
        state.as_str(),
        kind,
        error,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// It could not be sent; it is tried again after `pause`.
pub async fn put_off(conn: &mut PgConnection, id: Uuid, error: &str, pause: Duration) -> StateResult<()> {
    sqlx::query!(
        "update notices set due_at = clock_timestamp() + make_interval(secs => $3), error = $2
         where id = $1 and state = 'pending'",
        id,
        error,
        pause.as_seconds_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One notice.
pub async fn find(conn: &mut PgConnection, id: Uuid) -> StateResult<Option<NoticeView>> {
    let raw = sqlx::query!(
        "select id, notifier, event, title, state, created_at, due_at, attempts, error, ended_at
         from notices where id = $1",
        id
    )
    .fetch_optional(conn)
    .await?;
    let Some(raw) = raw else { return Ok(None) };
    let row = Row::new("notice", &raw.id);
    let state: NoticeState = row.word("state", &raw.state)?;
    Ok(Some(NoticeView {
        id: raw.id,
        notifier: raw.notifier,
        event: row.json::<Happening>("event", raw.event.into())?,
        title: raw.title,
        state,
        created_at: raw.created_at,
        attempts: row.count("attempts", raw.attempts)?,
        due_at: (state == NoticeState::Pending).then_some(raw.due_at),
        ended_at: raw.ended_at,
        error: raw.error,
    }))
}

/// How notices to one receiver fare.
#[derive(Debug, Clone, Default)]
pub struct Fares {
    /// The receiver.
    pub notifier: String,
    /// Notices that wait.
    pub pending: u64,
    /// Since when the oldest waits.
    pub pending_since: Option<DateTime<Utc>>,
    /// Of them, those that have failed.
    pub failing: u64,
    /// When one last arrived.
    pub last_sent_at: Option<DateTime<Utc>>,
    /// When one was last given up.
    pub last_given_up_at: Option<DateTime<Utc>>,
    /// Given up since one last arrived.
    pub given_up: u64,
    /// What the newest that has not arrived failed of.
    pub error: Option<String>,
}

impl Fares {
    /// What is wrong, if something is.
    pub fn trouble(&self) -> Option<NoticeTrouble> {
        (self.given_up > 0 || self.failing > 0).then(|| NoticeTrouble {
            notifier: self.notifier.clone(),
            given_up: self.given_up,
            failing: self.failing,
            error: self.error.clone(),
        })
    }
}

/// Every receiver that there are notices to, by name.
pub async fn fares(conn: &mut PgConnection) -> StateResult<Vec<Fares>> {
    let rows = sqlx::query!(
        r#"with arrived as (
             select notifier, max(ended_at) filter (where state = 'sent') as sent,
                 max(ended_at) filter (where state = 'given_up') as given_up
             from notices group by notifier)
         select a.notifier as "notifier!", a.sent as last_sent, a.given_up as last_given_up,
             count(*) filter (where n.state = 'pending') as "pending!",
             min(n.created_at) filter (where n.state = 'pending') as pending_since,
             count(*) filter (where n.state = 'pending' and n.error is not null) as "failing!",
             count(*) filter (where n.state = 'given_up' and n.ended_at > coalesce(a.sent, '-infinity'))
                 as "given_up!",
             (array_agg(n.error order by n.created_at desc)
                 filter (where n.error is not null and n.state <> 'sent'
                     and coalesce(n.ended_at, 'infinity') > coalesce(a.sent, '-infinity')))[1] as error
         from arrived a join notices n using (notifier) group by 1, 2, 3 order by 1"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|raw| Fares {
            notifier: raw.notifier,
            pending: big_count(raw.pending),
            pending_since: raw.pending_since,
            failing: big_count(raw.failing),
            last_sent_at: raw.last_sent,
            last_given_up_at: raw.last_given_up,
            given_up: big_count(raw.given_up),
            error: raw.error,
        })
        .collect())
}

/// Deletes up to `limit` notices that came to their end longer than `age` ago.
pub async fn prune(conn: &mut PgConnection, age: Duration, limit: i64) -> StateResult<u64> {
    let done = sqlx::query!(
        "delete from notices where id = any(array(
             select id from notices where ended_at < now() - make_interval(secs => $1) limit $2))",
        age.as_seconds_f64(),
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// A condition holds. Whether that is news.
pub async fn begins(conn: &mut PgConnection, cluster: &ClusterName, condition: &str) -> StateResult<bool> {
    let done = sqlx::query!(
        "insert into conditions (cluster, condition) values ($1, $2) on conflict do nothing",
        cluster.as_str(),
        condition
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// It no longer holds. Since when it had, if that is news.
pub async fn ends(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    condition: &str,
) -> StateResult<Option<DateTime<Utc>>> {
    let since = sqlx::query_scalar!(
        "delete from conditions where cluster = $1 and condition = $2 returning since",
        cluster.as_str(),
        condition
    )
    .fetch_optional(conn)
    .await?;
    Ok(since)
}

/// The clusters of which a condition was told.
pub async fn holding(conn: &mut PgConnection, condition: &str) -> StateResult<Vec<String>> {
    let clusters =
        sqlx::query_scalar!("select cluster from conditions where condition = $1 order by 1", condition)
            .fetch_all(conn)
            .await?;
    Ok(clusters)
}
