//! Views are dropped and made anew from their restored base tables: base tables and views are not
//! snapshotted together, and an import does not write to views. One that lacks rows then is made once more.
//!
//! The target's own views are written to the vault before the first is dropped, and never over an
//! earlier record. So whatever happens between the drop and the creation, another attempt knows them
//! all. What the target had wins over what the backup has under the same name.

use std::time::Duration;

use ringvault_cassandra::schema::{CreateOptions, ObjectKind, SchemaDump, SchemaObject};
use ringvault_core::{HostId, TaskError, selection::TableName};
use ringvault_fault::{around, point};
use ringvault_vault::layout;
use tracing::{info, warn};

use super::{
    record::RestorePlan,
    settle::BUILD_PATIENCE,
    view_rows::{PoorView, look_for_rows},
};
use crate::{agent::TaskHandle, executor::Executor};

/// How far apart nodes' clocks may be.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(1);
/// How often a view is made, in one attempt, before it is given up to have all its rows.
const ROUNDS: u32 = 5;
/// Largest record of views accepted, in bytes.
const MAX_VIEWS: u64 = 64 << 20;

impl Executor {
    /// Rebuilds every view of a restored table, waits until it is built everywhere, and sees that it has its rows.
    pub(super) async fn rebuild_views(
        &self,
        plan: &RestorePlan,
        existing: &SchemaDump,
        handle: &TaskHandle,
    ) -> Result<Vec<TableName>, TaskError> {
        let tables = plan.targets();
        let there = views_of(existing, &tables);
        let own = self.record_views(plan, &there).await?;
        let mut wanted = self.wanted_schema(plan).await?;
        wanted.objects = if plan.spec.skip_schema { Vec::new() } else { views_of(&wanted, &tables).objects };
        let mut views = names(&own);
        views.extend(names(&wanted).into_iter().filter(|view| find(&own, view).is_none()));
        if views.is_empty() {
            return Ok(views);
        }
        for view in names(&there).iter().filter(|view| !views.contains(view)) {
            warn!(%view, "made while the restore ran, and not rebuilt: it lacks what was restored");
        }
        let mut dropped = names(&there);
        dropped.retain(|view| views.contains(view));
        let mut made = views.clone();
        for rounds_left in (0..ROUNDS).rev() {
            self.drop_views(&dropped, handle).await?;
            self.create_views(plan, &own, &wanted).await?;
            self.wait_until_built(plan, &made, handle).await?;
            let poor = self.find_poor_views(&made, handle).await?;
            if let (Some(first), 0) = (poor.first(), rounds_left) {
                return Err(TaskError::transient("RV-VIEW-ROWS", first.to_string())
                    .with_next("another attempt makes the view again"));
            }
            made = poor.into_iter().map(|poor| poor.view).collect();
            if made.is_empty() {
                break;
            }
            dropped.clone_from(&made);
        }
        Ok(views)
    }

    /// Drops views, and waits until every node has, also what an attempt before this one dropped.
    async fn drop_views(&self, views: &[TableName], handle: &TaskHandle) -> Result<(), TaskError> {
        let cql = self.node.cql().await?;
        for view in views {
            handle.go_on()?;
            point!("settle.drop-view.before").hit().await?;
            cql.drop_view(view).await?;
            point!("settle.drop-view.after").hit().await?;
        }
        self.wait_until_dropped().await
    }

    /// Makes those that are not there: the target's own before the backup's.
    async fn create_views(
        &self,
        plan: &RestorePlan,
        own: &SchemaDump,
        wanted: &SchemaDump,
    ) -> Result<(), TaskError> {
        let (cql, options) = (self.node.cql().await?, CreateOptions::default());
        point!("settle.create-own-views.before").hit().await?;
        cql.create_views(own, &plan.selection(), &options).await?;
        point!("settle.create-own-views.after").hit().await?;
        point!("settle.create-views.before").hit().await?;
        cql.create_views(wanted, &plan.selection(), &options).await?;
        point!("settle.create-views.after").hit().await?;
        Ok(())
    }

    async fn wait_until_built(
        &self,
        plan: &RestorePlan,
        views: &[TableName],
        handle: &TaskHandle,
    ) -> Result<(), TaskError> {
        let cql = self.node.cql().await?;
        let hosts: Vec<HostId> = plan.target.host_ids();
        for (done, view) in views.iter().enumerate() {
            handle.step(done as u64, views.len() as u64, format!("building view {view}"));
            cql.wait_view_built(view, &hosts, BUILD_PATIENCE).await?;
            info!(%view, "view rebuilt");
        }
        Ok(())
    }

    /// The views that lack rows.
    async fn find_poor_views(
        &self,
        views: &[TableName],
        handle: &TaskHandle,
    ) -> Result<Vec<PoorView>, TaskError> {
        let cql = self.node.cql().await?;
        let schema = cql.schema().await?;
        point!("settle.count-views").hit().await?;
        let mut poor = Vec::new();
        for view in views {
            poor.extend(look_for_rows(&cql, &schema, view, handle).await?);
        }
        for view in &poor {
            warn!("{view}: it is made again");
        }
        Ok(poor)
    }

    /// Waits until every node has dropped what was dropped, by this attempt or one before.
    ///
    /// A node that hears of a drop and of a creation under the same name at once keeps the view it has, with
    /// what it held, and calls it built; and each node, as it drops a view, deletes the rows that tell how far it
    /// is built on all, of which a newer one must not be among them by its clock.
    async fn wait_until_dropped(&self) -> Result<(), TaskError> {
        let patience = CreateOptions::default().agreement_timeout;
        self.node.cql().await?.wait_schema_agreement(patience).await?;
        tokio::time::sleep(CLOCKS_DIFFER_BY).await;
        Ok(())
    }

    /// The target's views as they were before the restore dropped the first of them: recorded now,
    /// or by an earlier attempt.
    async fn record_views(&self, plan: &RestorePlan, there: &SchemaDump) -> Result<SchemaDump, TaskError> {
        let key = layout::restore_views(&plan.spec.target, plan.job);
        if !there.objects.is_empty() {
            let mut text = serde_json::to_vec_pretty(there)
                .map_err(|error| TaskError::permanent("RV-INTERNAL", error.to_string()))?;
            text.push(b'\n');
            if around!("settle.views").run(self.put_if_absent(&key, text.into())).await? {
                return Ok(there.clone());
            }
        }
        match self.vault.store().get(&key, MAX_VIEWS).await {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| {
                TaskError::permanent("RV-VIEWS", format!("the record of the target's views {key}: {error}"))
            }),
            Err(error) if error.is_not_found() => Ok(there.clone()),
            Err(error) => Err(error.to_task_error()),
        }
    }
}

/// The views of these tables, as a schema of their own.
fn views_of(dump: &SchemaDump, tables: &[TableName]) -> SchemaDump {
    let is_of_plan = |view: &&SchemaObject| {
        let base = view.base.as_deref().unwrap_or_default();
        view.kind == ObjectKind::View && tables.contains(&TableName::new(&view.keyspace, base))
    };
    SchemaDump {
        version: dump.version,
        release_version: dump.release_version.clone(),
        objects: dump.objects.iter().filter(is_of_plan).cloned().collect(),
    }
}

fn names(views: &SchemaDump) -> Vec<TableName> {
    views.objects.iter().map(|view| TableName::new(&view.keyspace, &view.name)).collect()
}

fn find<'a>(views: &'a SchemaDump, view: &TableName) -> Option<&'a SchemaObject> {
    views.find(ObjectKind::View, &view.keyspace, &view.table)
}
