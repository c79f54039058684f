//! CQL against a cluster of the lab: everything is written and read at ALL, so that what a test
//! sees is what every replica has.

use std::time::Duration;

use anyhow::{Context as _, Result};
use scylla::{
    client::{execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder},
    deserialize::row::DeserializeRow,
    statement::{Consistency, Statement},
};

use crate::Lab;

/// A session with a cluster.
pub struct Cql {
    session: Session,
    /// Whether it is Cassandra 5 or newer.
    pub is_five: bool,
}

impl std::fmt::Debug for Cql {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cql").field("is_five", &self.is_five).finish_non_exhaustive()
    }
}

impl Cql {
    /// Connects to every node.
    pub async fn connect(lab: &Lab, cluster: &str) -> Result<Self> {
        let status = lab.cluster(cluster).await?;
        let nodes = status.nodes.iter().map(|node| format!("{}:{}", node.address, node.cql_port));
        let profile = ExecutionProfile::builder()
            .consistency(Consistency::All)
            .request_timeout(Some(Duration::from_mins(2)))
            .build();
        let session = SessionBuilder::new()
            .known_nodes(nodes)
            .default_execution_profile_handle(profile.into_handle())
            .build()
            .await
            .with_context(|| format!("connecting to {cluster}"))?;
        Ok(Self { session, is_five: status.is_five() })
    }

    /// The driver's session, for statements with values.
    pub const fn driver(&self) -> &Session {
        &self.session
    }

    /// Runs a statement.
    pub async fn run(&self, statement: &str) -> Result<()> {
        self.session.query_unpaged(statement, ()).await.with_context(|| statement.to_owned())?;
        Ok(())
    }

    /// Runs statements one after another.
    pub async fn run_all<S: AsRef<str>>(&self, statements: &[S]) -> Result<()> {
        for statement in statements {
            self.run(statement.as_ref()).await?;
        }
        Ok(())
    }

    /// Rows of a query whose answer is small.
    pub async fn rows<R>(&self, query: &str) -> Result<Vec<R>>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let mut statement = Statement::new(query);
        // A node's own tables have no replicas to ask.
        if ["FROM system.", "FROM system_schema.", "FROM system_views."].iter().any(|own| query.contains(own))
        {
            statement.set_consistency(Consistency::One);
        }
        let answer = self.session.query_unpaged(statement, ()).await.with_context(|| query.to_owned())?;
        let answer = answer.into_rows_result().with_context(|| query.to_owned())?;
        let rows = answer.rows::<R>().with_context(|| query.to_owned())?;
        rows.collect::<Result<_, _>>().with_context(|| query.to_owned())
    }

    /// The keyspaces whose names begin so.
    pub async fn keyspaces(&self, prefix: &str) -> Result<Vec<String>> {
        let all = self.rows::<(String,)>("SELECT keyspace_name FROM system_schema.keyspaces").await?;
        Ok(all.into_iter().map(|row| row.0).filter(|name| name.starts_with(prefix)).collect())
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &str) -> Result<i64> {
        let rows = self.rows::<(i64,)>(&format!("SELECT count(*) FROM {table}")).await?;
        Ok(rows.first().context("count(*) has one row")?.0)
    }

    /// A keyspace's schema as Cassandra describes it, with table ids and dropped columns.
    pub async fn describe(&self, keyspace: &str) -> Result<Vec<String>> {
        type Row = (String, String, String, String);
        let query = format!("DESCRIBE KEYSPACE \"{keyspace}\" WITH INTERNALS");
        let rows = self.rows::<Row>(&query).await?;
        Ok(rows.into_iter().map(|row| row.3).collect())
    }
}
