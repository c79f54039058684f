//! What the backups of each cluster take in the store.

use ringvault_core::api::ClusterStorage;
use sqlx::PgConnection;

use crate::{
    StateResult,
    word::{Row, big_count},
};

/// By cluster; without prices and retentions, which the database does not know as such. One look
/// reads all backups there are.
pub async fn clusters(conn: &mut PgConnection) -> StateResult<Vec<ClusterStorage>> {
    let rows = sqlx::query!(
        r#"with kept as (
             select cluster, state, started_at, purged_at, tainted,
                 state in ('complete', 'covering', 'incomplete') as is_kept,
                 coalesce((figures ->> 'bytes')::numeric, 0) as bytes,
                 coalesce((figures ->> 'bytes_new')::numeric, 0) as bytes_new
             from backups),
           freed as (
             select cluster, sum(bytes) as bytes from (
                 select cluster, value::numeric as bytes from counters where name = 'purged_bytes_total'
                 union all
                 select t.cluster, (t.result ->> 'bytes')::numeric from jobs j join tasks t on t.job = j.id
                 where not j.counted and t.kind = 'sweep' and t.state = 'succeeded') f
             group by cluster),
           held as (
             select cluster, count(distinct backup) as backups from holds
             where released_at is null and name is not null group by cluster)
         select k.cluster as "cluster!",
             count(*) filter (where is_kept)::integer as "kept!",
             count(*) filter (where state in ('complete', 'covering') and not tainted)::integer
                 as "restorable!",
             count(*) filter (where state = 'running')::integer as "running!",
             count(*) filter (where state in ('dead', 'expired') and purged_at is null)::integer
                 as "leftover!",
             min(started_at) filter (where is_kept) as oldest,
             max(started_at) filter (where is_kept) as newest,
             coalesce((array_agg(k.bytes order by started_at desc) filter (where is_kept))[1], 0)::bigint
                 as "newest_bytes!",
             coalesce(sum(k.bytes) filter (where is_kept), 0)::bigint as "named!",
             greatest(sum(bytes_new) - coalesce(max(f.bytes), 0), 0)::bigint as "stored!",
             coalesce(max(h.backups), 0)::integer as "held!"
         from kept k left join freed f on f.cluster = k.cluster left join held h on h.cluster = k.cluster
         group by k.cluster order by k.cluster"#
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|raw| {
            let row = Row::new("cluster", &raw.cluster);
            Ok(ClusterStorage {
                cluster: row.word("name", &raw.cluster)?,
                kept: row.count("kept", raw.kept)?,
                restorable: row.count("restorable", raw.restorable)?,
                held: row.count("held", raw.held)?,
                running: row.count("running", raw.running)?,
                leftover: row.count("leftover", raw.leftover)?,
                oldest: raw.oldest,
                newest: raw.newest,
                newest_bytes: big_count(raw.newest_bytes),
                named_bytes: big_count(raw.named),
                stored_bytes: big_count(raw.stored),
                cost_per_month: None,
                retentions: Vec::new(),
            })
        })
        .collect()
}
