//! The invariants of the end-to-end suite, as far as the database shows them.

#[path = "../../../tests/src/invariants/sql.rs"]
mod sql;

use super::Lab;

#[derive(Debug)]
pub struct Violation {
    pub invariant: String,
    pub what: String,
}

impl Violation {
    pub fn new(invariant: impl Into<String>, what: impl Into<String>) -> Self {
        Self { invariant: invariant.into(), what: what.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Busy,
    Settled,
}

impl Lab {
    /// Looks at everything that holds at every commit, and replays every job's log.
    pub async fn assert_invariants(&self, moment: Moment) {
        let mut conn = self.ctx.db.acquire().await.expect("a connection");
        let mut found = sql::violations(&mut conn, moment).await.expect("the invariants");
        found.extend(sql::replays(&mut conn).await.expect("the logs"));
        assert!(found.is_empty(), "{found:#?}");
    }
}
