//! The dashboard: files that are part of the program, served under `/ui`.
//!
//! There is nothing to build and nothing to install: plain HTML, CSS and modules of ECMAScript, which
//! ask the same `/v1` as everybody else. They hold nothing secret, so anybody may load them. The
//! content security policy sent along lets a browser run and load just these files: no inline script or
//! style, no other origin, no text that becomes markup (trusted types, of which there are none).

mod files;
mod page;

use axum::{
    Router,
    extract::Path,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{
            CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
        },
    },
    response::{IntoResponse, Redirect, Response},
    routing::get,
};

use super::{ApiState, problem::ApiError};
use files::{File, INDEX};

pub(super) use page::not_signed_in;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// Where it begins.
const START: &str = "/ui/fleet";

/// The dashboard's routes. They belong to no API: what they answer may change at any time.
pub(super) fn router() -> Router<ApiState> {
    let to_start = || async { Redirect::temporary(START) };
    Router::new()
        .route("/", get(to_start))
        .route("/ui", get(to_start))
        .route("/ui/", get(to_start))
        .route("/ui/assets/{name}", get(asset))
        .route("/ui/{*screen}", get(screen))
}

/// Which screen it is, the page's own script reads from its address.
async fn screen(headers: HeaderMap) -> Response {
    answer(&INDEX, &headers)
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match files::find(&name) {
        Some(file) => answer(file, &headers),
        None => ApiError::not_found("RV-PATH", format!("there is no /ui/assets/{name}")).into_response(),
    }
}

/// A browser keeps a file, and asks each time whether it is still the same: after an upgrade none goes
/// on with a mixture.
fn answer(file: &File, headers: &HeaderMap) -> Response {
    let tag = file.tag();
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known == tag);
    let plain = HeaderValue::from_static;
    let own = [
        (CONTENT_TYPE, plain(file.media)),
        (CACHE_CONTROL, plain("no-cache")),
        (ETAG, HeaderValue::from_str(tag).unwrap_or_else(|_| plain("\"\""))),
    ];
    if is_known {
        return (StatusCode::NOT_MODIFIED, own, guarded()).into_response();
    }
    (own, guarded(), file.content).into_response()
}

/// What every page of ours is sent with.
fn guarded() -> [(HeaderName, HeaderValue); 4] {
    let plain = HeaderValue::from_static;
    [
        (CONTENT_SECURITY_POLICY, plain(POLICY)),
        (REFERRER_POLICY, plain("no-referrer")),
        (HeaderName::from_static("cross-origin-opener-policy"), plain("same-origin")),
        (HeaderName::from_static("permissions-policy"), plain("camera=(), microphone=(), geolocation=()")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_may_run_and_load_our_own_files_alone() {
        let response = answer(&INDEX, &HeaderMap::new());
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn a_file_that_is_known_is_not_sent_again() {
        let first = answer(&INDEX, &HeaderMap::new());
        assert_eq!(first.status(), 200);
        let known = HeaderMap::from_iter([(IF_NONE_MATCH, first.headers()[ETAG].clone())]);
        assert_eq!(answer(&INDEX, &known).status(), 304);
        let other = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static("\"other\""))]);
        assert_eq!(answer(&INDEX, &other).status(), 200);
    }
}
