//! Access tokens of the HTTP API. Only SHA-256 of a token is kept: whoever reads the database
//! cannot use one.

use chrono::{DateTime, Utc};
use ringvault_core::api::{Role, TokenView};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{StateResult, word::Row};

struct Raw {
    id: Uuid,
    name: String,
    role: String,
    created_at: DateTime<Utc>,
    created_by: String,
    expires_at: Option<DateTime<Utc>>,
    last_used: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl Raw {
    fn read(self) -> StateResult<TokenView> {
        let row = Row::new("token", &self.id);
        Ok(TokenView {
            id: self.id,
            role: row.word::<Role>("role", &self.role)?,
            name: self.name,
            created_at: self.created_at,
            created_by: self.created_by,
            expires_at: self.expires_at,
            last_used_at: self.last_used,
            revoked_at: self.revoked_at,
        })
    }
}

/// Adds a token. `None`: a token of that name is in use.
pub async fn insert(
    conn: &mut PgConnection,
    name: &str,
    role: Role,
    hash: &[u8; 32],
    created_by: &str,
    expires_at: Option<DateTime<Utc>>,
) -> StateResult<Option<TokenView>> {
    let raw = sqlx::query_as!(
        Raw,
        "insert into tokens (id, name, hash, role, created_by, expires_at)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing
         returning id, name, role, created_at, created_by, expires_at, last_used, revoked_at",
        Uuid::now_v7(),
        name,
        hash.as_slice(),
        role.as_str(),
        created_by,
        expires_at,
    )
    .fetch_optional(conn)
    .await?;
    raw.map(Raw::read).transpose()
}

/// A token that may be used now, with the hash it was found by.
#[derive(Debug, Clone)]
pub struct Usable {
    /// The token.
    pub token: TokenView,
    /// SHA-256 of its secret.
    pub hash: Vec<u8>,
}

/// Looks for a usable token by its hash, and notes to a minute when it was last used.
pub async fn find(conn: &mut PgConnection, hash: &[u8; 32]) -> StateResult<Option<Usable>> {
    let raw = sqlx::query!(
        r#"select id, name, role, hash, created_at, created_by, expires_at, last_used, revoked_at,
             coalesce(last_used < now() - interval '1 minute', true) as "note_use!"
         from tokens
         where hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())"#,
        hash.as_slice()
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(raw) = raw else { return Ok(None) };
    if raw.note_use {
        sqlx::query!("update tokens set last_used = now() where id = $1", raw.id).execute(conn).await?;
    }
    let view = Raw {
        id: raw.id,
        name: raw.name,
        role: raw.role,
        created_at: raw.created_at,
        created_by: raw.created_by,
        expires_at: raw.expires_at,
        last_used: raw.last_used,
        revoked_at: raw.revoked_at,
    };
    Ok(Some(Usable { token: view.read()?, hash: raw.hash }))
}

/// Tokens, the newest first, at most `limit` of those before the id `after` (ids are in the order
/// of time). Revoked ones are told too.
pub async fn list(conn: &mut PgConnection, after: Option<Uuid>, limit: i64) -> StateResult<Vec<TokenView>> {
    let rows = sqlx::query_as!(
        Raw,
        "select id, name, role, created_at, created_by, expires_at, last_used, revoked_at from tokens
         where ($1::uuid is null or id < $1) order by id desc limit $2",
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Raw::read).collect()
}

/// Revokes the token of this id, or of this name while it is in use. `None`: there is none.
pub async fn revoke(conn: &mut PgConnection, id_or_name: &str) -> StateResult<Option<TokenView>> {
    let id = Uuid::parse_str(id_or_name).ok();
    let raw = sqlx::query_as!(
        Raw,
        "update tokens set revoked_at = coalesce(revoked_at, now())
         where id = $1 or ($1::uuid is null and name = $2 and revoked_at is null)
         returning id, name, role, created_at, created_by, expires_at, last_used, revoked_at",
        id,
        id_or_name
    )
    .fetch_optional(conn)
    .await?;
    raw.map(Raw::read).transpose()
}
