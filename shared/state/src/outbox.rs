//! Messages that leave: written with the state they announce, published by relays afterwards.
//!
//! A relay claims rows with `FOR UPDATE SKIP LOCKED` and a lease (`claimed_until`), publishes them
//! outside the transaction and marks them. A relay that dies in between leaves its rows to be
//! claimed again, so a message may be sent twice, and none is lost. Rows are claimed by id but
//! never by "greater than the last seen": sequences commit out of order.

use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};
use ringvault_core::TaskId;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    StateResult,
    word::{self, Row},
};

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Its id.
    pub message_id: Uuid,
    /// Its type.
    pub message_type: String,
    /// Headers, signature included.
    pub headers: BTreeMap<String, String>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// Whether a message that no queue takes is an error.
    pub mandatory: bool,
    /// Whether it outlasts a restart of the broker.
    pub persistent: bool,
    /// The task and epoch it offers, so that an unroutable offer is told to its task.
    pub offer: Option<(TaskId, u32)>,
}

/// Adds messages to what is to be sent, in their order.
pub async fn insert(conn: &mut PgConnection, messages: &[Message]) -> StateResult<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let text = |of: fn(&Message) -> &str| -> Vec<&str> { messages.iter().map(of).collect() };
    let flag = |of: fn(&Message) -> bool| -> Vec<bool> { messages.iter().map(of).collect() };
    let mut headers = Vec::new();
    let mut epochs: Vec<Option<i32>> = Vec::new();
    for message in messages {
        headers.push(word::json("headers", &message.headers)?);
        epochs.push(message.offer.map(|(_, epoch)| word::int("epoch", epoch)).transpose()?);
    }
    sqlx::query!(
        "insert into outbox (exchange, routing_key, message_id, message_type, headers, body, mandatory,
             persistent, task, epoch)
         select exchange, routing_key, message_id, message_type, headers, body, mandatory, persistent, task,
             epoch
         from unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::jsonb[], $6::bytea[], $7::boolean[],
             $8::boolean[], $9::uuid[], $10::integer[]) with ordinality
             as m (exchange, routing_key, message_id, message_type, headers, body, mandatory, persistent, task,
                 epoch, place)
         order by place",
        &text(|message| &message.exchange) as &[&str],
        &text(|message| &message.routing_key) as &[&str],
        &messages.iter().map(|message| message.message_id).collect::<Vec<_>>(),
        &text(|message| &message.message_type) as &[&str],
        &headers,
        &messages.iter().map(|message| message.body.as_slice()).collect::<Vec<_>>() as &[&[u8]],
        &flag(|message| message.mandatory),
        &flag(|message| message.persistent),
        &messages.iter().map(|m| m.offer.map(|(task, _)| task.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &epochs as &[Option<i32>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A row in a relay's hand.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// Its id.
    pub id: i64,
    /// The message.
    pub message: Message,
}

/// Takes up to `limit` unsent messages in hand for `lease`, oldest first.
pub async fn claim(conn: &mut PgConnection, lease: Duration, limit: i64) -> StateResult<Vec<Claimed>> {
    let rows = sqlx::query!(
        "with chosen as (
             select id from outbox
             where sent_at is null and (claimed_until is null or claimed_until < clock_timestamp())
             order by id limit $2 for update skip locked)
         update outbox o set claimed_until = clock_timestamp() + make_interval(secs => $1),
             attempts = o.attempts + 1
         from chosen where o.id = chosen.id
         returning o.id, o.exchange, o.routing_key, o.message_id, o.message_type, o.headers, o.body,
             o.mandatory, o.persistent, o.task, o.epoch",
        lease.as_seconds_f64(),
        limit
    )
    .fetch_all(conn)
    .await?;
    let mut claimed = word::readable(rows.into_iter().map(|raw| {
        let row = Row::new("outbox message", &raw.id);
        let epoch = raw.epoch.map(|epoch| row.count("epoch", epoch)).transpose()?;
        Ok(Claimed {
            id: raw.id,
            message: Message {
                exchange: raw.exchange,
                routing_key: raw.routing_key,
                message_id: raw.message_id,
                message_type: raw.message_type,
                headers: row.json("headers", raw.headers)?,
                body: raw.body,
                mandatory: raw.mandatory,
                persistent: raw.persistent,
                offer: raw.task.map(TaskId).zip(epoch),
            },
        })
    }));
    claimed.sort_by_key(|row| row.id);
    Ok(claimed)
}

/// The broker has confirmed these.
pub async fn mark_sent(conn: &mut PgConnection, ids: &[i64]) -> StateResult<()> {
    sqlx::query!(
        "update outbox set sent_at = clock_timestamp(), claimed_until = null, error = null
         where id = any($1)",
        ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The broker has returned it: no queue takes it. It is not sent again; whoever waits for an
/// answer is told.
pub async fn mark_returned(conn: &mut PgConnection, id: i64, error: &str) -> StateResult<()> {
    sqlx::query!(
        "update outbox set sent_at = clock_timestamp(), returned = true, claimed_until = null, error = $2
         where id = $1 and sent_at is null",
        id,
        error
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// It could not be sent; it is tried again after `pause`.
pub async fn mark_failed(conn: &mut PgConnection, id: i64, error: &str, pause: Duration) -> StateResult<()> {
    sqlx::query!(
        "update outbox set claimed_until = clock_timestamp() + make_interval(secs => $3), error = $2
         where id = $1 and sent_at is null",
        id,
        error,
        pause.as_seconds_f64(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is not sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Messages.
    pub count: i64,
    /// When the oldest was written.
    pub oldest: Option<DateTime<Utc>>,
}

/// What is not sent yet, for status, metrics and alerts.
pub async fn pending(conn: &mut PgConnection) -> StateResult<Pending> {
    let row = sqlx::query!(
        r#"select count(*) as "count!", min(created_at) as oldest from outbox where sent_at is null"#
    )
    .fetch_one(conn)
    .await?;
    Ok(Pending { count: row.count, oldest: row.oldest })
}

/// Deletes up to `limit` messages that were sent longer than `age` ago.
pub async fn prune(conn: &mut PgConnection, age: Duration, limit: i64) -> StateResult<u64> {
    let done = sqlx::query!(
        // As an array: whatever the planner makes of the limit, the rows are found by their ids.
        "delete from outbox where id = any(array(
             select id from outbox where sent_at < now() - make_interval(secs => $1) limit $2))",
        age.as_seconds_f64(),
        limit
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
