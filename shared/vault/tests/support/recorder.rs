//! A server that notes what it is asked, for what no server at hand would show.

#![allow(dead_code, unreachable_pub)] // a module of several test binaries, each uses its part

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderMap, Response},
};
use url::Url;

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `PUT /bucket/key?uploads`.
    pub line: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// The server; it ends with the test's runtime.
pub struct Recorder {
    pub url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Recorder {
    /// Starts one that answers as `answer` says.
    pub async fn start(answer: impl Fn(&Asked) -> Response<Body> + Clone + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let handler = move |request: Request| {
            let (noted, answer) = (noted.clone(), answer.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, 64 << 20).await.unwrap();
                let asked = Asked {
                    line: format!("{} {}", parts.method, parts.uri),
                    headers: parts.headers,
                    body: String::from_utf8_lossy(&body).into_owned(),
                };
                let answer = answer(&asked);
                noted.lock().unwrap().push(asked);
                answer
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let router = Router::new().fallback(handler);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, asked }
    }

    /// What was asked since the last time.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

/// An answer of S3: headers, and a body that suits the request.
pub fn s3(asked: &Asked, headers: &[(&str, &str)]) -> Response<Body> {
    let line = asked.line.as_str();
    let body = match line.split_once(' ').unwrap() {
        ("POST", uri) if uri.ends_with("?uploads") => {
            "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
        }
        ("POST", uri) if uri.contains("uploadId=") => {
            "<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>"
        }
        ("POST", uri) if uri.contains("?delete") => "<DeleteResult></DeleteResult>",
        ("PUT", _) if asked.header("x-amz-copy-source").is_some() => {
            "<CopyObjectResult><ETag>\"e\"</ETag></CopyObjectResult>"
        }
        _ => "",
    };
    let mut response = Response::builder().header("etag", "\"e\"");
    if line.starts_with("HEAD ") {
        response = response.header("content-length", "7");
    }
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body)).unwrap()
}
