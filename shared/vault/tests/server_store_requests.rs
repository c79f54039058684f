//! What a real S3 server is asked is counted as it was asked.

#[path = "support/s3.rs"]
mod s3;
mod support;

use bytes::Bytes;
use futures::TryStreamExt as _;
use ringvault_vault::{
    Store, StoreErrorKind,
    store::{MIN_PART, PutIfAbsent, RequestResult, StoreOperation as Of},
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
    assert_eq!(ends(&store, Of::Head), [0, 1, 0, 0, 0, 0, 0]);
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
