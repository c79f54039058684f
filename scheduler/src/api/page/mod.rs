//! `/`: the fleet's status as a page that needs no script.
//!
//! Everything that is not written here goes through [`text`], and the policy sent along lets a
//! browser run nothing and load nothing, so that no name in a cluster can become markup.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    http::{
        HeaderName, HeaderValue,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY},
    },
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringvault_core::api::{ClusterStatus, FleetStatus, RpoState, ServerState, ServerStatus};
use sha2::{Digest as _, Sha256};

use super::status::age;

const STYLE: &str = include_str!("style.css");

/// Seconds after which a browser asks again.
const RELOAD: u32 = 15;

/// Nothing may be loaded or run but this very style.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("base64 and the words above are header text")
});

/// The page with its headers.
pub(super) fn answer(status: &FleetStatus) -> Response {
    let plain = |text| HeaderValue::from_static(text);
    let headers: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_TYPE, plain("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, POLICY.clone()),
        (CACHE_CONTROL, plain("no-store")),
        (REFERRER_POLICY, plain("no-referrer")),
    ];
    (headers, write(status)).into_response()
}

fn write(status: &FleetStatus) -> String {
    let mut page = String::new();
    let at = status.as_of.format("%Y-%m-%d %H:%M:%S UTC");
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"{RELOAD}\">\
         <title>Ringvault: fleet</title><style>{STYLE}</style></head><body><main>\n\
         <h1>Fleet</h1>\n<p class=\"age\">Read at <time>{at}</time>; reads again every {RELOAD} s. \
         The same in a terminal: <code>ringvault status</code></p>\n"
    );
    servers(&mut page, status);
    if status.servers.postgres.state == ServerState::Down {
        page.push_str("<p>The clusters are not known while PostgreSQL is down.</p>\n");
    } else if status.clusters.is_empty() {
        page.push_str("<p>No worker has announced a cluster yet.</p>\n");
    } else {
        table(&mut page, status);
    }
    if let Some(next) = &status.next {
        let _ = writeln!(page, "<p>Next: <code>{}</code></p>", text(next));
    }
    page.push_str("</main></body></html>\n");
    page
}

fn servers(page: &mut String, status: &FleetStatus) {
    let servers = &status.servers;
    page.push_str("<ul class=\"servers\">");
    for (name, server) in [
        ("scheduler", &servers.scheduler),
        ("postgres", &servers.postgres),
        ("rabbitmq", &servers.rabbitmq),
        ("store", &servers.store),
    ] {
        let ServerStatus { state, detail } = server;
        let _ = write!(page, "<li>{name} <strong class=\"{0}\">{0}</strong>", state.as_str());
        if let Some(detail) = detail {
            let _ = write!(page, " {}", text(detail));
        }
        page.push_str("</li>");
    }
    if let Some(leader) = &servers.leader {
        let _ = write!(page, "<li>leader {}</li>", text(leader));
    }
    let _ = writeln!(page, "<li>version {}</li></ul>", text(&servers.version));
}

fn table(page: &mut String, status: &FleetStatus) {
    page.push_str(
        "<table><thead><tr><th scope=\"col\">Cluster</th><th scope=\"col\">Last good</th>\
         <th scope=\"col\">RPO</th><th scope=\"col\">Verified</th><th scope=\"col\">Workers</th>\
         <th scope=\"col\">Problem</th></tr></thead><tbody>\n",
    );
    for cluster in &status.clusters {
        row(page, cluster, status);
    }
    page.push_str("</tbody></table>\n");
}

fn row(page: &mut String, cluster: &ClusterStatus, status: &FleetStatus) {
    let last_good = match &cluster.last_good {
        Some(point) => age(point.age_seconds),
        None => "never".to_owned(),
    };
    let target = cluster.rpo_target_seconds.map(age);
    let (class, rpo) = match (cluster.rpo, target) {
        (RpoState::Ok, Some(target)) => ("ok", format!("ok / {target}")),
        (RpoState::Late, Some(target)) => ("down", format!("LATE / {target}")),
        _ => ("none", "-".to_owned()),
    };
    let verified = cluster.last_verified_at.map_or_else(
        || "-".to_owned(),
        |at| age(u64::try_from((status.as_of - at).num_seconds()).unwrap_or(0)),
    );
    let problem = cluster.problem.as_deref().map_or_else(|| "-".to_owned(), text);
    let _ = writeln!(
        page,
        "<tr><th scope=\"row\">{}</th><td>{last_good}</td><td class=\"{class}\">{rpo}</td>\
         <td>{verified}</td><td>{}/{}</td><td>{problem}</td></tr>",
        text(cluster.cluster.as_str()),
        cluster.workers_live,
        cluster.workers_total,
    );
}

/// Text that is never markup.
fn text(raw: &str) -> String {
    let mut safe = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use ringvault_core::{ClusterName, api::Servers};

    fn fleet(problem: &str) -> FleetStatus {
        FleetStatus {
            as_of: DateTime::UNIX_EPOCH,
            servers: Servers {
                scheduler: ServerStatus::ok(),
                version: "0.1.0".to_owned(),
                leader: None,
                postgres: ServerStatus::ok(),
                rabbitmq: ServerStatus::down("<b>refused</b>"),
                store: ServerStatus::ok(),
            },
            clusters: vec![ClusterStatus {
                cluster: ClusterName::new("orders").unwrap(),
                last_good: None,
                rpo_target_seconds: Some(86_400),
                rpo: RpoState::Late,
                last_verified_at: None,
                last_drill_at: None,
                workers_live: 8,
                workers_total: 9,
                jobs_open: 0,
                problem: Some(problem.to_owned()),
                next: None,
            }],
            next: Some("ringvault node list -c orders".to_owned()),
        }
    }

    #[test]
    fn what_comes_from_a_cluster_is_never_markup() {
        let page = write(&fleet("<script>alert('1')</script> & \"more\"\n"));
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;more&quot;"));
        assert!(page.contains("LATE / 24h 00m") && page.contains("<td>8/9</td>"));
    }

    #[test]
    fn a_browser_may_load_and_run_nothing() {
        let response = answer(&fleet("x"));
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{policy}");
    }
}
