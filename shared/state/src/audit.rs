//! The audit log: entries are written with what they tell of, in its transaction, and given their
//! place in the chain soon after, by one at a time: so nobody waits for the chain's end, and what was
//! not committed is not in it.

use chrono::{DateTime, Utc};
use ringvault_core::{
    ClusterName,
    api::AuditEntry,
    audit::{self, Hash},
};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{StateResult, word::Row};

/// Something that is done in this transaction.
#[derive(Debug, Clone, Copy)]
pub struct Deed<'a> {
    /// Who.
    pub actor: &'a str,
    /// What, such as `policy.apply`.
    pub action: &'a str,
    /// In which cluster.
    pub cluster: Option<&'a ClusterName>,
    /// To what, such as `policy nightly`.
    pub target: &'a str,
    /// What else there is to say. Never a secret.
    pub details: &'a Value,
}

/// Writes it down.
pub async fn record(conn: &mut PgConnection, deed: Deed<'_>) -> StateResult<()> {
    sqlx::query!(
        "insert into audit (id, actor, action, cluster, target, details) values ($1, $2, $3, $4, $5, $6)",
        Uuid::now_v7(),
        deed.actor,
        deed.action,
        deed.cluster.map(ClusterName::as_str),
        deed.target,
        audit::plain(deed.details.clone()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The chain's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Tells this log from that of another database.
    pub chain: Uuid,
    /// Entries in the chain.
    pub seq: u64,
    /// Hash of the last one, in hexadecimal.
    pub hash: String,
    /// How far the vault has been told.
    pub anchored: u64,
    /// When it was.
    pub anchored_at: Option<DateTime<Utc>>,
}

fn count(row: &Row<'_>, column: &'static str, value: i64) -> StateResult<u64> {
    u64::try_from(value).map_err(|_| row.unreadable(column, "it is negative"))
}

fn hash(row: &Row<'_>, bytes: &[u8]) -> StateResult<Hash> {
    bytes.try_into().map_err(|_| row.unreadable("hash", "it is not of 32 bytes"))
}

/// Where the chain ends.
pub async fn head(conn: &mut PgConnection) -> StateResult<Head> {
    let raw = sqlx::query!("select chain, seq, hash, anchored, anchored_at from audit_head")
        .fetch_one(conn)
        .await?;
    let row = Row::new("audit head", &raw.chain);
    Ok(Head {
        chain: raw.chain,
        seq: count(&row, "seq", raw.seq)?,
        hash: hex::encode(hash(&row, &raw.hash)?),
        anchored: count(&row, "anchored", raw.anchored)?,
        anchored_at: raw.anchored_at,
    })
}

/// Gives the oldest entries without one, at most `limit`, their place in the chain; how many. The
/// caller's transaction holds the chain's end until it is committed.
pub async fn chain(conn: &mut PgConnection, limit: i64) -> StateResult<usize> {
    let end =
        sqlx::query!("select chain, seq, hash from audit_head for update").fetch_one(&mut *conn).await?;
    let row = Row::new("audit head", &end.chain);
    let mut seq = count(&row, "seq", end.seq)?;
    let mut last = hash(&row, &end.hash)?;
    let open = sqlx::query_as!(
        Raw,
        r#"select id, seq, at, actor, action, cluster, target, details, hash, null::bytea as prev
           from audit where seq is null order by id limit $1"#,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    if open.is_empty() {
        return Ok(0);
    }
    let (mut ids, mut seqs, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for raw in open {
        seq += 1;
        let id = raw.id;
        let entry = raw.read(seq, &last)?;
        last = audit::hash_of(&entry);
        ids.push(id);
        seqs.push(i64::try_from(seq).map_err(|_| row.unreadable("seq", "it is too large"))?);
        hashes.push(last.to_vec());
    }
    sqlx::query!(
        "update audit a set seq = c.seq, hash = c.hash
         from unnest($1::uuid[], $2::bigint[], $3::bytea[]) as c (id, seq, hash) where a.id = c.id",
        &ids,
        &seqs,
        &hashes
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("update audit_head set seq = $1, hash = $2", seqs.last(), last.as_slice())
        .execute(conn)
        .await?;
    Ok(ids.len())
}

/// The vault was told of the chain up to this entry.
pub async fn anchored(conn: &mut PgConnection, seq: u64) -> StateResult<()> {
    let seq = i64::try_from(seq).unwrap_or(i64::MAX);
    sqlx::query!("update audit_head set anchored = greatest(anchored, $1), anchored_at = now()", seq)
        .execute(conn)
        .await?;
    Ok(())
}

struct Raw {
    id: Uuid,
    seq: Option<i64>,
    at: DateTime<Utc>,
    actor: String,
    action: String,
    cluster: Option<String>,
    target: String,
    details: Value,
    hash: Option<Vec<u8>>,
    prev: Option<Vec<u8>>,
}

impl Raw {
    fn read(self, seq: u64, prev: &Hash) -> StateResult<AuditEntry> {
        let row = Row::new("audit entry", &self.id);
        Ok(AuditEntry {
            seq,
            at: self.at,
            actor: self.actor,
            action: self.action,
            cluster: self.cluster.map(|name| row.word("cluster", &name)).transpose()?,
            target: self.target,
            details: self.details,
            prev: hex::encode(prev),
            hash: self.hash.map(hex::encode).unwrap_or_default(),
        })
    }

    fn chained(self) -> StateResult<AuditEntry> {
        let row = Row::new("audit entry", &self.id);
        let seq = count(&row, "seq", self.seq.unwrap_or_default())?;
        // Without the entry before it there is nothing that it could follow: whoever checks finds that.
        let prev = self.prev.as_deref().map(|bytes| hash(&row, bytes)).transpose()?;
        self.read(seq, &prev.unwrap_or(audit::GENESIS))
    }
}

/// Which entries to read.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// In this cluster.
    pub cluster: Option<ClusterName>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of this action, or of a kind of them: `job.`.
    pub action: Option<String>,
}

/// Entries of the chain, the newest first, before the entry `before`.
pub async fn list(
    conn: &mut PgConnection,
    filter: &AuditFilter,
    before: Option<u64>,
    limit: i64,
) -> StateResult<Vec<AuditEntry>> {
    let before = before.map_or(i64::MAX, |seq| i64::try_from(seq).unwrap_or(i64::MAX));
    let rows = sqlx::query_as!(
        Raw,
        r#"select a.id, a.seq, a.at, a.actor, a.action, a.cluster, a.target, a.details, a.hash,
             (select p.hash from audit p where p.seq = a.seq - 1) as prev
           from audit a
           where a.seq < $1 and ($2::text is null or a.cluster = $2) and ($3::text is null or a.actor = $3)
             and ($4::text is null or starts_with(a.action, $4))
           order by a.seq desc limit $5"#,
        before,
        filter.cluster.as_ref().map(ClusterName::as_str),
        filter.actor,
        filter.action,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::chained).collect()
}

/// Entries of the chain in its order, after the entry `after`.
pub async fn read_on(conn: &mut PgConnection, after: u64, limit: i64) -> StateResult<Vec<AuditEntry>> {
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = sqlx::query_as!(
        Raw,
        r#"select a.id, a.seq, a.at, a.actor, a.action, a.cluster, a.target, a.details, a.hash,
             (select p.hash from audit p where p.seq = a.seq - 1) as prev
           from audit a where a.seq > $1 order by a.seq limit $2"#,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::chained).collect()
}
