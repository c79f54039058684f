//! Browsers that are signed in. As with tokens, only SHA-256 of a cookie is kept: whoever reads the
//! database cannot use one. A session is worth what its token is worth when it is used: a token that
//! is revoked or over ends its sessions.

use chrono::{DateTime, TimeDelta, Utc};
use ringvault_core::api::{Role, TokenView};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{StateResult, word::Row};

/// What a session stands for.
#[derive(Debug, Clone, Copy)]
pub enum Stands<'a> {
    /// This token of the database.
    Token(Uuid),
    /// The administrator's token of the configuration: SHA-256 of the cookie and that token's hash.
    Admin(&'a [u8; 32]),
}

/// Begins a session, and forgets those that are over. Until when it lasts.
pub async fn begin(
    conn: &mut PgConnection,
    hash: &[u8; 32],
    stands: Stands<'_>,
    lasts: TimeDelta,
) -> StateResult<DateTime<Utc>> {
    let (token, bound) = match stands {
        Stands::Token(id) => (Some(id), None),
        Stands::Admin(bound) => (None, Some(bound.as_slice())),
    };
    sqlx::query!("delete from sessions where expires_at < now()").execute(&mut *conn).await?;
    let until = sqlx::query_scalar!(
        "insert into sessions (hash, token, bound, expires_at)
         values ($1, $2, $3, now() + make_interval(secs => $4)) returning expires_at",
        hash.as_slice(),
        token,
        bound,
        lasts.as_seconds_f64(),
    )
    .fetch_one(conn)
    .await?;
    Ok(until)
}

/// A session that is not over.
#[derive(Debug, Clone)]
pub struct Live {
    /// Until when.
    pub expires_at: DateTime<Utc>,
    /// Its token; absent where it stands for the administrator's of the configuration.
    pub token: Option<TokenView>,
    /// What binds it to the administrator's token.
    pub bound: Option<Vec<u8>>,
}

/// Looks for a session whose token may still be used, and notes to a minute when that was used.
pub async fn find(conn: &mut PgConnection, hash: &[u8; 32]) -> StateResult<Option<Live>> {
    let raw = sqlx::query!(
        r#"select s.expires_at as until, s.bound, t.id as "id?", t.name as "name?", t.role as "role?",
             t.created_at as "created_at?", t.created_by as "created_by?", t.expires_at, t.last_used,
             coalesce(t.last_used < now() - interval '1 minute', true) as "note_use!"
         from sessions s
         left join tokens t on t.id = s.token and t.revoked_at is null
             and (t.expires_at is null or t.expires_at > now())
         where s.hash = $1 and s.expires_at > now() and (s.bound is not null or t.id is not null)"#,
        hash.as_slice()
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(raw) = raw else { return Ok(None) };
    let token = match (raw.id, raw.name, raw.role, raw.created_at, raw.created_by) {
        (Some(id), Some(name), Some(role), Some(created_at), Some(created_by)) => {
            if raw.note_use {
                sqlx::query!("update tokens set last_used = now() where id = $1", id).execute(conn).await?;
            }
            Some(TokenView {
                role: Row::new("token", &id).word::<Role>("role", &role)?,
                id,
                name,
                created_at,
                created_by,
                expires_at: raw.expires_at,
                last_used_at: raw.last_used,
                revoked_at: None,
            })
        }
        _ => None,
    };
    Ok(Some(Live { expires_at: raw.until, token, bound: raw.bound }))
}

/// Ends a session.
pub async fn end(conn: &mut PgConnection, hash: &[u8; 32]) -> StateResult<()> {
    sqlx::query!("delete from sessions where hash = $1", hash.as_slice()).execute(conn).await?;
    Ok(())
}
