//! What the live workers of a cluster see of its ring: nodes that are behind, or apart from the others,
//! see another one, and which of them spoke last says nothing.

use chrono::Duration;
use ringvault_core::ClusterName;
use sqlx::PgConnection;

use crate::{StateResult, word::Row};

/// How many workers see what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Votes {
    /// Workers that see this very ring.
    pub same: u32,
    /// Workers that see any.
    pub all: u32,
}

impl Votes {
    /// Whether most see it.
    pub const fn are_most(self) -> bool {
        self.same * 2 > self.all
    }
}

/// Counts the workers of a cluster, heard of within `silence`, that see the ring with this digest.
pub async fn count(
    conn: &mut PgConnection,
    cluster: &ClusterName,
    digest: &[u8],
    silence: Duration,
) -> StateResult<Votes> {
    let row = sqlx::query!(
        r#"select count(*) filter (where sees = $2)::integer as "same!", count(*)::integer as "all!"
         from workers
         where cluster = $1 and state = 'live' and sees is not null
           and last_seen > clock_timestamp() - make_interval(secs => $3)"#,
        cluster.as_str(),
        digest,
        silence.as_seconds_f64(),
    )
    .fetch_one(conn)
    .await?;
    let names = Row::new("votes of cluster", cluster);
    Ok(Votes { same: names.count("same", row.same)?, all: names.count("all", row.all)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_not_most() {
        for (same, all, most) in [(1, 1, true), (1, 2, false), (2, 3, true), (2, 4, false), (3, 4, true)] {
            assert_eq!(Votes { same, all }.are_most(), most, "{same} of {all}");
        }
    }
}
