//! Log lines: to standard error, as text on a terminal and as JSON elsewhere; `RUST_LOG` filters.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The broker's library tells each lost connection several times over, and the session tells it
/// once; Postgres notes each migration that has nothing to do.
const DEFAULT: &str = "info,lapin=off,sqlx::postgres::notice=warn";

/// Sets logging up; once per process.
pub fn init() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.init();
    } else {
        builder.json().init();
    }
}
