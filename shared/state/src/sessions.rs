//! Browsers that are signed in. As with tokens, only SHA-256 of a cookie is kept: whoever reads the
//! database cannot use one. A session is worth what its token is worth when it is used: a token that
//! is revoked or over ends its sessions. A person's session is worth what the identity provider said of
//! them when it began.

use chrono::{DateTime, TimeDelta, Utc};
use ringvault_core::api::{Role, SignedIn, SignedInAs, TokenView};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{StateResult, word::Row};

/// Somebody whom an identity provider has vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRow {
    /// What they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The provider.
    pub issuer: String,
    /// Who they are there.
    pub subject: String,
}

/// What a session stands for.
#[derive(Debug, Clone, Copy)]
pub enum Stands<'a> {
    /// This token of the database.
    Token(Uuid),
    /// The administrator's token of the configuration: SHA-256 of the cookie and that token's hash.
    Admin(&'a [u8; 32]),
    /// A person.
    Person(&'a PersonRow),
}

/// Begins a session, and forgets those that are over. Until when it lasts.
pub async fn begin(
    conn: &mut PgConnection,
    hash: &[u8; 32],
    stands: Stands<'_>,
    lasts: TimeDelta,
) -> StateResult<DateTime<Utc>> {
    let (token, bound, person) = match stands {
        Stands::Token(id) => (Some(id), None, None),
        Stands::Admin(bound) => (None, Some(bound.as_slice()), None),
        Stands::Person(person) => (None, None, Some(person)),
    };
    sqlx::query!("delete from sessions where expires_at < now()").execute(&mut *conn).await?;
    let until = sqlx::query_scalar!(
        "insert into sessions (hash, token, bound, person, role, issuer, subject, expires_at, id)
         values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8), $9) returning expires_at",
        hash.as_slice(),
        token,
        bound,
        person.map(|person| person.name.as_str()),
        person.map(|person| person.role.as_str()),
        person.map(|person| person.issuer.as_str()),
        person.map(|person| person.subject.as_str()),
        lasts.as_seconds_f64(),
        Uuid::now_v7(),
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
    /// Its token, where it stands for one of the database.
    pub token: Option<TokenView>,
    /// What binds it to the administrator's token, where it stands for that.
    pub bound: Option<Vec<u8>>,
    /// Its person, where it stands for one.
    pub person: Option<PersonRow>,
}

/// Looks for a session whose token may still be used, and notes to a minute when that was used.
pub async fn find(conn: &mut PgConnection, hash: &[u8; 32]) -> StateResult<Option<Live>> {
    let raw = sqlx::query!(
        r#"select s.expires_at as until, s.bound, s.id as session, s.person, s.role as person_role, s.issuer,
             s.subject, t.id as "id?", t.name as "name?", t.role as "role?",
             t.created_at as "created_at?", t.created_by as "created_by?", t.expires_at, t.last_used,
             coalesce(t.last_used < now() - interval '1 minute', true) as "note_use!"
         from sessions s
         left join tokens t on t.id = s.token and t.revoked_at is null
             and (t.expires_at is null or t.expires_at > now())
         where s.hash = $1 and s.expires_at > now()
           and (s.bound is not null or s.person is not null or t.id is not null)"#,
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
    let person = match (raw.person, raw.person_role, raw.issuer, raw.subject) {
        (Some(name), Some(role), Some(issuer), Some(subject)) => {
            let role = Row::new("session", &raw.session).word::<Role>("role", &role)?;
            Some(PersonRow { name, role, issuer, subject })
        }
        _ => None,
    };
    Ok(Some(Live { expires_at: raw.until, token, bound: raw.bound, person }))
}

/// Ends a session.
pub async fn end(conn: &mut PgConnection, hash: &[u8; 32]) -> StateResult<()> {
    sqlx::query!("delete from sessions where hash = $1", hash.as_slice()).execute(conn).await?;
    Ok(())
}

/// Who is signed in, the newest first, at most `limit` of those before the id `after` (ids are in the
/// order of time). Sessions whose token is revoked or over are not told.
pub async fn list(conn: &mut PgConnection, after: Option<Uuid>, limit: i64) -> StateResult<Vec<SignedIn>> {
    let rows = sqlx::query!(
        r#"select s.id, s.created_at, s.expires_at, s.issuer, s.person is not null as "is_person!",
             coalesce(s.person, t.name, 'admin') as "name!", coalesce(s.role, t.role, 'admin') as "role!"
         from sessions s
         left join tokens t on t.id = s.token and t.revoked_at is null
             and (t.expires_at is null or t.expires_at > now())
         where s.expires_at > now() and (s.token is null or t.id is not null)
           and ($1::uuid is null or s.id < $1)
         order by s.id desc limit $2"#,
        after,
        limit
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|raw| {
            Ok(SignedIn {
                role: Row::new("session", &raw.id).word::<Role>("role", &raw.role)?,
                id: raw.id,
                name: raw.name,
                kind: if raw.is_person { SignedInAs::Person } else { SignedInAs::Token },
                issuer: raw.issuer,
                since: raw.created_at,
                expires_at: raw.expires_at,
            })
        })
        .collect()
}

/// Ends the session of this id, or all of whoever has this name; how many.
pub async fn revoke(conn: &mut PgConnection, id_or_name: &str) -> StateResult<u64> {
    let id = Uuid::parse_str(id_or_name).ok();
    let ended = sqlx::query!(
        "delete from sessions s using (
             select s.id, coalesce(s.person, t.name, 'admin') as name
             from sessions s left join tokens t on t.id = s.token) as named
         where named.id = s.id and s.expires_at > now() and (s.id = $1 or named.name = $2)",
        id,
        id_or_name
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected())
}
