//! The outbox under several relays at once.

use std::collections::BTreeMap;

use chrono::Duration;
use ringvault_state::outbox::{self, Message};
use sqlx::PgPool;
use uuid::Uuid;

fn message(n: u8) -> Message {
    Message {
        exchange: "ringvault.events".to_owned(),
        routing_key: format!("k{n}"),
        message_id: Uuid::now_v7(),
        message_type: "job.created".to_owned(),
        headers: BTreeMap::from([("h".to_owned(), "v".to_owned())]),
        body: vec![n],
        mandatory: false,
        persistent: true,
        offer: None,
    }
}

async fn fill(db: &PgPool, count: u8) -> Vec<Message> {
    let mut conn = db.acquire().await.expect("a connection");
    let mut all = Vec::new();
    for n in 0..count {
        let message = message(n);
        outbox::insert(&mut conn, std::slice::from_ref(&message)).await.expect("written");
        all.push(message);
    }
    all
}

const LEASE: Duration = Duration::seconds(60);

#[sqlx::test(migrations = "../../migrations")]
async fn two_relays_never_have_the_same_message_in_hand(db: PgPool) {
    let written = fill(&db, 10).await;
    let mut one = db.begin().await.expect("a transaction");
    let mut two = db.begin().await.expect("a transaction");
    let first = outbox::claim(&mut one, LEASE, 6).await.expect("claimed");
    let second = outbox::claim(&mut two, LEASE, 6).await.expect("claimed without waiting");
    assert_eq!((first.len(), second.len()), (6, 4));
    let claimed: Vec<Message> = first.into_iter().chain(second).map(|row| row.message).collect();
    assert_eq!(claimed, written, "as they were written, each once");
}

#[sqlx::test(migrations = "../../migrations")]
async fn what_a_dead_relay_had_in_hand_is_claimed_again(db: PgPool) {
    fill(&db, 3).await;
    let mut conn = db.acquire().await.expect("a connection");
    let first = outbox::claim(&mut conn, LEASE, 10).await.expect("claimed");
    assert!(outbox::claim(&mut conn, LEASE, 10).await.expect("looked").is_empty());
    outbox::mark_sent(&mut conn, &[first[0].id]).await.expect("marked");
    outbox::mark_returned(&mut conn, first[1].id, "no queue").await.expect("marked");
    let over =
        "update outbox set claimed_until = now() - interval '1 second' where claimed_until is not null";
    sqlx::query(over).execute(&mut *conn).await.expect("the claim's end");
    let again = outbox::claim(&mut conn, LEASE, 10).await.expect("claimed");
    assert_eq!(again.iter().map(|row| row.id).collect::<Vec<_>>(), [first[2].id]);
    assert_eq!(outbox::pending(&mut conn).await.expect("counted").count, 1);
    outbox::mark_failed(&mut conn, first[2].id, "nacked", Duration::zero()).await.expect("marked");
    let after_failure = outbox::claim(&mut conn, LEASE, 10).await.expect("claimed");
    assert_eq!(after_failure.len(), 1, "a failed one is tried again");
}
