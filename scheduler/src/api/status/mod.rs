//! The fleet's status: facts from the database and the servers' health, judged.

mod judge;

use chrono::{DateTime, Utc};
use ringvault_core::{
    PolicyName,
    api::{FleetStatus, Readiness, ServerState, ServerStatus, Servers},
};
use ringvault_state::read::{nodes, policies, status};

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
    let facts = status::clusters(&mut conn).await?;
    let members = nodes::list(&mut conn, None, api.silent_after()).await?;
    let policies = policies::list(&mut conn, None, None, i64::MAX).await?;
    let leader = status::leader(&mut conn).await?;
    drop(conn);
    let clusters: Vec<_> = facts
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
        .collect();
    let next = clusters.iter().find_map(|cluster| cluster.next.clone());
    Ok(FleetStatus { as_of, servers: servers(readiness, leader), clusters, next })
}

fn without_database(readiness: Readiness, as_of: DateTime<Utc>) -> FleetStatus {
    let next = Some("ringvault doctor".to_owned());
    FleetStatus { as_of, servers: servers(readiness, None), clusters: Vec::new(), next }
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
