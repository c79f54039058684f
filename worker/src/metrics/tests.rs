use super::*;
use crate::agent::TaskHandle;

fn of(measures: &Measures, kind: &str) -> KindFigures {
    measures.by_kind()[kind]
}

#[tokio::test]
async fn a_running_task_is_told_and_its_figures_stay_when_it_has_ended() {
    let measures = Measures::default();
    let handle = TaskHandle::of_a_minute();
    let run = measures.begin("upload", &handle);
    handle.transfer().moved(700);
    handle.throttle().set_rate(Some(1_000));
    handle.throttle().take(1_050).await;
    handle.throttle().take(1).await;
    handle.requests().set_rate(Some(10));
    handle.requests().take(2).await;
    handle.requests().take(1).await;
    let during = of(&measures, "upload");
    assert!(during.requests_held_back >= Duration::from_millis(190), "{:?}", during.requests_held_back);
    assert_eq!((during.running, during.ended, during.bytes_moved), (1, [0, 0, 0], 700));
    assert!(during.held_back >= Duration::from_millis(1_040), "{:?}", during.held_back);
    run.ended(RunResult::Succeeded);
    let after = of(&measures, "upload");
    assert_eq!(after, KindFigures { running: 0, ended: [1, 0, 0], ..during });

    let again = TaskHandle::of_a_minute();
    let run = measures.begin("upload", &again);
    again.transfer().moved(1);
    assert_eq!(of(&measures, "upload").bytes_moved, 701);
    run.ended(RunResult::Stopped);
    // Its program failed: nobody said how it ended.
    drop(measures.begin("upload", &TaskHandle::of_a_minute()));
    assert_eq!(of(&measures, "upload").ended, [1, 1, 1]);
}

/// The names in the manual's table that are told by who is named in their second column.
fn in_the_manual(by: &str) -> std::collections::BTreeSet<String> {
    let manual = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let text = std::fs::read_to_string(manual).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `ringvault_"));
    let told = rows.filter(|row| row.split('|').nth(2).is_some_and(|of| of.contains(by)));
    told.filter_map(|row| row.split('`').nth(1).map(str::to_owned)).collect()
}

#[tokio::test]
async fn the_page_is_what_the_manual_says_with_its_labels_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/", folder.path().display()).parse().unwrap();
    let store = ringvault_vault::Store::open(&ringvault_vault::VaultConfig::at(url)).await.unwrap();
    let measures = Measures::default();
    measures.begin("upload", &TaskHandle::of_a_minute()).ended(RunResult::Succeeded);
    let _running = measures.begin("check", &TaskHandle::of_a_minute());
    assert!(store.get("vault.json", 1).await.is_err());
    let of = Surroundings { cluster: "orders", node: "10.0.0.7", slots: 4, is_connected: true };
    let page = write(of, &measures, store.requests());

    let mut told: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next().map(str::to_owned))
        .collect();
    told.sort_unstable();
    assert_eq!(told, in_the_manual("worker").into_iter().collect::<Vec<_>>(), "each once");
    for line in [
        "ringvault_worker_connected{cluster=\"orders\"} 1",
        "ringvault_worker_slots{cluster=\"orders\"} 4",
        "ringvault_trace_spans_lost_total{cluster=\"orders\"} 0",
        "ringvault_worker_tasks_running{cluster=\"orders\",kind=\"check\"} 1",
        "ringvault_worker_tasks_running{cluster=\"orders\",kind=\"upload\"} 0",
        "ringvault_worker_tasks_total{cluster=\"orders\",kind=\"upload\",result=\"succeeded\"} 1",
        "ringvault_worker_tasks_total{cluster=\"orders\",kind=\"check\",result=\"failed\"} 0",
        "ringvault_store_requests_total{cluster=\"orders\",kind=\"get\",result=\"not_found\"} 1",
        "ringvault_store_requests_total{cluster=\"orders\",kind=\"get\",result=\"refused\"} 0",
        "ringvault_store_request_seconds_count{cluster=\"orders\",kind=\"get\"} 1",
        "ringvault_store_request_seconds_bucket{cluster=\"orders\",kind=\"get\",le=\"+Inf\"} 1",
    ] {
        assert!(page.lines().any(|told| told == line), "{line} in\n{page}");
    }
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        assert!(line.contains("cluster=\"orders\""), "{line}");
        let labels = line.split_once('{').unwrap().1;
        for label in labels.split("\",").filter_map(|part| part.split_once("=\"")) {
            assert!(["cluster", "node", "kind", "result", "le", "version"].contains(&label.0), "{line}");
        }
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_what_to_do() {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Listener::bind(listener.address()).await.unwrap_err();
    let words = error.to_string();
    assert!(
        words.starts_with(&format!("metrics.listen: cannot listen on {}", listener.address())),
        "{words}"
    );
    assert!(words.contains("Next: ") && words.contains("in use"), "{words}");
    assert_eq!(error.exit_code(), 6);
    let elsewhere = Listener::bind("192.0.2.1:9470".parse().unwrap()).await.unwrap_err();
    assert_eq!(elsewhere.exit_code(), 9, "{elsewhere}");
}
