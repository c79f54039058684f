//! The ground that faults are tried on: a keyspace of one cluster, and each kind of job run on it
//! once and looked at.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use ringvault_core::{
    JobId,
    api::{BackupDetail, Document, JobAccepted},
};
use sqlx::{PgConnection, Row as _};

use super::{Points, Supervisor};
use crate::{
    Content, Lab, Ringvault, invariants,
    invariants::Moment,
    ringvault::{exit, fresh},
    shop::Shop,
    wait::until,
};

/// How long a job may take with a fault in it.
const PATIENCE: Duration = Duration::from_mins(4);
/// How long a request may be refused while a scheduler comes back.
const COMING_BACK: Duration = Duration::from_mins(1);

/// A view that a test may make after the backup: a restore keeps it, and the comparison leaves it out.
pub const LATE_VIEW: &str = "late_view";

/// A kind of job, as it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A backup of the keyspace, with something new in it.
    Backup,
    /// A verify of the newest, byte by byte.
    Verify,
    /// A restore of the newest over what is there.
    Restore,
    /// The same by streams.
    Stream,
    /// A drill of the newest, beside what is there.
    Drill,
    /// A digest of every row.
    Digest,
    /// A purge of one.
    Purge,
}

impl Kind {
    /// All of them, in the order in which they can follow each other.
    pub const ALL: [Self; 7] =
        [Self::Backup, Self::Verify, Self::Restore, Self::Stream, Self::Drill, Self::Digest, Self::Purge];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Restore => "restore",
            Self::Stream => "stream",
            Self::Drill => "drill",
            Self::Digest => "digest",
            Self::Purge => "purge",
        }
    }
}

/// A cluster with a keyspace, and what was backed up of it.
pub struct Ground {
    lab: Lab,
    cluster: String,
    /// Failpoints of the lab.
    pub points: Points,
    supervisor: Supervisor,
    rv: Ringvault,
    shop: Shop,
    db: PgConnection,
    written: i32,
    /// The newest backup, and what was in the keyspace.
    newest: Option<(String, Content)>,
    /// Backups before it, that a purge may take.
    older: Vec<String>,
}

impl Ground {
    /// Makes the keyspace and takes a first backup of it.
    pub async fn prepare(lab: &Lab, cluster: &str, keyspace: &str, rf: u32) -> Result<Self> {
        let shop = Shop::open_in(lab, cluster, keyspace, rf).await?;
        // A view, so that a restore drops and makes one.
        shop.cql()
            .run(&format!(
                "CREATE MATERIALIZED VIEW {keyspace}.by_state AS SELECT * FROM {keyspace}.orders WHERE state IS \
                 NOT NULL AND customer IS NOT NULL AND nr IS NOT NULL PRIMARY KEY (state, customer, nr)"
            ))
            .await?;
        shop.write(0, 20, 100).await?;
        let mut ground = Self {
            lab: lab.clone(),
            cluster: cluster.to_owned(),
            points: Points::of(lab)?,
            supervisor: Supervisor::over(lab),
            rv: Ringvault::of(lab).await?,
            shop,
            db: invariants::connect(lab).await?,
            written: 1000,
            newest: None,
            older: Vec::new(),
        };
        ground.run(Kind::Backup).await?;
        Ok(ground)
    }

    /// The keyspace.
    pub const fn shop(&self) -> &Shop {
        &self.shop
    }

    /// Programs that were started again so far.
    pub fn restarts(&self) -> u32 {
        self.supervisor.restarts()
    }

    /// Runs one job to its end, which must be success, and looks at what it did.
    pub async fn run(&mut self, kind: Kind) -> Result<()> {
        let outcome = match kind {
            Kind::Backup => self.backup().await,
            Kind::Verify => self.verify().await,
            Kind::Restore => self.restore("auto").await,
            Kind::Stream => self.restore("stream").await,
            Kind::Drill => self.drill().await,
            Kind::Digest => self.digest().await,
            Kind::Purge => self.purge().await,
        };
        outcome.with_context(|| {
            let failure = self.supervisor.failure().unwrap_or_default();
            format!("{}{failure}", kind.as_str())
        })
    }

    async fn backup(&mut self) -> Result<()> {
        self.shop.write(self.written, 2, 10).await?;
        self.written += 10;
        let content = Content::read(self.shop.cql(), &self.shop.keyspace).await?;
        let (name, keyspace) = (fresh("fault"), self.shop.keyspace.clone());
        let create =
            ["backup", "create", "-c", &self.cluster.clone(), "--name", &name, "--keyspace", &keyspace];
        let create = [&create[..], &["--keyspace", "system_auth"]].concat();
        self.job(&create, "ok").await?;
        let state = self.state_of(&name).await?;
        ensure!(state == "complete", "{name} is {state}");
        if let Some((before, _)) = self.newest.replace((name, content)) {
            self.older.push(before);
        }
        Ok(())
    }

    async fn verify(&mut self) -> Result<()> {
        let (name, _) = self.newest.clone().context("a backup to verify")?;
        self.job(&["verify", "run", &name, "-c", &self.cluster.clone(), "--level", "digest"], "ok").await
    }

    async fn restore(&mut self, method: &str) -> Result<()> {
        let (name, content) = self.newest.clone().context("a backup to restore")?;
        let (cluster, keyspace) = (self.cluster.clone(), self.shop.keyspace.clone());
        // What came after the backup must be gone afterwards.
        self.shop.write(900_000, 1, 1).await?;
        let run =
            ["restore", "run", "--from", &name, "--to", &cluster, "--keyspace", &keyspace, "--truncate"];
        let options = ["--confirm", &cluster, "--with-auth", "--method", method];
        self.job(&[&run[..], &options].concat(), "ok").await?;
        Content::read(self.shop.cql(), &keyspace).await?.without(&[LATE_VIEW]).must_equal(&content)
    }

    async fn drill(&mut self) -> Result<()> {
        let (name, _) = self.newest.clone().context("a backup to try")?;
        let (cluster, keyspace) = (self.cluster.clone(), self.shop.keyspace.clone());
        let before = Content::read(self.shop.cql(), &keyspace).await?;
        let run = ["drill", "run", "--from", &name, "-c", &cluster, "--keyspace", &keyspace];
        self.job(&run, "ok").await?;
        until("cluster without a keyspace of the drill", Duration::from_secs(30), async || {
            Ok(self.shop.cql().keyspaces("ringvault_").await?.is_empty().then_some(()))
        })
        .await?;
        Content::read(self.shop.cql(), &keyspace).await?.must_equal(&before)
    }

    async fn digest(&mut self) -> Result<()> {
        let (cluster, keyspace) = (self.cluster.clone(), self.shop.keyspace.clone());
        self.job(&["rows", "digest", "-c", &cluster, "--keyspace", &keyspace], "ok").await
    }

    async fn purge(&mut self) -> Result<()> {
        self.make_ready_for(Kind::Purge).await?;
        let name = self.older.pop().context("a backup to take away")?;
        let delete = ["backup", "delete", &name, "-c", &self.cluster.clone(), "--confirm", &name];
        self.job(&delete, "ok").await?;
        let state = self.state_of(&name).await?;
        ensure!(state == "expired", "{name} is {state}");
        Ok(())
    }

    /// Of a backup, from the scheduler, which may be on its way back: it does other things than the job too.
    async fn state_of(&self, backup: &str) -> Result<String> {
        until("scheduler that answers", COMING_BACK, async || {
            let answer = self.rv.run(&["backup", "show", backup, "-c", &self.cluster, "--json"]).await?;
            if answer.code == exit::UNREACHABLE {
                return Ok(None);
            }
            let shown: Document<BackupDetail> = answer.expect(exit::OK)?.json()?;
            Ok(Some(shown.body.summary.state.as_str().to_owned()))
        })
        .await
    }

    /// Starts a job, again and again under one key while the scheduler is away, and waits for its end.
    async fn job(&mut self, arguments: &[&str], expected: &str) -> Result<()> {
        let key = fresh("key");
        let arguments = [arguments, &["--idempotency-key", &key, "--json"]].concat();
        let accepted = until("accepted job", COMING_BACK, async || {
            let answer = self.rv.run(&arguments).await?;
            match answer.code {
                exit::OK => Ok(Some(answer.json::<Document<JobAccepted>>()?.body)),
                // Away, or its database is: nothing is known of what became of the request.
                exit::UNREACHABLE | exit::FAILED => Ok(None),
                _ => bail!("`{}` ended with {}: {}", answer.command, answer.code, answer.stderr),
            }
        })
        .await?;
        self.ends(accepted.job, expected).await
    }

    async fn ends(&mut self, job: JobId, expected: &str) -> Result<()> {
        let db = &mut self.db;
        let ended = until("end of the job", PATIENCE, async || {
            let row = sqlx::query("select state, outcome, error::text from jobs where id = $1")
                .bind(job.0)
                .fetch_one(&mut *db)
                .await?;
            let state: String = row.get(0);
            let over = matches!(state.as_str(), "succeeded" | "failed" | "cancelled" | "abandoned");
            Ok(over.then(|| (state, row.get::<Option<String>, _>(1), row.get::<Option<String>, _>(2))))
        })
        .await;
        let (state, outcome, error) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let shown = self.rv.run(&["job", "show", &job.to_string()]).await?;
                bail!("job {job}: {error}\n{}", shown.stdout)
            }
        };
        ensure!(
            state == "succeeded" && outcome.as_deref() == Some(expected),
            "job {job} is {state} {outcome:?}: {}",
            error.unwrap_or_default()
        );
        Ok(())
    }

    /// The points among `every` that a job of this kind passes: of those that do nothing, the ones that are hit.
    pub async fn passed(&mut self, kind: Kind, every: &[String]) -> Result<BTreeSet<String>> {
        self.make_ready_for(kind).await?;
        self.points.disarm()?;
        for point in every {
            self.points.arm(point, "sleep 0")?;
        }
        self.run(kind).await?;
        self.points.hit()
    }

    /// A purge needs a backup that it may take: one that was made before it passes points of its own.
    async fn make_ready_for(&mut self, kind: Kind) -> Result<()> {
        if kind == Kind::Purge && self.older.is_empty() {
            self.backup().await?;
        }
        Ok(())
    }

    /// Runs a job with one point told to do something. Whether the point was reached.
    pub async fn run_with(&mut self, kind: Kind, point: &str, action: &str) -> Result<bool> {
        self.make_ready_for(kind).await?;
        self.points.disarm()?;
        self.points.arm(point, action)?;
        self.run(kind).await.with_context(|| format!("{action} at {point}"))?;
        let reached = self.points.hit()?.contains(point);
        self.points.disarm()?;
        Ok(reached)
    }

    /// Fails unless every invariant holds and nothing is left behind, now or in a little while.
    pub async fn is_sound(&self) -> Result<()> {
        let mut last = Vec::new();
        let sound = until("soundness", Duration::from_secs(20), async || {
            last = invariants::violations(&self.lab, Moment::Settled).await?;
            Ok(last.is_empty().then_some(()))
        })
        .await;
        if sound.is_err() {
            let lines: Vec<String> = last.iter().map(ToString::to_string).collect();
            bail!("invariants do not hold:\n{}", lines.join("\n"));
        }
        Ok(())
    }

    /// Takes the keyspace away.
    pub async fn close(self) -> Result<()> {
        self.points.disarm()?;
        self.shop.close().await
    }
}
