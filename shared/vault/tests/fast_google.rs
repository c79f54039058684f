//! What Google Cloud Storage is asked for, where its emulator shows nothing: conditions and multipart uploads,
//! answered as its XML API documents them (<https://cloud.google.com/storage/docs/xml-api/overview>).

#[path = "support/recorder.rs"]
mod recorder;

use axum::{body::Body, http::Response};
use bytes::Bytes;
use recorder::{Asked, Recorder};
use ringvault_vault::{
    Store, StoreErrorKind, VaultConfig,
    config::Gcs,
    store::{MIN_PART, PutIfAbsent},
};
use url::Url;

async fn store(server: &Recorder) -> Store {
    let mut config = VaultConfig::at(Url::parse("gs://bucket/p").unwrap());
    config.endpoint = Some(server.url.clone());
    config.gcs = Some(Gcs { credentials_file: None, anonymous: true });
    Store::open(&config).await.unwrap()
}

fn answer(status: u16, body: &str) -> Response<Body> {
    let answer = Response::builder().status(status).header("etag", "\"e\"").header("x-goog-generation", "1");
    answer.body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn an_object_is_created_on_the_condition_that_there_is_none() {
    let server = Recorder::start(|asked: &Asked| match asked.header("x-goog-if-generation-match") {
        Some("0") if asked.line.contains("taken") => {
            answer(412, "<Error><Code>PreconditionFailed</Code><Message>No.</Message></Error>")
        }
        _ => answer(200, ""),
    })
    .await;
    let store = store(&server).await;
    let created = store.put_if_absent("a/new", Bytes::new()).await.unwrap();
    assert!(matches!(created, PutIfAbsent::Created(ref put) if put.version_id.is_none()), "{created:?}");
    assert_eq!(server.take().pop().unwrap().header("x-goog-if-generation-match"), Some("0"));
    assert_eq!(store.put_if_absent("a/taken", Bytes::new()).await.unwrap(), PutIfAbsent::Exists);
    store.put("a/taken", Bytes::new()).await.unwrap();
    assert_eq!(server.take().pop().unwrap().header("x-goog-if-generation-match"), None);
}

#[tokio::test]
async fn parts_are_put_together_in_their_order_and_dropped_when_told() {
    let server = Recorder::start(|asked: &Asked| match asked.line.split_once(' ').unwrap() {
        ("POST", uri) if uri.contains("uploads") => answer(
            200,
            "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>k</Key><UploadId>u-1</UploadId>\
             </InitiateMultipartUploadResult>",
        ),
        ("POST", uri) if uri.contains("gone") => {
            answer(404, "<Error><Code>NoSuchUpload</Code><Message>Gone.</Message></Error>")
        }
        ("POST", _) => answer(
            200,
            "<CompleteMultipartUploadResult><Location>l</Location><Bucket>bucket</Bucket><Key>k</Key>\
             <ETag>\"whole\"</ETag></CompleteMultipartUploadResult>",
        ),
        ("DELETE", _) => answer(204, ""),
        ("HEAD", uri) if uri.contains("large") => Response::builder()
            .header("content-length", "11")
            .header("etag", "\"whole\"")
            .header("last-modified", "Fri, 27 Nov 2026 08:00:00 GMT")
            .body(Body::empty())
            .unwrap(),
        ("HEAD", _) => answer(404, ""),
        _ => answer(200, ""),
    })
    .await;
    let store = store(&server).await;
    let upload = store.begin_multipart("a/large", MIN_PART, MIN_PART + 3).await.unwrap();
    assert_eq!(upload.id(), "u-1");
    server.take();
    upload.part(2, Bytes::from_static(b"second")).await.unwrap();
    upload.part(1, Bytes::from_static(b"first")).await.unwrap();
    for (asked, number) in server.take().iter().zip(["2", "1"]) {
        assert!(asked.line.starts_with("PUT /bucket/p%2Fa%2Flarge?"), "{}", asked.line);
        assert!(asked.line.contains(&format!("partNumber={number}")), "{}", asked.line);
        assert!(asked.line.contains("uploadId=u-1"), "{}", asked.line);
    }
    upload.finish(11).await.unwrap();
    let asked = server.take();
    let complete = asked.iter().find(|asked| asked.line.starts_with("POST")).unwrap();
    let at = |number: u32| complete.body.find(&format!("<PartNumber>{number}</PartNumber>")).unwrap();
    assert!(at(1) < at(2), "{}", complete.body);

    let upload = store.begin_multipart("a/left", MIN_PART, MIN_PART + 3).await.unwrap();
    upload.part(3, Bytes::from_static(b"third")).await.unwrap();
    store.abort_upload("a/left", upload.id()).await.unwrap();
    let aborted = server.take().pop().unwrap();
    assert!(aborted.line.starts_with("DELETE /bucket/p%2Fa%2Fleft?uploadId=u-1"), "{}", aborted.line);
    let error = upload.finish(1).await.unwrap_err();
    assert!(error.to_string().contains("1 of 3 parts"), "a hole is never closed by what follows: {error}");

    let upload = store.begin_multipart("a/gone", MIN_PART, MIN_PART + 3).await.unwrap();
    upload.part(1, Bytes::from_static(b"first")).await.unwrap();
    let error = upload.finish(5).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NoSuchUpload, "it is to be sent again: {error}");
}
