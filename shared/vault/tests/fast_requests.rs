//! What is asked of a store is counted: each attempt, by operation and end.

#[path = "support/recorder.rs"]
mod recorder;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{body::Body, http::Response};
use bytes::Bytes;
use futures::TryStreamExt as _;
use recorder::{Recorder, s3};
use ringvault_vault::{
    Store, StoreErrorKind, VaultConfig,
    config::{Azure, Gcs},
    store::{PutIfAbsent, RequestResult, StoreOperation as Of},
    throttle::Throttle,
};
use url::Url;

/// How often an operation ended in each way, in the order of [`RequestResult::ALL`].
fn ends(store: &Store, operation: Of) -> [u64; RequestResult::ALL.len()] {
    let figures = store.requests().of(operation);
    assert_eq!(figures.count, figures.results.iter().sum::<u64>(), "each is timed");
    figures.results
}

#[tokio::test]
async fn what_a_folder_is_asked_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        Store::open(&VaultConfig::at(Url::from_directory_path(folder.path()).unwrap())).await.unwrap();
    assert!(store.requests().figures().is_empty());
    let body = || Bytes::from_static(b"some bytes");
    store.put("a/x", body()).await.unwrap();
    assert!(matches!(store.put_if_absent("a/y", body()).await.unwrap(), PutIfAbsent::Created(_)));
    assert_eq!(store.put_if_absent("a/y", body()).await.unwrap(), PutIfAbsent::Exists);
    store.get("a/x", 100).await.unwrap();
    assert!(store.clone().get("a/z", 100).await.unwrap_err().is_not_found());
    store.head("a/x").await.unwrap();
    let listed: Vec<_> = store.list("a/").try_collect().await.unwrap();
    assert_eq!(listed.len(), 2);
    store.copy("a/x", "a/w").await.unwrap();
    let upload = store.begin_multipart("a/v", 5 << 20, 3).await.unwrap();
    upload.part(1, Bytes::from_static(b"abc")).await.unwrap();
    upload.finish(3).await.unwrap();
    store.delete_many(&["a/x".to_owned(), "a/y".to_owned()]).await.unwrap();
    // What is refused before it is asked is no request.
    assert_eq!(store.put("../x", body()).await.unwrap_err().kind, StoreErrorKind::Invalid);

    assert_eq!(ends(&store, Of::Put), [2, 0, 1, 0, 0, 0, 0]);
    assert_eq!(ends(&store, Of::Get), [1, 1, 0, 0, 0, 0, 0], "one, however many pieces its body has");
    assert_eq!(ends(&store, Of::Head), [2, 0, 0, 0, 0, 0, 0], "and one for what was made of parts");
    assert_eq!(ends(&store, Of::List), [1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ends(&store, Of::Copy), [1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ends(&store, Of::Part), [1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(ends(&store, Of::Multipart), [2, 0, 0, 0, 0, 0, 0], "begun and completed");
    assert_eq!(ends(&store, Of::Delete), [1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(store.requests().figures().len(), 8);
}

/// A store in S3's way of speaking at this server.
async fn bucket(url: &Url, files: &tempfile::TempDir) -> Store {
    let file = |name: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, "secret").unwrap();
        Some(path)
    };
    let mut config = VaultConfig::at(Url::parse("s3://bucket/prefix").unwrap());
    config.endpoint = Some(url.clone());
    (config.access_key_file, config.secret_key_file) = (file("access"), file("secret"));
    Store::open(&config).await.unwrap()
}

#[tokio::test]
async fn an_attempt_that_is_throttled_counts_beside_the_one_that_is_not() {
    let tries = Arc::new(AtomicU32::new(0));
    let server = Recorder::start(move |asked| match (asked.line.starts_with("PUT"), &tries) {
        (true, tries) if tries.fetch_add(1, Ordering::Relaxed) < 2 => {
            let busy = "<Error><Code>SlowDown</Code><Message>later</Message></Error>";
            Response::builder().status(503).body(Body::from(busy)).unwrap()
        }
        (true, _) => s3(asked, &[]),
        _ => {
            let over = "<Error><Code>ExpiredToken</Code><Message>over</Message></Error>";
            Response::builder().status(400).body(Body::from(over)).unwrap()
        }
    })
    .await;
    let files = tempfile::tempdir().unwrap();
    let store = bucket(&server.url, &files).await;
    store.put("a", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(store.get("a", 1).await.unwrap_err().kind, StoreErrorKind::InvalidCredentials);
    assert_eq!(ends(&store, Of::Put), [1, 0, 0, 0, 2, 0, 0]);
    assert_eq!(ends(&store, Of::Get), [0, 0, 0, 1, 0, 0, 0]);
    assert_eq!(server.take().len(), 4, "as many as were sent");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_counted_as_away() {
    let server = Recorder::start(|asked| s3(asked, &[])).await;
    let mut nobody = server.url.clone();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    nobody.set_port(Some(free)).unwrap();
    let files = tempfile::tempdir().unwrap();
    let store = bucket(&nobody, &files).await;
    assert_eq!(store.head("a").await.unwrap_err().kind, StoreErrorKind::Unreachable);
    let heads = store.requests().of(Of::Head);
    assert!(heads.with(RequestResult::Unreachable) >= 2, "every attempt: {heads:?}");
    assert_eq!(heads.with(RequestResult::Unreachable), heads.count);
}

#[tokio::test]
async fn a_completed_upload_that_fails_in_its_body_has_failed() {
    let server = Recorder::start(|asked| {
        if asked.line.starts_with("POST") && asked.line.contains("uploadId=") {
            let failed = "<Error><Code>InvalidPart</Code><Message>no</Message></Error>";
            return Response::builder().status(200).body(Body::from(failed)).unwrap();
        }
        s3(asked, &[])
    })
    .await;
    let files = tempfile::tempdir().unwrap();
    let store = bucket(&server.url, &files).await;
    let upload = store.begin_multipart("a", 5 << 20, 3).await.unwrap();
    upload.part(1, Bytes::from_static(b"abc")).await.unwrap();
    let _ = upload.finish(3).await;
    let multipart = store.requests().of(Of::Multipart);
    assert!(multipart.with(RequestResult::Failed) >= 1, "{multipart:?}");
}

/// As versitygw 1.8 does when it was killed while it put the parts together.
#[tokio::test]
async fn an_object_that_a_store_only_says_it_made_is_sent_again() {
    for (appears_after, expected) in [(2, None), (u32::MAX, Some(StoreErrorKind::NoSuchUpload))] {
        let looked = Arc::new(AtomicU32::new(0));
        let server = Recorder::start(move |asked| {
            if asked.line.starts_with("HEAD") && looked.fetch_add(1, Ordering::Relaxed) < appears_after {
                return Response::builder().status(404).body(Body::empty()).unwrap();
            }
            s3(asked, &[])
        })
        .await;
        let files = tempfile::tempdir().unwrap();
        let store = bucket(&server.url, &files).await;
        let upload = store.begin_multipart("a", 5 << 20, 7).await.unwrap();
        upload.part(1, Bytes::from_static(b"seven b")).await.unwrap();
        assert_eq!(upload.finish(7).await.err().map(|error| error.kind), expected);
        let dropped = server.take().iter().any(|asked| asked.line.starts_with("DELETE"));
        assert_eq!(dropped, expected.is_some());
    }
}

/// A server in Google's and Azure's ways of speaking, to which every conditional put comes too late.
async fn clouds() -> Recorder {
    Recorder::start(|asked| {
        let taken =
            asked.header("x-goog-if-generation-match").is_some() || asked.header("if-none-match").is_some();
        let answer = Response::builder().status(if taken { 412 } else { 201 }).header("etag", "\"e\"");
        answer.body(Body::empty()).unwrap()
    })
    .await
}

/// Settings for one of them.
fn cloud(url: &str, server: &Recorder, files: &tempfile::TempDir) -> VaultConfig {
    let key = files.path().join("key");
    std::fs::write(&key, "a2V5").unwrap();
    let mut config = VaultConfig::at(Url::parse(url).unwrap());
    config.endpoint = Some(server.url.clone());
    if url.starts_with("gs") {
        config.gcs = Some(Gcs { credentials_file: None, anonymous: true });
    } else {
        let account = "account".to_owned();
        config.azure = Some(Azure { account, account_key_file: Some(key), ..Azure::default() });
    }
    config
}

#[tokio::test]
async fn googles_and_azures_stores_are_counted_alike() {
    let files = tempfile::tempdir().unwrap();
    for url in ["gs://bucket/p", "az://container/p"] {
        let server = clouds().await;
        let store = Store::open(&cloud(url, &server, &files)).await.unwrap();
        store.put("a", Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(store.put_if_absent("a", Bytes::from_static(b"x")).await.unwrap(), PutIfAbsent::Exists);
        assert_eq!(ends(&store, Of::Put), [1, 0, 1, 0, 0, 0, 0], "{url}");
        assert_eq!(store.requests().figures().len(), 1, "{url}");
        assert_eq!(server.take().len(), 2, "{url}");
    }
}

#[tokio::test]
async fn every_attempt_takes_its_turn_of_a_limit_also_one_that_the_sdk_repeats() {
    let tries = Arc::new(AtomicU32::new(0));
    let busy = tries.clone();
    let server = Recorder::start(move |asked| {
        if asked.line.starts_with("PUT") && busy.fetch_add(1, Ordering::Relaxed) < 2 {
            return Response::builder().status(503).body(Body::empty()).unwrap();
        }
        s3(asked, &[])
    })
    .await;
    let files = tempfile::tempdir().unwrap();
    let store = bucket(&server.url, &files).await;
    let limit = Throttle::new(Some(4));
    let limited = store.limited(&limit).unwrap();
    let began = Instant::now();
    limited.put("a", Bytes::from_static(b"x")).await.unwrap();
    limited.head("a").await.unwrap();
    limited.delete("a").await.unwrap();
    assert_eq!(server.take().len(), 5);
    assert!(began.elapsed() >= Duration::from_millis(990), "five, the first at once: {:?}", began.elapsed());
    let waited = limit.waited();
    assert!(waited < Duration::from_millis(1_900), "one turn each: {waited:?}");
    // It is the same store, whose counts are one; whom the limit is not for does not wait.
    assert_eq!(ends(&store, Of::Put), [1, 0, 0, 0, 2, 0, 0]);
    limit.take(1_000_000).await;
    store.head("a").await.unwrap();
    let waits = tokio::spawn({
        let limited = limited.clone();
        async move { limited.head("a").await }
    });
    while !limit.is_holding_back() {
        tokio::task::yield_now().await;
    }
    waits.abort();
    assert!(waits.await.unwrap_err().is_cancelled() && !limit.is_holding_back());
    assert_eq!(ends(&store, Of::Head), [2, 0, 0, 0, 0, 0, 0], "a wait that was dropped has asked nothing");
    limit.set_rate(None);
    limited.head("a").await.unwrap();
    let put = store.requests().of(Of::Put);
    assert!(put.took < Duration::from_millis(500), "what is measured is the store: {:?}", put.took);
}

#[tokio::test]
async fn other_clouds_and_folders_keep_to_a_limit_too() {
    let (server, files) = (clouds().await, tempfile::tempdir().unwrap());
    let folder = VaultConfig::at(Url::from_directory_path(files.path()).unwrap());
    for config in
        [cloud("gs://bucket/p", &server, &files), cloud("az://container/p", &server, &files), folder]
    {
        let store = Store::open(&config).await.unwrap();
        let limit = Throttle::new(Some(10));
        let limited = store.limited(&limit).unwrap();
        let began = Instant::now();
        for _ in 0..4 {
            limited.put("key", Bytes::from_static(b"x")).await.unwrap();
        }
        assert!(began.elapsed() >= Duration::from_millis(290), "{}: {:?}", config.url, began.elapsed());
        assert_eq!(ends(&store, Of::Put), [4, 0, 0, 0, 0, 0, 0], "{}", config.url);
        limit.take(1_000_000).await;
        store.put("key", Bytes::from_static(b"y")).await.unwrap();
    }
}
