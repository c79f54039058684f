//! A long history slows nothing down: no query that is asked again and again reads a whole large table.
//!
//! Every query there is (the committed query data names them all) is planned over a year of a fleet, as
//! it is planned when it has been asked often: once for all parameters. What may read a whole table all
//! the same is listed, with the reason.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _};

/// Tables that grow with the history.
const LARGE: [&str; 9] =
    ["attempts", "backups", "fires", "holds", "inbox", "jobs", "outbox", "tasks", "transitions"];

/// Beginnings of queries that may read a whole one, and why.
const MAY: &[(&str, &str)] = &[
    (
        "with newest as ( select distinct on (cluster) cluster, figures from backups",
        "once a scrape of the metrics, over the backups that are kept: sums and newest of all of them",
    ),
    (
        "with kept as ( select cluster, state, started_at, purged_at",
        "once a look at what the store holds: sums over every backup that brought something",
    ),
];

/// Lists, whose filters are optional: planned for the parameters that are there (a plan for all would cost
/// more, so PostgreSQL never takes it). With what they are asked.
const LISTS: &[(&str, &[&str])] = &[
    (
        "select id, kind, cluster, backup, policy, requested_by, state, stages[stage + 1] as stage",
        &[
            "null, null, null, null, null, null, null, 51",
            "null, null, null, null, null, now() - interval '1 month', gen_random_uuid(), 51",
            "'c7', null, null, null, null, null, null, 51",
            "null, '{running,queued,paused,failed,cancelling,abandoning}', null, null, null, null, null, 51",
            "null, null, 'restore', null, null, null, null, 51",
            "null, null, null, 'p7', null, null, null, 51",
            "null, null, null, null, 'b777', null, null, 51",
        ],
    ),
    (
        "select cluster, name, job, policy, state, started_at, sealed_at, figures, verified_level",
        &[
            "null, null, null, null, null, null, 51, null",
            "null, null, null, now() - interval '1 month', 'c7', 'b777', 51, null",
            "'c7', null, null, null, null, null, 51, null",
            "null, '{running}', null, null, null, null, 51, null",
            "null, null, 'p7', null, null, null, 51, null",
            "null, null, null, null, null, null, 51, 'b777'",
        ],
    ),
    (
        "with verified as ( select v.at, 'v' || v.job || v.backup as key",
        &[
            "null, null, null, null, 51",
            "null, null, now() - interval '1 month', 'j', 51",
            "'c7', null, null, null, 51",
            "null, 'restored', null, null, 51",
            "'c7', 'held', null, null, 51",
        ],
    ),
];

struct Query {
    text: String,
    parameters: usize,
}

impl Query {
    /// In one line, as the lists above have it.
    fn line(&self) -> String {
        self.text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

fn queries() -> Vec<Query> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let files = fs::read_dir(&folder).expect("the query data");
    files
        .map(|file| {
            let text = fs::read_to_string(file.expect("a file").path()).expect("query data");
            let data: Value = serde_json::from_str(&text).expect("JSON");
            Query {
                text: data["query"].as_str().expect("a query").to_owned(),
                parameters: data["describe"]["parameters"]["Left"].as_array().map_or(0, Vec::len),
            }
        })
        .collect()
}

async fn run(conn: &mut PgConnection, sql: String) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.clone())).execute(conn).await;
    done.unwrap_or_else(|error| panic!("{error}: {sql}"));
}

/// Large tables that are read whole when the query is run with these arguments.
async fn read_whole(conn: &mut PgConnection, query: &Query, arguments: &str) -> BTreeSet<String> {
    run(conn, format!("prepare asked as {}", query.text)).await;
    let arguments = if arguments.is_empty() { String::new() } else { format!("({arguments})") };
    let explain = format!("explain (format json) execute asked{arguments}");
    let row = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *conn).await;
    let plan: Value = row.unwrap_or_else(|error| panic!("{error}: {}", query.text)).get(0);
    run(conn, "deallocate asked".to_owned()).await;
    let mut found = BTreeSet::new();
    scans(&plan[0]["Plan"], &mut found);
    found
}

fn scans(node: &Value, found: &mut BTreeSet<String>) {
    if let (Some("Seq Scan"), Some(table)) = (node["Node Type"].as_str(), node["Relation Name"].as_str())
        && LARGE.contains(&table)
    {
        found.insert(table.to_owned());
    }
    for child in node["Plans"].as_array().into_iter().flatten() {
        scans(child, found);
    }
}

#[sqlx::test(migrations = "../../migrations")]
async fn no_query_reads_a_whole_history(db: PgPool) {
    let mut conn = db.acquire().await.expect("a connection").detach();
    run(&mut conn, include_str!("plans/history.sql").to_owned()).await;
    run(&mut conn, "vacuum analyze".to_owned()).await;
    let queries = queries();
    let is = |query: &Query, beginning: &str| query.line().starts_with(beginning);

    run(&mut conn, "set plan_cache_mode = force_generic_plan".to_owned()).await;
    let mut wrong = Vec::new();
    let mut allowed = BTreeSet::new();
    for query in &queries {
        if LISTS.iter().any(|(list, _)| is(query, list)) && query.line().contains("limit $") {
            continue;
        }
        let tables = read_whole(&mut conn, query, &vec!["null"; query.parameters].join(", ")).await;
        if tables.is_empty() {
            continue;
        }
        match MAY.iter().find(|(beginning, _)| is(query, beginning)) {
            Some((beginning, _)) => {
                allowed.insert(*beginning);
            }
            None => wrong.push(format!("{tables:?} by {}", query.text)),
        }
    }
    assert!(wrong.is_empty(), "read whole: {}", wrong.join("\n"));
    assert_eq!(allowed.len(), MAY.len(), "exceptions that are none any more");

    run(&mut conn, "set plan_cache_mode = force_custom_plan".to_owned()).await;
    for (beginning, asked) in LISTS {
        let list = queries.iter().find(|query| is(query, beginning) && query.line().contains("limit $"));
        let list = list.unwrap_or_else(|| panic!("no such list: {beginning}"));
        for arguments in *asked {
            let tables = read_whole(&mut conn, list, arguments).await;
            assert!(tables.is_empty(), "{tables:?} by {beginning} asked with {arguments}");
        }
    }
    conn.close().await.expect("closed");
}
