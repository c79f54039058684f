//! A method a route of the API.

use chrono::{DateTime, Utc};
use reqwest::Method;
use ringvault_core::{
    BackupName, ClusterName, HostId, PolicyName,
    api::{
        AuditAnchor, AuditEntry, BackupDetail, BackupSummary, CatalogCluster, CatalogRebuild, CatalogRebuilt,
        ClusterDetail, ClusterRebind, ClusterRebound, ClusterSummary, EvidenceItem, EvidenceKind,
        FleetStatus, HoldRelease, HoldSet, HoldView, JobAccepted, JobDetail, JobProgress, JobSummary,
        MAX_LIMIT, MedusaImport, MedusaImported, NextFires, NodeForgotten, NodeView, NoticeView,
        NotifierView, Page, PolicyDiff, PolicyView, PurgePreview, RateLimit, RowDigests, SchemaView,
        SessionView, SessionsEnded, SignInCheck, SignedIn, StorageReport, TokenCreate, TokenCreated,
        TokenView, TopologyView,
    },
    backup::BackupState,
    job::{JobKind, JobSpec, PurgeSpec},
    policy::PolicyDocument,
};
use serde::de::DeserializeOwned;

use super::{Ask, Client, Events};
use crate::failure::Outcome;

/// Which backups to list.
#[derive(Debug, Default)]
pub(crate) struct BackupFilter {
    pub(crate) cluster: Option<ClusterName>,
    pub(crate) name: Option<BackupName>,
    pub(crate) state: Option<BackupState>,
    /// At most so many; all when absent.
    pub(crate) limit: Option<u32>,
}

/// Which jobs to list.
#[derive(Debug, Default)]
pub(crate) struct JobFilter {
    pub(crate) cluster: Option<ClusterName>,
    pub(crate) kind: Option<JobKind>,
    /// States separated by commas; `open` is every state that is not final.
    pub(crate) state: Option<String>,
    /// At most so many; all when absent.
    pub(crate) limit: Option<u32>,
    /// Of a list that ended before: go on there.
    pub(crate) cursor: Option<String>,
}

/// Which evidence to list.
#[derive(Debug)]
pub(crate) struct EvidenceFilter {
    pub(crate) cluster: Option<ClusterName>,
    pub(crate) kind: Option<EvidenceKind>,
    /// At most so many.
    pub(crate) limit: u32,
    /// Of a list that ended before: go on there.
    pub(crate) cursor: Option<String>,
}

/// What a job can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum JobOrder {
    Cancel,
    Pause,
    Resume,
    Retry,
    Abandon,
}

impl JobOrder {
    /// The word in the route and in messages.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Abandon => "abandon",
        }
    }
}

impl Client {
    pub(crate) async fn status(&self) -> Outcome<FleetStatus> {
        self.ask(Ask::get(&["status"])).await
    }

    pub(crate) async fn clusters(&self) -> Outcome<Page<ClusterSummary>> {
        self.all(|| Ask::get(&["clusters"]), None).await
    }

    pub(crate) async fn cluster(&self, cluster: &ClusterName) -> Outcome<ClusterDetail> {
        self.ask(Ask::get(&["clusters", cluster.as_str()])).await
    }

    /// The ring now, or as it was known at `at`.
    pub(crate) async fn topology(
        &self,
        cluster: &ClusterName,
        at: Option<DateTime<Utc>>,
    ) -> Outcome<TopologyView> {
        let path = ["clusters", cluster.as_str(), "topology"];
        let at = at.map(|at| at.to_rfc3339());
        self.ask(Ask::get(&path).query("at", at)).await
    }

    pub(crate) async fn schema(&self, cluster: &ClusterName) -> Outcome<SchemaView> {
        self.ask(Ask::get(&["clusters", cluster.as_str(), "schema"])).await
    }

    pub(crate) async fn nodes(&self, cluster: &ClusterName) -> Outcome<Page<NodeView>> {
        let path = ["clusters", cluster.as_str(), "nodes"];
        self.all(|| Ask::get(&path), None).await
    }

    pub(crate) async fn policies(&self) -> Outcome<Page<PolicyView>> {
        self.all(|| Ask::get(&["policies"]), None).await
    }

    pub(crate) async fn policy(&self, policy: &PolicyName) -> Outcome<PolicyView> {
        self.ask(Ask::get(&["policies", policy.as_str()])).await
    }

    /// Applies a file whole; with `prune`, policies that are not in it go.
    pub(crate) async fn apply_policies(
        &self,
        document: &PolicyDocument,
        prune: bool,
        dry_run: bool,
    ) -> Outcome<PolicyDiff> {
        let ask = Ask::new(Method::PUT, &["policies"])
            .query("prune", prune.then_some(1))
            .query("dry_run", dry_run.then_some(1))
            .body(document)?;
        self.ask(ask).await
    }

    pub(crate) async fn delete_policy(&self, policy: &PolicyName) -> Outcome<()> {
        let path = ["policies", policy.as_str()];
        self.tell(Ask::new(Method::DELETE, &path)).await
    }

    /// Lets a policy fire, or not.
    pub(crate) async fn pause_policy(&self, policy: &PolicyName, pause: bool) -> Outcome<PolicyView> {
        let word = if pause { "pause" } else { "resume" };
        let path = ["policies", policy.as_str(), word];
        self.ask(Ask::new(Method::POST, &path)).await
    }

    pub(crate) async fn next_fires(&self, policy: &PolicyName, count: u32) -> Outcome<NextFires> {
        let path = ["policies", policy.as_str(), "next"];
        self.ask(Ask::get(&path).query("count", Some(count))).await
    }

    pub(crate) async fn backups(&self, filter: &BackupFilter) -> Outcome<Page<BackupSummary>> {
        let ask = || {
            Ask::get(&["backups"])
                .query("cluster", filter.cluster.as_ref())
                .query("name", filter.name.as_ref())
                .query("state", filter.state.map(BackupState::as_str))
        };
        self.all(ask, filter.limit).await
    }

    pub(crate) async fn backup(&self, cluster: &ClusterName, backup: &BackupName) -> Outcome<BackupDetail> {
        let path = ["clusters", cluster.as_str(), "backups", backup.as_str()];
        self.ask(Ask::get(&path)).await
    }

    /// Creates the job that `spec` asks for, or finds the one this key created before.
    pub(crate) async fn create_job(&self, spec: &JobSpec, key: &str) -> Outcome<JobAccepted> {
        let ask = match spec {
            JobSpec::Backup(spec) => Ask::new(Method::POST, &["backups"]).body(spec),
            JobSpec::Verify(spec) => Ask::new(Method::POST, &["verifications"]).body(spec),
            JobSpec::Restore(spec) => Ask::new(Method::POST, &["restores"]).body(spec),
            JobSpec::Purge(spec) => Ask::new(Method::POST, &["purges"]).body(spec),
            JobSpec::Drill(spec) => Ask::new(Method::POST, &["drills"]).body(spec),
            JobSpec::Digest(_) => Ask::new(Method::POST, &["jobs"]).body(spec),
        };
        self.ask(ask?.key(key)).await
    }

    /// As [`Self::create_job`], but nothing is created: what would be refused is.
    pub(crate) async fn dry_create_job(&self, spec: &JobSpec) -> Outcome<JobAccepted> {
        self.ask(Ask::new(Method::POST, &["jobs"]).query("dry_run", Some(1)).body(spec)?).await
    }

    /// Whether this very request has been accepted before.
    pub(crate) async fn came_before(&self, spec: &JobSpec, key: &str) -> Outcome<bool> {
        let ask = Ask::new(Method::POST, &["jobs"]).query("dry_run", Some(1)).body(spec)?.key(key);
        Ok(self.ask::<JobAccepted>(ask).await?.existing)
    }

    pub(crate) async fn preview_purge(&self, spec: &PurgeSpec) -> Outcome<PurgePreview> {
        let ask = Ask::new(Method::POST, &["purges", "preview"]).body(spec)?;
        self.ask(ask).await
    }

    pub(crate) async fn jobs(&self, filter: &JobFilter) -> Outcome<Page<JobSummary>> {
        let ask = || {
            Ask::get(&["jobs"])
                .query("cluster", filter.cluster.as_ref())
                .query("kind", filter.kind.map(JobKind::as_str))
                .query("state", filter.state.as_ref())
        };
        self.all_from(ask, filter.limit, filter.cursor.clone()).await
    }

    /// A job by its id, which may be shortened while it is unique.
    pub(crate) async fn job(&self, id: &str) -> Outcome<JobDetail> {
        self.ask(Ask::get(&["jobs", id])).await
    }

    pub(crate) async fn job_progress(&self, id: &str) -> Outcome<JobProgress> {
        self.ask(Ask::get(&["jobs", id, "progress"])).await
    }

    /// The stream of a job's progress.
    pub(crate) async fn job_events(&self, id: &str) -> Outcome<Events> {
        let path = ["jobs", id, "events"];
        let mut ask = Ask::get(&path);
        ask.accept = "text/event-stream";
        let sent = self.request(&ask).send().await;
        let response = sent.map_err(|error| self.lost(error))?;
        Ok(Events::new(self.accept(response).await?.bytes_stream()))
    }

    /// What a digest job has made of the rows that it read.
    pub(crate) async fn row_digests(&self, id: &str) -> Outcome<RowDigests> {
        self.ask(Ask::get(&["jobs", id, "rows"])).await
    }

    /// With `dry_run` nothing is changed, and what would be refused is.
    pub(crate) async fn order_job(&self, id: &str, order: JobOrder, dry_run: bool) -> Outcome<JobSummary> {
        let path = ["jobs", id, order.as_str()];
        self.ask(Ask::new(Method::POST, &path).query("dry_run", dry_run.then_some(1))).await
    }

    /// Sets how fast each of a job's nodes may go from now on.
    pub(crate) async fn limit_job(&self, id: &str, limit: &RateLimit) -> Outcome<JobSummary> {
        self.ask(Ask::new(Method::POST, &["jobs", id, "rate-limit"]).body(limit)?).await
    }

    /// Frees a cluster's id.
    pub(crate) async fn rebind_cluster(
        &self,
        cluster: &ClusterName,
        rebind: &ClusterRebind,
    ) -> Outcome<ClusterRebound> {
        let path = ["clusters", cluster.as_str(), "rebind"];
        self.ask(Ask::new(Method::POST, &path).body(rebind)?).await
    }

    /// Gives a node up.
    pub(crate) async fn forget_node(
        &self,
        cluster: &ClusterName,
        node: HostId,
        dry_run: bool,
    ) -> Outcome<NodeForgotten> {
        let node = node.to_string();
        let path = ["clusters", cluster.as_str(), "nodes", &node, "forget"];
        self.ask(Ask::new(Method::POST, &path).query("dry_run", dry_run.then_some(1))).await
    }

    /// The clusters in the scheduler's vault.
    pub(crate) async fn catalog_clusters(&self) -> Outcome<Page<CatalogCluster>> {
        self.ask(Ask::get(&["catalog", "clusters"])).await
    }

    /// One page of a rebuild.
    pub(crate) async fn rebuild_catalog(&self, ask: &CatalogRebuild) -> Outcome<CatalogRebuilt> {
        self.ask(Ask::new(Method::POST, &["catalog", "rebuild"]).body(ask)?).await
    }

    /// One page of an import from Medusa.
    pub(crate) async fn import_medusa(&self, ask: &MedusaImport) -> Outcome<MedusaImported> {
        self.ask(Ask::new(Method::POST, &["catalog", "import-medusa"]).body(ask)?).await
    }

    pub(crate) async fn holds(&self, cluster: Option<&ClusterName>) -> Outcome<Page<HoldView>> {
        let ask = || Ask::get(&["holds"]).query("cluster", cluster);
        self.all(ask, None).await
    }

    pub(crate) async fn set_hold(&self, hold: &HoldSet) -> Outcome<HoldView> {
        self.ask(Ask::new(Method::POST, &["holds"]).body(hold)?).await
    }

    pub(crate) async fn release_hold(&self, release: &HoldRelease) -> Outcome<()> {
        self.tell(Ask::new(Method::DELETE, &["holds"]).body(release)?).await
    }

    pub(crate) async fn audit(
        &self,
        cluster: Option<&ClusterName>,
        actor: Option<&str>,
        action: Option<&str>,
        limit: u32,
    ) -> Outcome<Page<AuditEntry>> {
        let ask = || {
            let ask = Ask::get(&["audit"]).query("cluster", cluster);
            ask.query("actor", actor).query("action", action)
        };
        self.all(ask, Some(limit)).await
    }

    /// A page of the whole log in its order.
    pub(crate) async fn audit_chain(&self, cursor: Option<String>) -> Outcome<Page<AuditEntry>> {
        let ask = Ask::get(&["audit", "chain"]).query("limit", Some(MAX_LIMIT));
        self.ask(ask.query("cursor", cursor)).await
    }

    pub(crate) async fn audit_anchors(&self) -> Outcome<Page<AuditAnchor>> {
        self.all(|| Ask::get(&["audit", "anchors"]), None).await
    }

    /// What each cluster's backups take in the store.
    pub(crate) async fn storage(&self) -> Outcome<StorageReport> {
        self.ask(Ask::get(&["storage"])).await
    }

    /// What was tested, held, changed.
    pub(crate) async fn evidence(&self, filter: &EvidenceFilter) -> Outcome<Page<EvidenceItem>> {
        let ask = || {
            Ask::get(&["evidence"])
                .query("cluster", filter.cluster.as_ref())
                .query("kind", filter.kind.map(EvidenceKind::as_str))
        };
        self.all_from(ask, Some(filter.limit), filter.cursor.clone()).await
    }

    pub(crate) async fn tokens(&self) -> Outcome<Page<TokenView>> {
        self.all(|| Ask::get(&["tokens"]), None).await
    }

    pub(crate) async fn notifiers(&self) -> Outcome<Page<NotifierView>> {
        self.all(|| Ask::get(&["notifiers"]), None).await
    }

    pub(crate) async fn test_notifier(&self, name: &str) -> Outcome<NoticeView> {
        self.ask(Ask::new(Method::POST, &["notifiers", name, "test"])).await
    }

    /// By its delivery id.
    pub(crate) async fn notice(&self, id: &str) -> Outcome<NoticeView> {
        self.ask(Ask::get(&["notices", id])).await
    }

    /// Who asks: a token, or a person by a token of the identity provider's.
    pub(crate) async fn session(&self) -> Outcome<SessionView> {
        self.ask(Ask::get(&["session"])).await
    }

    pub(crate) async fn check_sign_in(&self) -> Outcome<SignInCheck> {
        self.ask(Ask::get(&["sign-in", "check"])).await
    }

    pub(crate) async fn sessions(&self) -> Outcome<Page<SignedIn>> {
        self.all(|| Ask::get(&["sessions"]), None).await
    }

    /// By a session's id, or the name of who is signed in.
    pub(crate) async fn end_sessions(&self, session: &str) -> Outcome<SessionsEnded> {
        let path = ["sessions", session];
        self.ask(Ask::new(Method::DELETE, &path)).await
    }

    pub(crate) async fn create_token(&self, token: &TokenCreate) -> Outcome<TokenCreated> {
        self.ask(Ask::new(Method::POST, &["tokens"]).body(token)?).await
    }

    /// By its id or its name.
    pub(crate) async fn revoke_token(&self, token: &str) -> Outcome<TokenView> {
        let path = ["tokens", token];
        self.ask(Ask::new(Method::DELETE, &path)).await
    }

    /// A whole list, page by page, or its first `limit` items.
    async fn all<'a, T: DeserializeOwned>(
        &self,
        ask: impl Fn() -> Ask<'a>,
        limit: Option<u32>,
    ) -> Outcome<Page<T>> {
        self.all_from(ask, limit, None).await
    }

    /// The same from a cursor on.
    async fn all_from<'a, T: DeserializeOwned>(
        &self,
        ask: impl Fn() -> Ask<'a>,
        limit: Option<u32>,
        mut cursor: Option<String>,
    ) -> Outcome<Page<T>> {
        let limit = limit.map_or(usize::MAX, |limit| limit as usize);
        let mut items = Vec::new();
        loop {
            let wanted = (limit - items.len()).min(MAX_LIMIT as usize);
            let page_ask = ask().query("limit", Some(wanted)).query("cursor", cursor.take());
            let page: Page<T> = self.ask(page_ask).await?;
            items.extend(page.items);
            items.truncate(limit);
            cursor = page.next_cursor;
            if cursor.is_none() || items.len() == limit {
                return Ok(Page::new(page.as_of, items, cursor));
            }
        }
    }
}
