//! A session that stands still in the middle of a transaction keeps nobody waiting for long.

use std::time::{Duration, Instant};

use ringvault_core::ClusterName;
use ringvault_state::{PostgresConfig, StateError, registry::clusters};
use sqlx::PgPool;

#[sqlx::test(migrations = "../../migrations")]
async fn what_a_frozen_scheduler_had_locked_is_free_within_seconds(db: PgPool) {
    use sqlx::ConnectOptions;
    let url = db.connect_options().to_url_lossy();
    let pool = ringvault_state::open(&PostgresConfig::from_url(url)).await.expect("the pool");
    let cluster = ClusterName::new("c").expect("a name");
    let mut conn = pool.acquire().await.expect("a connection");
    clusters::add(&mut conn, &cluster).await.expect("added");
    drop(conn);

    let mut frozen = pool.begin().await.expect("a transaction");
    clusters::lock(&mut frozen, &cluster).await.expect("locked");
    let began = Instant::now();
    let mut waits = 0;
    loop {
        let mut other = pool.begin().await.expect("a transaction");
        match clusters::lock(&mut other, &cluster).await {
            Ok(_) => break,
            Err(error) => {
                waits += 1;
                assert!(error.is_passing(), "{error}");
                assert!(began.elapsed() < Duration::from_secs(60), "it waits for ever: {error}");
            }
        }
    }
    assert!(waits > 0, "a wait for a lock ends by itself");
    let late = sqlx::query("select 1").execute(&mut *frozen).await.expect_err("its session is over");
    assert!(StateError::from(late).is_passing());
}
