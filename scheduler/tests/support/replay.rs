//! Invariant 4: the transition log replays to the current state.

use ringvault_core::JobId;
use ringvault_state::replay;

use super::Lab;

impl Lab {
    /// Replays a job's log from its first line, and compares with what stands in the tables.
    pub async fn assert_replays(&self, id: JobId) {
        let mut conn = self.ctx.db.acquire().await.expect("a connection");
        assert_eq!(replay::disagreement(&mut conn, id).await.expect("the log"), None);
        let without: i64 = sqlx::query_scalar(
            "select count(*) from tasks t where job = $1 and not exists
                 (select from transitions l where l.job = t.job and l.task = t.id)",
        )
        .bind(id.0)
        .fetch_one(&mut *conn)
        .await
        .expect("the tasks");
        assert_eq!(without, 0, "every task has a log");
    }
}
