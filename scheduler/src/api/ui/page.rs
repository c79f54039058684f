//! A page that needs no script: for a browser that comes back from elsewhere and is not let in.

use axum::{
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
};

use super::{START, guarded};
use crate::api::problem::ApiError;

/// Says why nobody was signed in, with the refusal's own status.
pub(in crate::api) fn not_signed_in(error: &ApiError) -> Response {
    let problem = &error.0;
    let next =
        problem.next.as_deref().map(|next| format!("<p>Next: {}</p>\n", text(next))).unwrap_or_default();
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Not signed in · Ringvault</title>\n\
         <link rel=\"icon\" href=\"/ui/assets/icon.svg\" type=\"image/svg+xml\">\n\
         <link rel=\"stylesheet\" href=\"/ui/assets/style.css\">\n</head>\n<body>\n<main class=\"sign-in\">\n\
         <h1>You are not signed in</h1>\n\
         <div class=\"trouble\" role=\"alert\"><p>{} <code>{}</code></p>\n{next}</div>\n\
         <p><a class=\"way\" href=\"{START}\">Back to signing in</a></p>\n</main>\n</body>\n</html>\n",
        text(&problem.detail),
        text(&problem.code),
    );
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let media = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(CONTENT_TYPE, media)], guarded(), page).into_response()
}

/// Text as it stands between tags: names come from outside.
fn text(plain: &str) -> String {
    let mut safe = String::with_capacity(plain.len());
    for c in plain.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_from_outside_is_text_and_nothing_runs() {
        let name = "<script>alert(1)</script>&\"'";
        let error = ApiError::sign_in(StatusCode::FORBIDDEN, "RV-OIDC-ROLE", name).next("ask <b>them</b>");
        let response = not_signed_in(&error);
        assert_eq!(response.status(), 403);
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let body = std::str::from_utf8(&body).unwrap();
        assert!(body.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;"), "{body}");
        assert!(
            !body.contains("<script") && !body.contains("<b>") && body.contains("RV-OIDC-ROLE"),
            "{body}"
        );
    }
}
