//! What a real S3 server is asked is counted as it was asked.

#[path = "support/s3.rs"]
mod s3;
mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use ringvault_vault::{
    Store, StoreErrorKind,
    store::{MIN_PART, PutIfAbsent, RequestResult, StoreOperation as Of},
    throttle::Throttle,
};

/// How often an operation ended in each way, in the order of [`RequestResult::ALL`].
fn ends(store: &Store, operation: Of) -> [u64; RequestResult::ALL.len()] {
    let figures = store.requests().of(operation);
    assert_eq!(figures.count, figures.results.iter().sum::<u64>(), "each is timed");
    assert!(figures.count == 0 || !figures.took.is_zero());
    figures.results
}

#[tokio::test]
async fn what_a_bucket_is_asked_is_counted() {
    let (config, files) = s3::config().await;
    let store = Store::open(&config).await.unwrap();
    let body = || Bytes::from_static(b"some bytes");
    store.put("a/x", body()).await.unwrap();
    assert!(matches!(store.put_if_absent("a/y", body()).await.unwrap(), PutIfAbsent::Created(_)));
    assert_eq!(store.put_if_absent("a/y", body()).await.unwrap(), PutIfAbsent::Exists);
    store.get("a/x", 100).await.unwrap();
    store.get_range("a/x", 2, 3).await.unwrap();
    assert!(store.get("a/z", 100).await.unwrap_err().is_not_found());
    assert!(store.head("a/z").await.unwrap_err().is_not_found());
    let size = MIN_PART + 3;
    let upload = store.begin_multipart("a/v", MIN_PART, size).await.unwrap();
    upload.part(1, vec![7; usize::try_from(MIN_PART).unwrap()].into()).await.unwrap();
    upload.part(2, Bytes::from_static(b"abc")).await.unwrap();
    upload.finish(size).await.unwrap();
    store.begin_multipart("a/u", MIN_PART, size).await.unwrap().abort().await.unwrap();
    let listed: Vec<_> = store.list("a/").map_ok(|object| object.key).try_collect().await.unwrap();
    assert_eq!(listed, ["a/v", "a/x", "a/y"]);
    assert!(store.delete_many(&listed).await.unwrap().is_empty());

    assert_eq!(ends(&store, Of::Put), [2, 0, 1, 0, 0, 0, 0]);
    assert_eq!(ends(&store, Of::Get), [2, 1, 0, 0, 0, 0, 0]);
    assert_eq!(ends(&store, Of::Head), [1, 1, 0, 0, 0, 0, 0], "one for what was made of parts");
    assert_eq!(ends(&store, Of::Part), [2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ends(&store, Of::Multipart), [4, 0, 0, 0, 0, 0, 0], "begun twice, completed, dropped");
    assert_eq!(ends(&store, Of::List), [1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ends(&store, Of::Delete), [1, 0, 0, 0, 0, 0, 0]);

    let wrong = files.path().join("wrong");
    std::fs::write(&wrong, "not-the-secret").unwrap();
    let mut stranger = config.clone();
    stranger.secret_key_file = Some(wrong);
    let stranger = Store::open(&stranger).await.unwrap();
    assert_eq!(stranger.put("a/x", body()).await.unwrap_err().kind, StoreErrorKind::InvalidCredentials);
    assert_eq!(ends(&stranger, Of::Put), [0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(ends(&store, Of::Put), [2, 0, 1, 0, 0, 0, 0], "another store counts for itself");
}

/// How many requests were answered.
fn answered(store: &Store) -> u64 {
    store.requests().figures().iter().map(|figures| figures.count).sum()
}

#[tokio::test]
async fn no_more_requests_go_out_than_a_limit_allows_until_it_is_raised() {
    const LIMIT: u64 = 25;
    let (config, _files) = s3::config().await;
    let store = Store::open(&config).await.unwrap();
    let limit = Throttle::new(Some(LIMIT));
    let limited = store.limited(&limit).unwrap();
    let puts = tokio::spawn({
        let limited = limited.clone();
        let put = move |n| {
            let limited = limited.clone();
            async move { limited.put(&format!("a/{n}"), Bytes::from_static(b"x")).await.unwrap() }
        };
        // Far more at once than may go.
        async move { futures::stream::iter(0..400).map(put).buffer_unordered(16).count().await }
    });
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(4) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // Asked in this order, neither lets too many pass.
        let count = answered(&store);
        #[allow(clippy::cast_precision_loss, reason = "some hundreds")]
        let most = began.elapsed().as_secs_f64() * LIMIT as f64 + LIMIT as f64 + 1.0;
        #[allow(clippy::cast_precision_loss, reason = "some hundreds")]
        let sent = count as f64;
        assert!(sent <= most, "{count} requests in {:?}", began.elapsed());
    }
    let count = answered(&store);
    assert!(count >= 60, "nor does it hold back more than it has to: {count} in four seconds");
    limit.set_rate(None);
    let raised = Instant::now();
    assert_eq!(puts.await.unwrap(), 400);
    assert!(raised.elapsed() < Duration::from_secs(8), "{:?} for the rest", raised.elapsed());
    assert_eq!(answered(&store), 400);
    let keys: Vec<_> = store.list("a/").map_ok(|object| object.key).try_collect().await.unwrap();
    assert!(store.delete_many(&keys).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_upload_that_waited_for_longer_than_a_line_may_stand_still_comes_through() {
    let (config, _files) = s3::config().await;
    let store = Store::open(&config).await.unwrap();
    let limit = Throttle::new(Some(1));
    limit.take(28).await;
    let began = Instant::now();
    store.limited(&limit).unwrap().put("a/late", vec![7; 3 << 20].into()).await.unwrap();
    assert!(began.elapsed() > Duration::from_secs(25));
    assert_eq!(ends(&store, Of::Put), [1, 0, 0, 0, 0, 0, 0], "sent once");
    store.delete("a/late").await.unwrap();
}
