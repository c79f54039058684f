//! What nodes keep to by their data centers: bytes and requests a second, and how many upload at once.

mod support;

use std::collections::BTreeMap;

use ringvault_core::{
    TaskId,
    api::RateLimit,
    job::{JobState, NodeLimits},
    task::TaskPayload,
};
use ringvault_queue::{
    TaskMessage,
    message::{Control, TaskOffer},
};
use ringvault_scheduler::jobs::{self, Action};
use serde_json::json;
use sqlx::PgPool;
use support::{Lab, spec, worker::Worker};

/// What an offered upload is to keep to.
fn limits(offer: &TaskOffer) -> NodeLimits {
    match &offer.payload {
        TaskPayload::Upload(task) => {
            NodeLimits { rate_limit: task.rate_limit, request_limit: offer.request_limit }
        }
        other => panic!("no upload: {other:?}"),
    }
}

const fn both(rate: u64, requests: u64) -> NodeLimits {
    NodeLimits { rate_limit: Some(rate), request_limit: Some(requests) }
}

/// What running tasks were told since the last look.
async fn told(lab: &Lab) -> BTreeMap<TaskId, NodeLimits> {
    let controls = lab.outbox().await.into_iter().filter_map(|message| match message {
        TaskMessage::Control(control) => Some(control),
        _ => None,
    });
    controls
        .filter_map(|control| match control.action {
            Control::SetRateLimit { bytes_per_second, requests_per_second } => Some((
                control.task,
                NodeLimits { rate_limit: bytes_per_second, request_limit: requests_per_second },
            )),
            _ => None,
        })
        .collect()
}

/// Brings a backup to its uploads: the offers, in the order of the nodes.
async fn at_uploads(lab: &Lab, workers: &[Worker]) -> Vec<TaskOffer> {
    for offer in lab.offers().await {
        let worker = lab.worker_of(workers, &offer).await;
        lab.report(&worker.started(&offer)).await;
        lab.report(&worker.succeeded(&offer)).await;
    }
    in_order(lab, workers).await
}

/// What is offered now, in the order of the nodes.
async fn in_order(lab: &Lab, workers: &[Worker]) -> Vec<TaskOffer> {
    let mut offers = Vec::new();
    for offer in lab.offers().await {
        let host = lab.worker_of(workers, &offer).await.host;
        offers.push((host, offer));
    }
    offers.sort_by_key(|(host, _)| *host);
    offers.into_iter().map(|(_, offer)| offer).collect()
}

#[sqlx::test(migrations = "../migrations")]
async fn each_data_center_keeps_to_its_own_limits_as_asked_and_as_said(db: PgPool) {
    let lab = Lab::new(db).await;
    let workers = lab.nodes_in(&[("dc1", "r1"), ("dc2", "r1"), ("dc2", "r2")]).await;
    let asked = json!({"kind": "backup", "cluster": "c", "name": "b1", "rate_limit": 100, "request_limit": 50,
        "data_centers": {"dc2": {"rate_limit": 20}}});
    let job = lab.submit(spec(asked), "k").await.job;
    let offers = at_uploads(&lab, &workers).await;
    assert_eq!(offers.iter().map(limits).collect::<Vec<_>>(), [both(100, 50), both(20, 50), both(20, 50)]);
    let [first, second, third] = &offers[..] else { panic!("three uploads") };
    for (worker, offer) in workers.iter().zip([first, second]) {
        lab.report(&worker.started(offer)).await;
    }
    assert!(told(&lab).await.is_empty(), "nobody has said anything");

    let say = |bytes_per_second, requests_per_second, dc: Option<&str>| {
        let data_center = dc.map(str::to_owned);
        let limit = RateLimit { bytes_per_second, requests_per_second, data_center };
        let ctx = &lab.ctx;
        async move { jobs::set_limits(ctx, job, &limit, "tester").await }
    };
    say(None, Some(5), Some("dc2")).await.expect("said");
    assert_eq!(told(&lab).await, BTreeMap::from([(first.task, both(100, 50)), (second.task, both(20, 5))]));
    lab.report(&workers[2].started(third)).await;
    assert_eq!(told(&lab).await, BTreeMap::from([(third.task, both(20, 5))]), "it was offered before");
    let failed = ringvault_core::TaskError::permanent("RV-DISK", "the disk is broken");
    lab.report(&workers[2].failed(third, failed)).await;
    for (worker, offer) in workers.iter().zip([first, second]) {
        lab.report(&worker.succeeded(offer)).await;
    }
    assert_eq!(lab.state(job).await, JobState::Failed);
    say(Some(70), None, None).await.expect("said");
    jobs::control(&lab.ctx, job, Action::Retry, "tester").await.expect("retried");
    let again = lab.offers().await;
    assert_eq!(again.iter().map(limits).collect::<Vec<_>>(), [both(70, 5)], "a retry too, by the last words");
    let mut conn = lab.ctx.db.acquire().await.expect("a connection");
    let detail = ringvault_state::read::story::detail(&mut conn, job).await.expect("read").expect("a job");
    assert_eq!((detail.rate_limit, detail.request_limit), (Some(70), None));
    assert_eq!(detail.data_center_limits["dc2"], NodeLimits { rate_limit: None, request_limit: Some(5) });

    for (refused, field) in [
        (say(None, None, Some("dc2")).await, "bytes_per_second"),
        (say(Some(1), None, Some("dc3")).await, "data_center"),
    ] {
        let refused = refused.expect_err("it cannot hold");
        assert!(refused.code() == "RV-JOB-LIMIT" && refused.to_string().contains(field), "{refused}");
    }
    let (said,): (serde_json::Value,) = sqlx::query_as(
        "select details from audit where action = 'job.rate' order by details ->> 'requests_per_second' limit 1",
    )
    .fetch_one(&mut *conn)
    .await
    .expect("the audit log");
    assert_eq!((&said["requests_per_second"], &said["data_center"]), (&json!(5), &json!("dc2")));
    assert!(said.get("bytes_per_second").is_none(), "only what was said: {said}");
}

#[sqlx::test(migrations = "../migrations")]
async fn a_misspelt_data_center_is_refused_but_not_of_what_a_policy_fires(db: PgPool) {
    let lab = Lab::new(db).await;
    lab.nodes(1).await;
    let with = |more: serde_json::Value| {
        let mut body =
            json!({"kind": "backup", "cluster": "c", "data_centers": {"dcl": {"request_limit": 9}}});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec(body)
    };
    let refused = lab.try_submit(with(json!({"name": "b1"})), "k1").await.expect_err("no such data center");
    let words = refused.to_string();
    assert!(words.contains("data_centers") && words.contains("dcl") && words.contains("dc1"), "{words}");
    lab.submit(with(json!({"name": "b2", "policy": "nightly"})), "k2").await;
    let scoped = json!({"kind": "backup", "cluster": "c", "name": "b3", "max_parallel_scope": "rack"});
    let refused = lab.try_submit(spec(scoped), "k3").await.expect_err("of how many?");
    assert!(refused.to_string().contains("max_parallel_nodes"), "{refused}");
}

#[sqlx::test(migrations = "../migrations")]
async fn uploads_at_once_are_counted_by_cluster_data_center_or_rack(db: PgPool) {
    let lab = Lab::new(db).await;
    let places = [("a", "r1"), ("a", "r1"), ("a", "r2"), ("b", "r1"), ("b", "r1")];
    let workers = lab.nodes_in(&places).await;
    // How many are under way at once, wave by wave, as each wave ends before the next begins.
    for (scope, waves) in [
        (json!("cluster"), vec![1, 1, 1, 1, 1]),
        (json!("data_center"), vec![2, 2, 1]),
        (json!("rack"), vec![3, 2]),
    ] {
        let name = scope.as_str().expect("a word").replace('_', "-");
        let body = json!({"kind": "backup", "cluster": "c", "name": name, "max_parallel_nodes": 1,
            "max_parallel_scope": scope});
        let job = lab.submit(spec(body), &name).await.job;
        let mut offers = at_uploads(&lab, &workers).await;
        for wave in waves {
            assert_eq!(offers.len(), wave, "{scope}");
            for offer in &offers {
                lab.report(&lab.worker_of(&workers, offer).await.started(offer)).await;
            }
            assert!(lab.offers().await.is_empty(), "{scope}: no more while these run");
            for offer in &offers {
                lab.report(&lab.worker_of(&workers, offer).await.succeeded(offer)).await;
            }
            offers = in_order(&lab, &workers).await;
        }
        for offer in &offers {
            let worker = lab.worker_of(&workers, offer).await;
            lab.report(&worker.started(offer)).await;
            lab.report(&worker.succeeded(offer)).await;
        }
        lab.run(&workers).await;
        assert_eq!(lab.state(job).await, JobState::Succeeded, "{scope}");
    }
}
