//! The round trip: a keyspace with everything in it is backed up, lost, and brought back, and every
//! cell is compared. Run on each kind of cluster, store and node control there is.

mod load;
mod schema;

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{
    api::{BackupDetail, JobDetail},
    job::{RestoreMethod, StageKind},
};

use crate::{
    Content, Lab, Ringvault,
    cql::Cql,
    invariants::{self, Moment},
    ringvault::{exit, fresh},
    wait::until,
};
pub use schema::{CAMEL, KEYSPACE};

/// How long a view of one replica may take to follow its base.
const VIEW_PATIENCE: Duration = Duration::from_mins(2);

/// Both keyspaces with their content, and a backup of them.
#[derive(Debug)]
pub struct RoundTrip {
    /// The lab.
    pub lab: Lab,
    /// The program.
    pub rv: Ringvault,
    /// A session with the cluster.
    pub cql: Cql,
    /// The cluster.
    pub cluster: String,
    /// What was in [`KEYSPACE`] when it was backed up.
    pub variety: Content,
    /// What was in [`CAMEL`].
    pub camel: Content,
    /// Both schemas, with ids.
    pub schema: Vec<String>,
    /// The backup of both.
    pub backup: BackupDetail,
}

impl RoundTrip {
    /// Writes the data and backs the whole cluster up.
    pub async fn begin(lab: &Lab, cluster: &str) -> Result<Self> {
        let cql = Cql::connect(lab, cluster).await?;
        cql.run_all(&schema::statements(cql.is_five, lab.cluster(cluster).await?.nodes.len().min(3))).await?;
        load::load(lab, cluster, &cql).await?;
        let variety = Content::read(&cql, KEYSPACE).await?;
        let camel = Content::read(&cql, CAMEL).await?;
        ensure!(variety.rows("kv_by_n") == variety.rows("kv"), "the view is not whole");
        ensure!(variety.rows("empty") == 0 && variety.rows("large") == 150, "not what was written");
        let schema = describe(&cql).await?;
        let rv = Ringvault::of(lab).await?;
        let backup = rv.backup(cluster, &fresh("variety"), &[]).await?;
        Ok(Self { lab: lab.clone(), rv, cql, cluster: cluster.to_owned(), variety, camel, schema, backup })
    }

    /// The backup's name.
    pub fn name(&self) -> &str {
        self.backup.summary.name.as_str()
    }

    /// Whether everything is as it was when it was backed up: cells, schema with ids, indexes.
    pub async fn is_whole(&self, cql: &Cql) -> Result<()> {
        Content::read(cql, KEYSPACE).await?.must_equal(&self.variety).context(KEYSPACE)?;
        Content::read(cql, CAMEL).await?.must_equal(&self.camel).context(CAMEL)?;
        let schema = describe(cql).await?;
        for statement in &schema {
            ensure!(self.schema.contains(statement), "new or changed: {statement}");
        }
        ensure!(schema.len() == self.schema.len(), "the schema is not whole: {schema:?}");
        indexes_work(cql).await
    }

    /// Drops both keyspaces, restores them, and compares.
    pub async fn drop_and_restore(&self) -> Result<()> {
        let (cql, cluster) = (&self.cql, self.cluster.as_str());
        cql.run_all(&[format!("DROP KEYSPACE {KEYSPACE}"), format!("DROP KEYSPACE \"{CAMEL}\"")]).await?;
        let options = ["--keyspace", KEYSPACE, "--keyspace", CAMEL];
        let job = self.rv.restore(self.name(), cluster, &options).await?;
        let restored = job.outcome.restored.context("a restore has an outcome")?;
        ensure!(restored.problems.is_empty(), "{:?}", restored.problems);
        ensure!(restored.sstables > 0 && restored.rows_read > 0, "{restored:?}");
        ensure!(job.stages.iter().any(|stage| stage.stage == StageKind::Apply), "{:?}", job.stages);
        self.is_whole(cql).await
    }

    /// Whether every cell is as it was when it was backed up, whatever the schema is now.
    pub async fn has_every_cell(&self, cql: &Cql) -> Result<()> {
        Content::read(cql, KEYSPACE).await?.must_equal(&self.variety).context(KEYSPACE)?;
        Content::read(cql, CAMEL).await?.must_equal(&self.camel).context(CAMEL)?;
        indexes_work(cql).await
    }

    /// Restores by this method into keyspaces with one replica, made here on a cluster that lacks them, so that
    /// each node owns a part of what it owned, or another.
    pub async fn restore_by(&self, method: RestoreMethod, target: &str, cql: &Cql) -> Result<JobDetail> {
        let job = self.bring(target, cql, Some(1), method).await?;
        let plan = job.outcome.plan.as_ref().context("a restore has a plan")?;
        ensure!(plan.method == method, "{plan:?}");
        self.is_there_at_last(cql).await?;
        Ok(job)
    }

    /// Restores both keyspaces into a cluster that lacks them. They are made here with so many replicas, or by
    /// the restore as they were.
    pub async fn bring(
        &self,
        target: &str,
        cql: &Cql,
        replicas: Option<u32>,
        method: RestoreMethod,
    ) -> Result<JobDetail> {
        if let Some(replicas) = replicas {
            let create = [KEYSPACE, CAMEL].map(|keyspace| {
                format!(
                    "CREATE KEYSPACE \"{keyspace}\" WITH replication = \
                     {{'class': 'SimpleStrategy', 'replication_factor': {replicas}}}"
                )
            });
            cql.run_all(&create).await?;
        }
        let options = ["--keyspace", KEYSPACE, "--keyspace", CAMEL, "--method", method.as_str()];
        let job = self.rv.restore(self.name(), target, &options).await?;
        let restored = job.outcome.restored.as_ref().context("a restore has an outcome")?;
        ensure!(restored.problems.is_empty(), "{:?}", restored.problems);
        ensure!(restored.sstables > 0 && restored.rows_read > 0, "{restored:?}");
        Ok(job)
    }

    /// Waits for the view: the one replica of a row of it may be on another node than its base, and Cassandra
    /// waits for no write from one to the other.
    pub async fn is_there_at_last(&self, cql: &Cql) -> Result<()> {
        let all = async || Ok(self.has_every_cell(cql).await.ok());
        if until("every cell, of the view too", VIEW_PATIENCE, all).await.is_err() {
            self.has_every_cell(cql).await?;
        }
        Ok(())
    }

    /// Drops both keyspaces and restores them with fewer replicas, by this method.
    pub async fn drop_and_restore_by(&self, method: RestoreMethod) -> Result<()> {
        let drop = [format!("DROP KEYSPACE {KEYSPACE}"), format!("DROP KEYSPACE \"{CAMEL}\"")];
        self.cql.run_all(&drop).await?;
        self.restore_by(method, &self.cluster, &self.cql).await?;
        self.cassandra_finds_nothing_wrong(&self.cluster, &self.cql).await?;
        self.deletions_hold().await
    }

    /// Cassandra's own look at what was imported, and the cells once more after it has rewritten them.
    pub async fn cassandra_finds_nothing_wrong(&self, cluster: &str, cql: &Cql) -> Result<()> {
        let nodes = self.lab.cluster(cluster).await?.nodes;
        for node in &nodes {
            self.lab
                .nodetool(cluster, node.index, &["verify", "-f", "-e", KEYSPACE])
                .await
                .context("verify")?;
        }
        for node in &nodes {
            self.lab.nodetool(cluster, node.index, &["compact", KEYSPACE]).await?;
        }
        self.has_every_cell(cql).await.context("after a compaction")
    }

    /// Whether deletions came back too: writes from before them stay hidden.
    pub async fn deletions_hold(&self) -> Result<()> {
        self.cql.run_all(&load::late_writes()).await?;
        Content::read(&self.cql, KEYSPACE).await?.must_equal(&self.variety)
    }

    /// A whole turn, for clusters that are only asked whether it works there: backup, an unchanged
    /// second one, verify, drop, restore.
    pub async fn turn(lab: &Lab, cluster: &str) -> Result<()> {
        let trip = Self::begin(lab, cluster).await?;
        let left = lab.snapshots(cluster).await?;
        ensure!(left.is_empty(), "snapshots were left behind: {left:?}");
        let again = trip.rv.backup(cluster, &fresh("variety-again"), &["--keyspace", KEYSPACE]).await?;
        let figures = again.summary.figures;
        ensure!(figures.bytes_new == 0 && figures.bytes > 0, "an unchanged keyspace: {figures:?}");
        trip.rv.verify(cluster, trip.name()).await?;
        trip.drop_and_restore().await?;
        trip.deletions_hold().await?;
        trip.close().await
    }

    /// Life goes on after the backup: a row is deleted, and a table and a type are not what they were. What is
    /// there now.
    pub async fn moved_on(&self) -> Result<Content> {
        self.cql
            .run_all(&[
                format!("DELETE FROM {KEYSPACE}.kv WHERE id = 5"),
                format!("ALTER TABLE {KEYSPACE}.statics DROP v"),
                format!("ALTER TYPE {KEYSPACE}.address ADD zip text"),
            ])
            .await?;
        Content::read(&self.cql, KEYSPACE).await
    }

    /// Takes both keyspaces away at the end of a test, which leaves every invariant whole.
    pub async fn close(self) -> Result<()> {
        let drop = [format!("DROP KEYSPACE {KEYSPACE}"), format!("DROP KEYSPACE \"{CAMEL}\"")];
        self.cql.run_all(&drop).await?;
        self.rv.run(&["job", "list", "-c", &self.cluster]).await?.expect(exit::OK)?;
        invariants::hold(&self.lab, Moment::Busy).await
    }
}

async fn describe(cql: &Cql) -> Result<Vec<String>> {
    Ok([cql.describe(KEYSPACE).await?, cql.describe(CAMEL).await?].concat())
}

/// Queries that only an index answers.
async fn indexes_work(cql: &Cql) -> Result<()> {
    let mut queries = vec![
        (format!("SELECT count(*) FROM {KEYSPACE}.kv WHERE a = 'a3'"), 60),
        (format!("SELECT count(*) FROM \"{CAMEL}\".\"CamelTable\" WHERE \"value\" = 7"), 1),
        (format!("SELECT count(*) FROM {KEYSPACE}.kv_by_n WHERE n = 300"), 23),
    ];
    if cql.is_five {
        queries.push((format!("SELECT count(*) FROM {KEYSPACE}.kv WHERE b = 'b3'"), 86));
    }
    for (query, expected) in queries {
        let rows = cql.rows::<(i64,)>(&query).await?;
        let count = rows.first().context("count(*) has one row")?.0;
        ensure!(count == expected, "{query}: {count}, not {expected}");
    }
    Ok(())
}
