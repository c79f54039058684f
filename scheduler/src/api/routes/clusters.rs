//! The metadata service: clusters, ring, nodes, schema.

use axum::{
    Json,
    extract::{Path, State},
};
use chrono::{DateTime, Utc};
use ringvault_core::{
    ClusterName, HostId,
    api::{
        ClusterDetail, ClusterRebind, ClusterRebound, ClusterSummary, Document, NodeForgotten, NodeState,
        NodeView, Page, Role, SchemaView, TopologyView,
    },
};
use ringvault_fault::around;
use ringvault_state::{
    StateError,
    read::{clusters, nodes},
    registry::{
        clusters as registry,
        forgotten::{self, Forgotten},
    },
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::{
    api::{
        ApiState,
        auth::Caller,
        cursor,
        error_map::vault_error,
        extract::{self, Body, Named, Params},
        problem::{ApiError, ApiResult},
        route::Route,
    },
    audit,
    config::delta,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/clusters", Role::Viewer, list)
            .is("listClusters", "Clusters, by name")
            .query::<ClusterListQuery>()
            .answers::<Page<ClusterSummary>>(200),
        Route::get("/v1/clusters/{cluster}", Role::Viewer, show)
            .is("getCluster", "A cluster with its nodes")
            .answers::<Document<ClusterDetail>>(200),
        Route::get("/v1/clusters/{cluster}/topology", Role::Viewer, topology)
            .is("getTopology", "The ring and replication, now or at an instant")
            .query::<TopologyQuery>()
            .answers::<Document<TopologyView>>(200),
        Route::get("/v1/clusters/{cluster}/nodes", Role::Viewer, list_nodes)
            .is("listNodes", "Members of the ring with their workers, and workers without a node")
            .query::<NodeListQuery>()
            .answers::<Page<NodeView>>(200),
        Route::post("/v1/clusters/{cluster}/rebind", Role::Admin, rebind)
            .is("rebindCluster", "Frees a cluster's id whose ring is gone for good: the next ring gets it")
            .takes::<ClusterRebind>()
            .answers::<Document<ClusterRebound>>(200),
        Route::post("/v1/clusters/{cluster}/nodes/{host_id}/forget", Role::Admin, forget)
            .is("forgetNode", "Gives a node up that is gone for good: no job waits for it")
            .query::<ForgetQuery>()
            .answers::<Document<NodeForgotten>>(200),
        Route::get("/v1/clusters/{cluster}/schema", Role::Viewer, schema)
            .is("getSchema", "Which schema the nodes have, and whether they agree")
            .answers::<Document<SchemaView>>(200),
    ]
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClusterListQuery {
    /// Clusters on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list(
    State(api): State<ApiState>,
    Params(query): Params<ClusterListQuery>,
) -> ApiResult<Json<Page<ClusterSummary>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<String> = cursor::read(query.cursor.as_deref())?;
    let mut conn = api.conn().await?;
    let silent_after = api.silent_after();
    let found = clusters::list(&mut conn, None, after.as_deref(), cursor::ask(limit), silent_after).await?;
    let (items, next) = cursor::cut(found, limit, |item| item.cluster.clone())?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

pub(super) fn unknown(cluster: &ClusterName) -> ApiError {
    let detail = format!("cluster {cluster} is not known: no worker has announced it");
    ApiError::not_found("RV-CLUSTER-UNKNOWN", detail).next("ringvault cluster list")
}

async fn show(
    State(api): State<ApiState>,
    Named(cluster): Named<ClusterName>,
) -> ApiResult<Json<Document<ClusterDetail>>> {
    let mut conn = api.conn().await?;
    let found = clusters::detail(&mut conn, &cluster, api.silent_after()).await?;
    Ok(Json(Document::new(found.ok_or_else(|| unknown(&cluster))?)))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TopologyQuery {
    /// The instant; now when absent.
    at: Option<DateTime<Utc>>,
}

async fn topology(
    State(api): State<ApiState>,
    Named(cluster): Named<ClusterName>,
    Params(query): Params<TopologyQuery>,
) -> ApiResult<Json<Document<TopologyView>>> {
    let mut conn = api.conn().await?;
    if let Some(found) = clusters::topology(&mut conn, &cluster, query.at).await? {
        return Ok(Json(Document::new(found)));
    }
    let Some(at) = query.at else {
        return Err(unknown(&cluster));
    };
    let detail = format!("nothing is known of the ring of cluster {cluster} at {at}");
    Err(ApiError::not_found("RV-TOPOLOGY-UNKNOWN", detail).next(format!("ringvault cluster show {cluster}")))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NodeListQuery {
    /// Nodes on a page, from 1 to 1000.
    limit: Option<u32>,
    /// Of the page before.
    cursor: Option<String>,
}

async fn list_nodes(
    State(api): State<ApiState>,
    Named(cluster): Named<ClusterName>,
    Params(query): Params<NodeListQuery>,
) -> ApiResult<Json<Page<NodeView>>> {
    let limit = cursor::limit(query.limit)?;
    let after: Option<String> = cursor::read(query.cursor.as_deref())?;
    let mut conn = api.conn().await?;
    let mut found = nodes::list(&mut conn, Some(&cluster), api.silent_after()).await?;
    if found.is_empty() && clusters::schema(&mut conn, &cluster).await?.is_none() {
        return Err(unknown(&cluster));
    }
    // A ring is read whole: what a page shows is decided here, in an order that no join changes.
    found.sort_by_key(place);
    found.retain(|node| after.as_ref().is_none_or(|after| place(node) > *after));
    found.truncate(limit + 1);
    let (items, next) = cursor::cut(found, limit, place)?;
    Ok(Json(Page::new(ringvault_state::now(&mut conn).await?, items, next)))
}

async fn rebind(
    State(api): State<ApiState>,
    caller: Caller,
    Named(cluster): Named<ClusterName>,
    Body(asked): Body<ClusterRebind>,
) -> ApiResult<Json<Document<ClusterRebound>>> {
    if !asked.dry_run && asked.confirm.as_ref() != Some(&cluster) {
        let detail = format!("the id {cluster} is taken from its ring, and that is not confirmed");
        return Err(ApiError::refused("RV-NOT-CONFIRMED", detail).next(format!("--confirm={cluster}")));
    }
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    let was = registry::lock(&mut tx, &cluster).await?.ok_or_else(|| unknown(&cluster))?;
    let live = nodes::list(&mut tx, Some(&cluster), api.silent_after()).await?;
    let state_is = |wanted| move |node: &&NodeView| node.state == wanted;
    if let Some(node) = live.iter().find(state_is(NodeState::Live)) {
        let detail = format!("a worker of {cluster} is live beside {}: the ring is not gone", node.address);
        return Err(
            ApiError::conflict("RV-CLUSTER-ALIVE", detail).next(format!("ringvault node list -c {cluster}"))
        );
    }
    let refused = u32::try_from(live.iter().filter(state_is(NodeState::Refused)).count()).unwrap_or(u32::MAX);
    if !asked.dry_run {
        // The vault first: with the id free there alone, the old ring is still the only one heard here.
        api.ctx.vault.unbind_cluster(&cluster).await.map_err(|error| vault_error(&error))?;
        registry::unbind(&mut tx, &cluster).await?;
        let (by, details) = (caller.actor(), json!({ "was": was }));
        let target = format!("cluster {cluster}");
        audit::record(&mut tx, &by, "cluster.rebind", Some(&cluster), &target, &details).await?;
        ringvault_state::commit(tx, around!("cluster.rebind")).await?;
        tracing::warn!(%cluster, by = caller.name(), "a cluster's id was freed");
    }
    let dry_run = asked.dry_run;
    Ok(Json(Document::new(ClusterRebound { cluster, dry_run, was, refused })))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForgetQuery {
    /// `1`: say what would be done, and change nothing.
    #[serde(default, deserialize_with = "extract::flag")]
    dry_run: bool,
}

async fn forget(
    State(api): State<ApiState>,
    caller: Caller,
    Path((cluster, host_id)): Path<(String, String)>,
    Params(query): Params<ForgetQuery>,
) -> ApiResult<Json<Document<NodeForgotten>>> {
    let cluster: ClusterName = cluster.parse()?;
    let not_a_node = || {
        let detail = format!("{host_id} is no node of the ring of {cluster}");
        ApiError::not_found("RV-NODE-UNKNOWN", detail).next(format!("ringvault node list -c {cluster}"))
    };
    let host: HostId = host_id.parse().map_err(|_| not_a_node())?;
    let mut tx = api.ctx.db.begin().await.map_err(StateError::from)?;
    registry::lock(&mut tx, &cluster).await?.ok_or_else(|| unknown(&cluster))?;
    let silence = delta(api.ctx.config.timing.worker_silence);
    let already = match forgotten::forget(&mut tx, (&cluster, host), silence).await? {
        Forgotten::Now => false,
        Forgotten::Already => true,
        Forgotten::Unknown => return Err(not_a_node()),
        Forgotten::Alive => {
            let detail = format!("a worker is live beside node {host} of {cluster}: it is not gone");
            let next = "stop its worker first, if the node is gone for good";
            return Err(ApiError::conflict("RV-NODE-ALIVE", detail).next(next));
        }
    };
    if !query.dry_run {
        let (by, target) = (caller.actor(), format!("node {host}"));
        let details = json!({ "already": already });
        audit::record(&mut tx, &by, "node.forget", Some(&cluster), &target, &details).await?;
        ringvault_state::commit(tx, around!("node.forget")).await?;
        tracing::warn!(%cluster, node = %host, by = caller.name(), "a node was forgotten");
    }
    let dry_run = query.dry_run;
    Ok(Json(Document::new(NodeForgotten { cluster, host_id: host, dry_run, already })))
}

fn place(node: &NodeView) -> String {
    let host = node.host_id.map(|host| host.to_string()).unwrap_or_default();
    let worker = node.worker.map(|worker| worker.to_string()).unwrap_or_default();
    [node.dc.as_str(), &node.rack, &node.address, &host, &worker].join("\n")
}

async fn schema(
    State(api): State<ApiState>,
    Named(cluster): Named<ClusterName>,
) -> ApiResult<Json<Document<SchemaView>>> {
    let mut conn = api.conn().await?;
    let found = clusters::schema(&mut conn, &cluster).await?;
    Ok(Json(Document::new(found.ok_or_else(|| unknown(&cluster))?)))
}
