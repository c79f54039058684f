//! The fleet's status: facts from the database and the servers' health, judged.

mod judge;

use chrono::{DateTime, TimeDelta, Utc};
use ringvault_core::{
    PolicyName,
    api::{ClusterStatus, FleetStatus, Readiness, ServerState, ServerStatus, Servers},
};
use ringvault_state::{
    PgConnection, StateResult,
    notices::{self, Fares},
    read::{nodes, policies, status},
};

use super::{Api, health, problem::ApiResult};
use judge::Evidence;

/// Reads and judges. Without the database it says so and knows of no cluster: that a server is down
/// is what is asked here first.
pub(super) async fn read(api: &Api) -> ApiResult<FleetStatus> {
    let readiness = health::readiness(api).await;
    if readiness.postgres.state == ServerState::Down {
        return Ok(without_database(readiness, Utc::now()));
    }
    let mut conn = api.conn().await?;
    let as_of = ringvault_state::now(&mut conn).await?;
    let clusters = fleet(&mut conn, api.silent_after()).await?;
    let fares = notices::fares(&mut conn).await?;
    let leader = status::leader(&mut conn).await?;
    drop(conn);
    // Of receivers that are configured no more nobody expects anything.
    let notices: Vec<_> = fares
        .iter()
        .filter(|fares| api.ctx.config.notify.contains_key(&fares.notifier))
        .filter_map(Fares::trouble)
        .collect();
    let next = clusters.iter().find_map(|cluster| cluster.next.clone());
    let next = next.or_else(|| (!notices.is_empty()).then(|| "ringvault notify list".to_owned()));
    Ok(FleetStatus { as_of, servers: servers(readiness, leader), clusters, notices, next })
}

/// Every cluster, judged.
pub(crate) async fn fleet(
    conn: &mut PgConnection,
    silent_after: TimeDelta,
) -> StateResult<Vec<ClusterStatus>> {
    let as_of = ringvault_state::now(conn).await?;
    let facts = status::clusters(conn).await?;
    let members = nodes::list(conn, None, silent_after).await?;
    let policies = policies::list(conn, None, None, i64::MAX).await?;
    Ok(facts
        .into_iter()
        .map(|facts| {
            let evidence = Evidence {
                nodes: members.iter().filter(|node| node.cluster == facts.cluster).collect(),
                policies: policies
                    .iter()
                    .filter(|view| view.policy.cluster == facts.cluster)
                    .map(|view| (&view.name, &view.policy))
                    .collect::<Vec<(&PolicyName, _)>>(),
                facts: &facts,
                now: as_of,
            };
            evidence.judge()
        })
        .collect())
}

fn without_database(readiness: Readiness, as_of: DateTime<Utc>) -> FleetStatus {
    let next = Some("ringvault doctor".to_owned());
    FleetStatus { as_of, servers: servers(readiness, None), clusters: Vec::new(), notices: Vec::new(), next }
}

fn servers(readiness: Readiness, leader: Option<String>) -> Servers {
    Servers {
        scheduler: ServerStatus::ok(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        leader,
        postgres: readiness.postgres,
        rabbitmq: readiness.rabbitmq,
        store: readiness.store,
    }
}
