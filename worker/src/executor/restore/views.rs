//! Views are dropped and made anew from their restored base tables: base tables and views are not
//! snapshotted together, and an import does not write to views.
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

use super::{record::RestorePlan, settle::BUILD_PATIENCE};
use crate::{agent::TaskHandle, executor::Executor};

/// How far apart nodes' clocks may be.
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(1);
/// Largest record of views accepted, in bytes.
const MAX_VIEWS: u64 = 64 << 20;

impl Executor {
    /// Rebuilds every view of a restored table, and waits until it is built everywhere.
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
        let cql = self.node.cql().await?;
        for view in names(&there) {
            if views.contains(&view) {
                handle.go_on()?;
                point!("settle.drop-view.before").hit().await?;
                cql.drop_view(&view).await?;
                point!("settle.drop-view.after").hit().await?;
            } else {
                warn!(%view, "made while the restore ran, and not rebuilt: it lacks what was restored");
            }
        }
        let options = CreateOptions::default();
        self.wait_until_dropped(&options).await?;
        point!("settle.create-own-views.before").hit().await?;
        cql.create_views(&own, &plan.selection(), &options).await?;
        point!("settle.create-own-views.after").hit().await?;
        point!("settle.create-views.before").hit().await?;
        cql.create_views(&wanted, &plan.selection(), &options).await?;
        point!("settle.create-views.after").hit().await?;
        let hosts: Vec<HostId> = plan.target.host_ids();
        for (done, view) in views.iter().enumerate() {
            handle.step(done as u64, views.len() as u64, format!("building view {view}"));
            cql.wait_view_built(view, &hosts, BUILD_PATIENCE).await?;
            info!(%view, "view rebuilt");
        }
        Ok(views)
    }

    /// Waits until every node has dropped what was dropped, by this attempt or one before.
    ///
    /// A node that hears of a drop and of a creation under the same name at once keeps the view it has, with
    /// what it held, and calls it built; and each node, as it drops a view, deletes the rows that tell how far it
    /// is built on all, of which a newer one must not be among them by its clock.
    async fn wait_until_dropped(&self, options: &CreateOptions) -> Result<(), TaskError> {
        self.node.cql().await?.wait_schema_agreement(options.agreement_timeout).await?;
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
