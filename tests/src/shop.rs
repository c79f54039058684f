//! A small keyspace for tests that are not about Cassandra's variety: objects large enough to stand
//! alone in the vault, and small ones that are packed.

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rand::{RngCore as _, SeedableRng as _, rngs::SmallRng};

use crate::{
    Lab,
    cql::Cql,
    invariants::{self, Moment},
    lab::T1,
};

/// Rows written at once.
const PARALLEL: usize = 32;
/// Bytes of a photo; random, so that compression leaves them as they are.
const PHOTO: usize = 16 << 10;

/// A keyspace with the tables `photos` (large), `orders` and `hits` (small).
#[derive(Debug)]
pub struct Shop {
    /// Its keyspace.
    pub keyspace: String,
    lab: Lab,
    cql: Cql,
}

impl Shop {
    /// Makes it anew in [`T1`].
    pub async fn open(lab: &Lab, keyspace: &str) -> Result<Self> {
        Self::open_in(lab, T1, keyspace, 3).await
    }

    /// Makes it anew in a cluster.
    pub async fn open_in(lab: &Lab, cluster: &str, keyspace: &str, rf: u32) -> Result<Self> {
        let cql = Cql::connect(lab, cluster).await?;
        cql.run_all(&[
            format!("DROP KEYSPACE IF EXISTS {keyspace}"),
            format!(
                "CREATE KEYSPACE {keyspace} WITH replication = \
                 {{'class': 'NetworkTopologyStrategy', 'dc1': {rf}}}"
            ),
            format!("CREATE TABLE {keyspace}.photos (id int PRIMARY KEY, image blob)"),
            format!(
                "CREATE TABLE {keyspace}.orders (customer int, nr int, state text, lines map<text, int>, \
                 PRIMARY KEY (customer, nr))"
            ),
            format!("CREATE TABLE {keyspace}.hits (page text PRIMARY KEY, seen counter)"),
        ])
        .await?;
        Ok(Self { keyspace: keyspace.to_owned(), lab: lab.clone(), cql })
    }

    /// The one that is there, over a new session.
    pub async fn attach(lab: &Lab, cluster: &str, keyspace: &str) -> Result<Self> {
        Ok(Self { keyspace: keyspace.to_owned(), lab: lab.clone(), cql: Cql::connect(lab, cluster).await? })
    }

    /// Its session.
    pub const fn cql(&self) -> &Cql {
        &self.cql
    }

    /// Writes photos and orders with the numbers from `first` on.
    pub async fn write(&self, first: i32, photos: i32, orders: i32) -> Result<()> {
        let keyspace = &self.keyspace;
        let driver = self.cql.driver();
        let photo = driver
            .prepare(format!("INSERT INTO {keyspace}.photos (id, image) VALUES (?, ?)"))
            .await
            .context("preparing")?;
        stream::iter(first..first + photos)
            .map(|id| {
                let mut image = vec![0; PHOTO];
                SmallRng::seed_from_u64(u64::from(id.unsigned_abs())).fill_bytes(&mut image);
                driver.execute_unpaged(&photo, (id, image))
            })
            .buffer_unordered(PARALLEL)
            .try_for_each(async |_| Ok(()))
            .await?;
        let order = driver
            .prepare(format!(
                "INSERT INTO {keyspace}.orders (customer, nr, state, lines) VALUES (?, ?, ?, {{'a': 1, 'b': 2}})"
            ))
            .await?;
        stream::iter(first..first + orders)
            .map(|nr| driver.execute_unpaged(&order, (nr % 50, nr, format!("state {}", nr % 7))))
            .buffer_unordered(PARALLEL)
            .try_for_each(async |_| Ok(()))
            .await?;
        let seen = first + 1;
        for page in 0..5 {
            self.cql
                .run(&format!("UPDATE {keyspace}.hits SET seen = seen + {seen} WHERE page = 'page {page}'"))
                .await?;
        }
        Ok(())
    }

    /// Takes it away at the end of a test, which leaves every invariant whole.
    pub async fn close(self) -> Result<()> {
        self.cql.run(&format!("DROP KEYSPACE {}", self.keyspace)).await?;
        invariants::hold(&self.lab, Moment::Busy).await
    }
}
