//! Google's XML API before its emulator, which keeps objects but takes them by the JSON API only.
//!
//! What the emulator answers goes through as it is: reads, listings, deletions. Puts with their conditions
//! and copies become requests of the JSON API, so that the emulator decides them; the parts of an upload are
//! kept here and put as one object when it is completed.

#![allow(dead_code, unreachable_pub)] // a module of several test binaries, each uses its part

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{Method, Response, request::Parts},
};
use bytes::Bytes;
use url::{Url, form_urlencoded};

struct Gateway {
    emulator: Url,
    client: reqwest::Client,
    uploads: Mutex<HashMap<String, BTreeMap<u32, Bytes>>>,
}

/// Starts one before `emulator`; it ends with the test's runtime.
pub async fn before(emulator: Url) -> Url {
    let gateway = Arc::new(Gateway { emulator, client: reqwest::Client::new(), uploads: Mutex::default() });
    let handler = move |request: Request| {
        let gateway = gateway.clone();
        async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, 64 << 20).await.unwrap();
            gateway.answer(parts, body).await
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(handler)).await.unwrap() });
    url
}

fn said(status: u16, body: &str) -> Response<Body> {
    let answer = Response::builder().status(status).header("etag", "\"part\"");
    answer.body(Body::from(body.to_owned())).unwrap()
}

/// Everything but letters and digits is escaped in what comes, so no `+` is meant as a space.
fn unescaped(text: &str) -> String {
    let pair = format!("x={text}");
    form_urlencoded::parse(pair.as_bytes()).next().unwrap().1.into_owned()
}

impl Gateway {
    async fn answer(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let query = parts.uri.query().unwrap_or_default();
        let query: HashMap<String, String> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let path = parts.uri.path().trim_start_matches('/');
        let Some((bucket, name)) = path.split_once('/').map(|(b, n)| (unescaped(b), unescaped(n))) else {
            return self.pass(parts, body).await;
        };
        let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let upload = query.get("uploadId");
        match (&parts.method, upload) {
            (&Method::POST, None) if query.contains_key("uploads") => {
                let id = uuid::Uuid::new_v4().to_string();
                self.uploads.lock().unwrap().insert(id.clone(), BTreeMap::new());
                said(
                    200,
                    &format!(
                        "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                    ),
                )
            }
            (&Method::PUT, Some(id)) => {
                let number = query["partNumber"].parse().unwrap();
                match self.uploads.lock().unwrap().get_mut(id) {
                    Some(upload) => {
                        upload.insert(number, body);
                        said(200, "")
                    }
                    None => no_such_upload(),
                }
            }
            (&Method::POST, Some(id)) => {
                let Some(upload) = self.uploads.lock().unwrap().remove(id) else { return no_such_upload() };
                let whole: Vec<u8> = upload.into_values().flatten().collect();
                let put = self.put(&bucket, &name, whole.into(), None).await;
                assert!(put.status().is_success(), "{put:?}");
                said(
                    200,
                    "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>",
                )
            }
            (&Method::DELETE, Some(id)) => match self.uploads.lock().unwrap().remove(id) {
                Some(_) => said(204, ""),
                None => no_such_upload(),
            },
            (&Method::PUT, None) => match header("x-goog-copy-source") {
                Some(source) => {
                    let (_, source) = source.split_once('/').unwrap();
                    self.copy(&bucket, &unescaped(source), &name).await
                }
                None => self.put(&bucket, &name, body, header("x-goog-if-generation-match")).await,
            },
            _ => self.pass(parts, body).await,
        }
    }

    async fn pass(&self, parts: Parts, body: Bytes) -> Response<Body> {
        let line = parts.uri.path_and_query().unwrap().as_str();
        let url = format!("{}{line}", self.emulator.as_str().trim_end_matches('/'));
        let mut request = self.client.request(parts.method, url).body(body);
        for (name, value) in &parts.headers {
            if name != "host" && name != "content-length" {
                request = request.header(name, value);
            }
        }
        answered(request.send().await.unwrap()).await
    }

    async fn put(&self, bucket: &str, name: &str, body: Bytes, generation: Option<String>) -> Response<Body> {
        let mut url = self.emulator.join("upload/storage/v1/b").unwrap();
        url.path_segments_mut().unwrap().extend([bucket, "o"]);
        url.query_pairs_mut().append_pair("uploadType", "media").append_pair("name", name);
        if let Some(generation) = generation {
            url.query_pairs_mut().append_pair("ifGenerationMatch", &generation);
        }
        let request = self.client.post(url).header("content-type", "application/octet-stream");
        answered(request.body(body).send().await.unwrap()).await
    }

    async fn copy(&self, bucket: &str, from: &str, to: &str) -> Response<Body> {
        let mut url = self.emulator.join("storage/v1/b").unwrap();
        url.path_segments_mut().unwrap().extend([bucket, "o", from, "rewriteTo", "b", bucket, "o", to]);
        let request = self.client.post(url).header("content-type", "application/json");
        answered(request.body("{}").send().await.unwrap()).await
    }
}

fn no_such_upload() -> Response<Body> {
    said(404, "<Error><Code>NoSuchUpload</Code><Message>The upload does not exist.</Message></Error>")
}

async fn answered(answer: reqwest::Response) -> Response<Body> {
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != "transfer-encoding" && name != "connection" {
            response = response.header(name, value);
        }
    }
    if !answer.headers().contains_key("etag") {
        response = response.header("etag", "\"whole\"");
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
