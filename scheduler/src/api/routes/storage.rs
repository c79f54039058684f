//! What is kept, what it costs, and what goes next.

use axum::{Json, extract::State};
use ringvault_core::{
    ClusterName,
    api::{
        Document, ExpiryForecast, PolicyView, RetentionRule, Role, RuleForecast, StorageReport, StorePrice,
    },
    job::PurgeSpec,
    policy::PolicyAction,
};
use ringvault_state::read::{policies, storage};

use super::purges::{self, Known};
use crate::api::{ApiState, extract::Named, problem::ApiResult, route::Route};

/// Bytes of a GiB.
const GIB: f64 = 1_073_741_824.0;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/v1/storage", Role::Viewer, report)
            .is("getStorage", "What each cluster's backups take in the store, and what says what goes")
            .answers::<Document<StorageReport>>(200),
        Route::get("/v1/clusters/{cluster}/expiring", Role::Viewer, expiring)
            .is("getExpiring", "What would go if every retention of the cluster were applied now")
            .answers::<Document<ExpiryForecast>>(200),
    ]
}

/// The policy's rule, if it has one that takes something away.
fn rule(view: &PolicyView) -> Option<RetentionRule> {
    let action = view.policy.action;
    Some(RetentionRule {
        policy: view.name.clone(),
        action,
        retention: view.policy.retention.clone().filter(|_| action != PolicyAction::Verify)?,
        next_fire: view.next_fire,
    })
}

async fn report(State(api): State<ApiState>) -> ApiResult<Json<Document<StorageReport>>> {
    let mut conn = api.conn().await?;
    let as_of = ringvault_state::now(&mut conn).await?;
    let mut clusters = storage::clusters(&mut conn).await?;
    let policies = policies::list(&mut conn, None, None, i64::MAX).await?;
    let price = api.ctx.config.store_price.clone().map(StorePrice::from);
    for cluster in &mut clusters {
        let own = policies.iter().filter(|view| view.policy.cluster == cluster.cluster);
        cluster.retentions = own.filter_map(rule).collect();
        #[expect(clippy::cast_precision_loss, reason = "a price is no sum of bytes")]
        let gib = cluster.stored_bytes as f64 / GIB;
        cluster.cost_per_month = price.as_ref().map(|price| gib * price.per_gib_month);
    }
    Ok(Json(Document::new(StorageReport { as_of, price, clusters })))
}

async fn expiring(
    State(api): State<ApiState>,
    Named(cluster): Named<ClusterName>,
) -> ApiResult<Json<Document<ExpiryForecast>>> {
    let policies = policies::list(&mut *api.conn().await?, None, None, i64::MAX).await?;
    let own: Vec<_> = policies.iter().filter(|view| view.policy.cluster == cluster).collect();
    let mut rules = Vec::new();
    let plain = PurgeSpec { cluster: cluster.clone(), backups: Vec::new(), retention: None, policy: None };
    for rule in own.into_iter().filter_map(rule) {
        let asked = PurgeSpec {
            retention: Some(rule.retention.clone()),
            policy: Some(rule.policy.clone()),
            ..plain.clone()
        };
        let known = Known::read(&api, &asked).await?;
        rules.push(RuleForecast { rule, expire: purges::by_retention(&known) });
    }
    let known = Known::read(&api, &plain).await?;
    let (as_of, dead) = (known.as_of, known.dead);
    Ok(Json(Document::new(ExpiryForecast { cluster, as_of, rules, dead })))
}
