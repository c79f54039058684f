//! The connection pool, and the schema's migrations, embedded.
//!
//! Every session bounds what it may hold up. A scheduler that stands still or is cut off in the
//! middle of a transaction keeps the locks of its job, cluster or worker; the server ends such a
//! session (`BOUNDS`), so what the others wait for is theirs again within seconds. What they see
//! meanwhile (55P03, 57014, 25P03, a closed connection) passes: [`crate::StateError::is_passing`].

use std::{path::PathBuf, time::Duration};

use ringvault_tls::{ClientTls, TlsError, Trouble, explain};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode},
};
use url::Url;

/// The `[postgres]` section of a configuration file. Exactly one of the two URLs is given.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:5432/database`. It may say `?sslmode=verify-full` with
    /// `sslrootcert`, `sslcert` and `sslkey`, as libpq has them.
    pub url: Option<SecretString>,
    /// A file that holds the URL, for secrets that are mounted.
    pub url_file: Option<PathBuf>,
    /// Connections at most; 16 when absent.
    pub max_connections: Option<u32>,
    /// TLS with the server's certificate and host name verified (`sslmode=verify-full`), whatever the
    /// URL says of it.
    pub tls: Option<ClientTls>,
}

/// Why the database cannot be used. Never holds the URL, which has a password in it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Neither or both URLs were given.
    #[error("exactly one of postgres.url and postgres.url_file must be given, not {given}")]
    NotOne {
        /// `neither` or `both`.
        given: &'static str,
    },
    /// The file cannot be read.
    #[error("postgres.url_file {} cannot be read: {cause}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        cause: std::io::Error,
    },
    /// Not a URL of Postgres.
    #[error("the URL of postgres is not valid; it has the form postgres://user:password@host:5432/database")]
    BadUrl,
    /// A certificate or key cannot be used.
    #[error("postgres.tls: {0}")]
    Tls(#[from] TlsError),
    /// The server's certificate is not to be trusted, or it speaks no TLS.
    #[error("postgres at {server} cannot be trusted: {cause}")]
    Untrusted {
        /// Host, port and database.
        server: String,
        /// Why.
        cause: String,
    },
    /// The server refused the user, the password or the database.
    #[error("postgres at {server} refused access: {cause}")]
    AccessRefused {
        /// Host, port and database.
        server: String,
        /// The server's words.
        cause: String,
    },
    /// The server does not answer.
    #[error("postgres at {server} cannot be reached: {cause}")]
    Unreachable {
        /// Host, port and database.
        server: String,
        /// The system's words.
        cause: String,
    },
    /// The schema could not be brought up to date.
    #[error("the schema of postgres at {server} could not be migrated: {cause}")]
    Migrate {
        /// Host, port and database.
        server: String,
        /// Which migration, and the server's words.
        cause: sqlx::migrate::MigrateError,
    },
}

/// How long a call waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// The session's settings, which the server keeps whatever becomes of the client. The longest
/// transaction is a few dozen statements of milliseconds, so each is far from what is usual.
const BOUNDS: [(&str, &str); 3] =
    [("idle_in_transaction_session_timeout", "10s"), ("lock_timeout", "5s"), ("statement_timeout", "30s")];

/// The server's own end of the TCP connection: a client whose host or network is gone is noticed
/// within half a minute, and with it its session, locks and all.
const NETWORK: [(&str, &str); 4] = [
    ("tcp_keepalives_idle", "10"),
    ("tcp_keepalives_interval", "5"),
    ("tcp_keepalives_count", "4"),
    ("tcp_user_timeout", "30000"),
];

/// Many short statements: compiling one that reads a thousand rows takes longer than to run it.
const COMPILES: [(&str, &str); 1] = [("jit", "off")];

/// The server looks as often whether the client of a long statement is still there. Not an option of
/// the connection: a server whose system cannot do that (some besides Linux) would refuse it whole.
const LOOK_FOR_CLIENT: &str = "set client_connection_check_interval = '5s'";

/// The schema; every scheduler brings it up to date when it starts, one at a time.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations");

/// Connects, and migrates the schema.
pub async fn open(config: &PostgresConfig) -> Result<PgPool, OpenError> {
    let options = config.options()?;
    let server = format!(
        "{}:{}/{}",
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap_or_default()
    );
    // A migration takes as long as it takes, and waits for the scheduler that is migrating.
    let mut migrating =
        PgConnection::connect_with(&options).await.map_err(|error| connect_error(&server, error))?;
    MIGRATOR
        .run(&mut migrating)
        .await
        .map_err(|cause| OpenError::Migrate { server: server.clone(), cause })?;
    // What it was for is done.
    let _ = migrating.close().await;
    PgPoolOptions::new()
        .max_connections(config.max_connections.unwrap_or(16))
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(|conn, _| {
            Box::pin(async move {
                match sqlx::query(LOOK_FOR_CLIENT).execute(conn).await {
                    Err(error @ sqlx::Error::Database(_)) => {
                        tracing::debug!(%error, "the server cannot look whether a client is there");
                        Ok(())
                    }
                    other => other.map(|_| ()),
                }
            })
        })
        .connect_with(options.options(BOUNDS).options(COMPILES))
        .await
        .map_err(|error| connect_error(&server, error))
}

impl PostgresConfig {
    /// A configuration from a URL at hand.
    pub fn from_url(url: impl Into<String>) -> Self {
        Self { url: Some(SecretString::from(url.into())), ..Self::default() }
    }

    fn options(&self) -> Result<PgConnectOptions, OpenError> {
        let url = match (&self.url, &self.url_file) {
            (Some(url), None) => url.clone(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map(SecretString::from)
                .map_err(|cause| OpenError::FileUnreadable { path: path.clone(), cause })?,
            (None, None) => return Err(OpenError::NotOne { given: "neither" }),
            (Some(_), Some(_)) => return Err(OpenError::NotOne { given: "both" }),
        };
        let url = url.expose_secret().trim();
        let options: PgConnectOptions = url.parse().map_err(|_| OpenError::BadUrl)?;
        let options = match &self.tls {
            Some(tls) => verified(options, tls)?,
            None => {
                files_of(url).check()?;
                options
            }
        };
        Ok(options.application_name("ringvault-scheduler").options(NETWORK))
    }
}

/// The driver reads the files for each connection, so renewed certificates need no restart; here they
/// are read to say what is wrong with them by name.
fn verified(options: PgConnectOptions, tls: &ClientTls) -> Result<PgConnectOptions, OpenError> {
    tls.check()?;
    let mut options = options.ssl_mode(PgSslMode::VerifyFull);
    if let Some(file) = &tls.ca_file {
        options = options.ssl_root_cert(file);
    }
    if let (Some(certificate), Some(key)) = (&tls.certificate_file, &tls.key_file) {
        options = options.ssl_client_cert(certificate).ssl_client_key(key);
    }
    Ok(options)
}

/// The files that a URL names.
fn files_of(url: &str) -> ClientTls {
    let mut files = ClientTls::default();
    let Ok(url) = Url::parse(url) else { return files };
    for (name, value) in url.query_pairs() {
        let file = match name.as_ref() {
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => &mut files.ca_file,
            "sslcert" | "ssl-cert" => &mut files.certificate_file,
            "sslkey" | "ssl-key" => &mut files.key_file,
            _ => continue,
        };
        *file = Some(PathBuf::from(value.as_ref()));
    }
    files
}

fn connect_error(server: &str, error: sqlx::Error) -> OpenError {
    let server = server.to_owned();
    match explain(&error) {
        Some(Trouble::Untrusted(cause)) => return OpenError::Untrusted { server, cause },
        Some(Trouble::Refused(cause)) => return OpenError::AccessRefused { server, cause },
        None => {}
    }
    match error {
        sqlx::Error::Tls(cause) => OpenError::Untrusted { server, cause: cause.to_string() },
        // Class 28: invalid authorization; 3D000: no such database; 42501: no right to connect.
        sqlx::Error::Database(error)
            if error
                .code()
                .is_some_and(|code| code.starts_with("28") || code == "3D000" || code == "42501") =>
        {
            OpenError::AccessRefused { server, cause: error.message().to_owned() }
        }
        sqlx::Error::PoolTimedOut => OpenError::Unreachable {
            server,
            cause: format!("no connection within {} s", ACQUIRE_TIMEOUT.as_secs()),
        },
        error => OpenError::Unreachable { server, cause: error.to_string() },
    }
}
