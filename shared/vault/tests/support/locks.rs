//! What a vault with locks must do on every S3 server that has them.

#![allow(dead_code, unreachable_pub)] // a module of several test binaries

use std::{path::Path, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use ringvault_core::job::VerifyLevel::Digest;
use ringvault_vault::{
    Store, StoreErrorKind, Vault, VaultConfig, VaultError,
    backup::SealPlace,
    config::{LockConfig, LockMode},
    purge::MarkOutcome,
};
use tempfile::TempDir;
use url::Url;
use uuid::Uuid;

use crate::{
    support::content,
    world::{World, name},
};

/// A server, its buckets and how it refuses.
pub struct Rig {
    /// A vault's settings for some bucket of the server, without a lock.
    pub config: VaultConfig,
    pub client: Client,
    /// The status of a refusal to delete what is locked.
    pub refusal: u16,
    bucket: String,
}

fn read(file: Option<&Path>) -> String {
    std::fs::read_to_string(file.unwrap()).unwrap()
}

impl Rig {
    /// Of the server that `config` names; makes a bucket of its own that locks.
    pub async fn new(config: VaultConfig, refusal: u16) -> Self {
        let trust = match &config.ca_file {
            Some(file) => TrustStore::empty().with_pem_certificate(std::fs::read(file).unwrap()),
            None => TrustStore::default(),
        };
        let tls = TlsContext::builder().with_trust_store(trust).build().unwrap();
        let http =
            Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls).build_https();
        let (access, secret) =
            (read(config.access_key_file.as_deref()), read(config.secret_key_file.as_deref()));
        let settings = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(config.endpoint.as_ref().unwrap().as_str())
            .region(Region::new("us-east-1"))
            .force_path_style(true)
            .http_client(http)
            .credentials_provider(Credentials::new(access, secret, None, None, "tests"))
            .build();
        let client = Client::from_conf(settings);
        let bucket = format!("locks-{}", Uuid::new_v4());
        let made = client.create_bucket().bucket(&bucket).object_lock_enabled_for_bucket(true).send().await;
        made.unwrap();
        Self { config, client, refusal, bucket }
    }

    /// A vault of its own in the bucket that locks.
    pub fn settings(&self, lock: Option<LockConfig>) -> VaultConfig {
        let url = Url::parse(&format!("s3://{}/{}", self.bucket, Uuid::new_v4())).unwrap();
        VaultConfig { url, lock, deployment: Some("tests".to_owned()), ..self.config.clone() }
    }

    fn full(settings: &VaultConfig, key: &str) -> String {
        format!("{}/{key}", settings.url.path().trim_matches('/'))
    }

    /// Ids of every version and marker of a key, the newest first.
    async fn versions(&self, settings: &VaultConfig, key: &str) -> Vec<String> {
        let key = Self::full(settings, key);
        let found =
            self.client.list_object_versions().bucket(&self.bucket).prefix(&key).send().await.unwrap();
        let versions = found.versions().iter().filter_map(|v| v.version_id().map(str::to_owned));
        versions
            .chain(found.delete_markers().iter().filter_map(|m| m.version_id().map(str::to_owned)))
            .collect()
    }

    /// Tries to delete the very version, as a thief with every right but that to bypass would.
    async fn steal(&self, settings: &VaultConfig, key: &str, version: &str) -> Option<u16> {
        let request = self.client.delete_object().bucket(&self.bucket).key(Self::full(settings, key));
        let sent = request.version_id(version).send().await;
        sent.err().map(|error| error.raw_response().unwrap().status().as_u16())
    }
}

pub fn lock(mode: LockMode, period: u64, ahead: u64) -> LockConfig {
    let (period, ahead) = (Duration::from_secs(period), Some(Duration::from_secs(ahead)));
    LockConfig { mode, period, ahead }
}

async fn world(settings: &VaultConfig) -> World {
    let mut world = World::new(settings, tempfile::tempdir().unwrap(), 2).await;
    (world.epoch, world.step) = (Utc::now().trunc_subsecs(0), TimeDelta::milliseconds(1));
    world
}

/// The same vault with other settings.
async fn reopen(world: &mut World, settings: &VaultConfig) {
    world.vault = Vault::open(settings).await.unwrap().with_scratch(world.lab.local.path());
    world.lab.store = world.vault.store().clone();
}

async fn until(at: DateTime<Utc>) {
    while Utc::now() <= at {
        tokio::time::sleep((at - Utc::now()).to_std().unwrap_or_default() + Duration::from_millis(50)).await;
    }
}

/// Nobody deletes what a backup needs, whatever he may do.
pub async fn nothing_can_be_deleted(rig: &Rig) {
    for mode in [LockMode::Governance, LockMode::Compliance] {
        let settings = rig.settings(Some(lock(mode, 3_600, 1_800)));
        let mut world = world(&settings).await;
        let sealed = world.backup("b1").await;
        let until = sealed.lock.unwrap().until;
        assert_eq!(until, world.start("b1", sealed.start.mode).started_at + TimeDelta::hours(1));
        let folder = format!("clusters/{}/backups/b1/", world.cluster);
        let keys = world.keys(&folder).await;
        assert!(keys.len() > 8, "start, seal, manifests, index, schema and data: {keys:?}");
        for key in keys.iter().map(String::as_str).chain(["vault.json"]) {
            assert!(world.lab.store.locked_until(key).await.unwrap().unwrap() >= until, "{key}");
            for version in rig.versions(&settings, key).await {
                assert_eq!(rig.steal(&settings, key, &version).await, Some(rig.refusal), "{mode:?}: {key}");
            }
        }
        // Ours are refused the same way, and told apart from a missing right.
        let failures = world.lab.store.delete_many(&keys).await.unwrap();
        assert_eq!(failures.len(), keys.len());
        assert!(failures.iter().all(|failure| failure.error.kind == StoreErrorKind::Locked), "{failures:?}");
        let refused = world.vault.mark(&world.mark_task("p1", &["b1"], &[])).await.unwrap_err();
        assert!(
            matches!(&refused, VaultError::BackupLocked { backup, .. } if *backup == name("b1")),
            "{refused}"
        );
        assert_eq!(world.keys(&format!("clusters/{}/purges/", world.cluster)).await, [""; 0]);
        world.assert_whole("b1").await;
    }
}

/// A later backup makes locks longer that are too short for it, and no others.
pub async fn reuse_makes_locks_longer(rig: &Rig) {
    let mut settings = rig.settings(None);
    let mut world = world(&settings).await;
    world.backup("unlocked").await;
    let objects = world.data_of("unlocked").await;
    let locks = async |world: &World| {
        let mut found = Vec::new();
        for key in &objects {
            found.push(world.lab.store.locked_until(key).await.unwrap());
        }
        found
    };
    assert!(locks(&world).await.iter().all(Option::is_none));

    settings.lock = Some(lock(LockMode::Compliance, 3_600, 1_800));
    reopen(&mut world, &settings).await;
    let first = world.backup("first").await;
    assert_eq!(first.figures.bytes_new, 0);
    let first = first.lock.unwrap();
    let set = locks(&world).await;
    assert!(set.iter().all(|until| until.unwrap() >= first.until), "{set:?}");
    assert!(first.folders[&name("unlocked")] >= first.until + TimeDelta::minutes(20), "longer than needed");

    let second = world.backup("second").await.lock.unwrap();
    assert_eq!(locks(&world).await, set, "they last long enough for this one too");
    assert_eq!(second.folders[&name("unlocked")], first.folders[&name("unlocked")]);

    settings.lock = Some(lock(LockMode::Compliance, 7_200, 1_800));
    reopen(&mut world, &settings).await;
    world.nodes[0].rewrite("ks", "t", "0", "Data.db", &content("compacted", 30_000));
    let third = world.backup("third").await.lock.unwrap();
    let named: Vec<_> = locks(&world).await.into_iter().filter(|lock| lock.unwrap() >= third.until).collect();
    assert_eq!(named.len(), objects.len() - 1, "what it does not name any more is left to itself");
    assert!(third.folders[&name("third")] >= third.until && third.folders[&name("unlocked")] >= third.until);
    let own = world.data_of("third").await;
    assert!(world.lab.store.locked_until(&own[0]).await.unwrap().unwrap() >= third.until);

    // A governance lock stays one where a vault goes over to compliance, and is made longer all the same.
    let mut governed = rig.settings(Some(lock(LockMode::Governance, 60, 30)));
    let mut world = self::world(&governed).await;
    world.backup("b1").await;
    governed.lock = Some(lock(LockMode::Compliance, 3_600, 1_800));
    reopen(&mut world, &governed).await;
    let sealed = world.backup("b2").await.lock.unwrap();
    for key in world.data_of("b1").await {
        assert!(world.lab.store.locked_until(&key).await.unwrap().unwrap() >= sealed.until);
    }
}

/// A backup that asks for more than every backup gets is locked for so long, whole, and whether its nodes put it so
/// or not; one that asks for less gets what every backup gets.
pub async fn a_backup_may_be_locked_for_longer(rig: &Rig) {
    let settings = rig.settings(Some(lock(LockMode::Compliance, 3_600, 1_800)));
    let mut world = world(&settings).await;
    let every = world.backup("every").await.lock.unwrap();
    let soon = world.lab.store.locked_until(&world.data_of("every").await[0]).await.unwrap().unwrap();
    assert!(soon < every.until + TimeDelta::hours(1));
    for (backup, nodes_know) in [("told", true), ("untold", false)] {
        (world.lock_seconds, world.nodes_know) = (Some(3 * 3_600), nodes_know);
        world.nodes[0].rewrite("ks", "t", "0", "Data.db", &content(backup, 30_000));
        let sealed = world.backup(backup).await;
        let until = sealed.lock.as_ref().unwrap().until;
        assert_eq!(until, sealed.start.started_at + TimeDelta::hours(3));
        let own = world.keys(&format!("clusters/{}/backups/{backup}/", world.cluster)).await;
        assert!(own.len() > 5, "start, seal, manifests, index, schema and data: {own:?}");
        let reused = world.data_of("every").await;
        let locked = async |key: &str| world.lab.store.locked_until(key).await.unwrap().unwrap() >= until;
        for key in own.iter().map(String::as_str).chain(["vault.json"]) {
            assert!(locked(key).await, "{backup}: {key}");
            let version = rig.versions(&settings, key).await.remove(0);
            assert_eq!(rig.steal(&settings, key, &version).await, Some(rig.refusal), "{backup}: {key}");
        }
        let mut longer = 0;
        for key in &reused {
            longer += usize::from(locked(key).await);
        }
        assert_eq!(longer, reused.len() - 1, "what it does not name any more is left to itself");
    }
    world.lock_seconds = Some(60);
    let less = world.backup("less").await;
    assert_eq!(less.lock.unwrap().until, less.start.started_at + TimeDelta::hours(1));
}

/// What a purge takes and is still locked stays, is told of, and goes with the next.
pub async fn a_purge_leaves_what_is_locked(rig: &Rig) {
    let settings = rig.settings(Some(lock(LockMode::Compliance, 5, 25)));
    let mut world = world(&settings).await;
    world.backup("b1").await;
    world.nodes[0].rewrite("ks", "t", "0", "Data.db", &content("compacted", 30_000));
    let last = world.backup("b2").await;
    until(last.lock.unwrap().until).await;

    let marked = world.condemn("p1", &["b1"], &[]).await;
    assert_eq!(marked.objects, 1);
    world.sweep(marked.purge, 0, 1).await.unwrap();
    let report = world.finish(marked.purge).await;
    let locked = report.locked.unwrap();
    assert_eq!((locked.objects, report.objects, report.bytes), (1, 0, 0), "{locked:?}");
    assert!(locked.bytes > 0 && locked.until > Utc::now(), "{locked:?}");
    assert_eq!(world.data_of("b1").await.len(), 4, "all of it is still there");
    assert!(matches!(world.vault.seal_place(&world.cluster, &name("b1")).await.unwrap(),
        SealPlace::Tombstone(stone) if stone.records_left));
    world.assert_whole("b2").await;
    // As long as nothing of it can go, the next purge has nothing to do and says so.
    assert_eq!(world.vault.still_waiting(&world.cluster).await.unwrap(), Some(locked));
    assert_eq!(world.condemn("p2", &[], &[]).await.purge, 0);

    until(locked.until).await;
    let MarkOutcome::Condemned(marked) = world.mark("p3", &[], &[]).await else { panic!("nobody runs") };
    let gone = world.data_of("b1").await;
    world.sweep(marked.purge, 0, 1).await.unwrap();
    let report = world.finish(marked.purge).await;
    assert_eq!((report.objects, report.locked), (1, None));
    let left = world.data_of("b1").await;
    let gone: Vec<_> = gone.iter().filter(|key| !left.contains(key)).collect();
    assert_eq!(gone.len(), 1);
    assert_eq!(rig.versions(&settings, gone[0]).await, [""; 0], "every version of it");
    for part in ["nodes", "index", "schema"] {
        let folder = format!("clusters/{}/backups/b1/{part}/", world.cluster);
        assert_eq!(world.keys(&folder).await, [""; 0]);
    }
    world.assert_whole("b2").await;
    assert_eq!(world.condemn("p4", &[], &[]).await.purge, 0, "nothing is left to do");
}

/// What a thief with the workers' credentials puts over a backup is undone.
pub async fn what_was_put_over_comes_back(rig: &Rig, local: TempDir) {
    let settings = rig.settings(Some(lock(LockMode::Compliance, 3_600, 1_800)));
    let mut world = world(&settings).await;
    world.backup("b1").await;
    let before = Utc::now().trunc_subsecs(0) + TimeDelta::seconds(1);
    until(before + TimeDelta::seconds(1)).await;

    let objects = world.data_of("b1").await;
    let seal = format!("clusters/{}/backups/b1/backup.json", world.cluster);
    let intent = format!("clusters/{}/purges/00000001.json", world.cluster);
    let thief = Store::open(&VaultConfig { lock: None, ..settings.clone() }).await.unwrap();
    thief.put(&objects[0], Bytes::from_static(b"pay us")).await.unwrap();
    thief.delete_many(&[objects[1].clone(), "vault.json".to_owned()]).await.unwrap();
    let forged = serde_json::json!({"version": 1, "cluster": world.cluster, "purge": 1,
        "job": Uuid::new_v4(), "at": Utc::now(), "expire": ["b1"]});
    thief.put(&intent, Bytes::from(forged.to_string())).await.unwrap();
    thief.put(&seal, Bytes::from_static(b"{}")).await.unwrap();
    assert!(Vault::open(&settings).await.is_err(), "there is no vault any more");

    // Read as it stood: a backup can be had at once, and nothing is written.
    let then = VaultConfig { as_of: Some(before), lock: None, ..settings.clone() };
    let past = World::of(Vault::open(&then).await.unwrap(), local);
    assert_eq!(past.vault.backup_names(&past.cluster).await.unwrap(), [name("b1")]);
    past.assert_whole("b1").await;
    assert_eq!(past.data_of("b1").await, objects);
    assert_eq!(
        past.lab.store.put("vault.json", Bytes::new()).await.unwrap_err().kind,
        StoreErrorKind::Invalid
    );

    let ours = Store::open(&settings).await.unwrap();
    let wrong = ours.stand_at(before, true).await.unwrap();
    let mut keys: Vec<_> = wrong.iter().map(|wrong| (wrong.key.as_str(), wrong.size.is_some())).collect();
    keys.sort_unstable();
    let mut expected =
        [(&*objects[0], true), (&*objects[1], true), ("vault.json", true), (&*seal, true), (&*intent, false)];
    expected.sort_unstable();
    assert_eq!(keys, expected);
    assert!(Vault::open(&settings).await.is_err(), "a dry run changes nothing");
    assert_eq!(ours.stand_at(before, false).await.unwrap().len(), 5);
    assert_eq!(ours.stand_at(before, true).await.unwrap(), []);
    reopen(&mut world, &settings).await;
    world.assert_whole("b1").await;
    assert_eq!(world.verify("b1", Digest, 1).await.findings, []);
    world.backup("b2").await;
}

/// A bucket without Object Lock is refused before anything is written.
pub async fn a_bucket_without_locks_is_refused(rig: &Rig, unlocked: VaultConfig) {
    let asks = VaultConfig { lock: Some(lock(LockMode::Governance, 3_600, 1_800)), ..unlocked.clone() };
    let refused = Vault::init(&asks, "tests").await.unwrap_err();
    assert!(matches!(refused, VaultError::NoObjectLock { .. }), "{refused}");
    let store = Store::open(&unlocked).await.unwrap();
    assert!(store.get("vault.json", 1 << 20).await.unwrap_err().is_not_found());
    let probes = Vault::check(&asks).await.unwrap();
    assert!(probes.iter().any(|probe| probe.name == "lock" && !probe.ok), "{probes:?}");
    Vault::init(&unlocked, "tests").await.unwrap();
    assert!(matches!(Vault::open(&asks).await.unwrap_err(), VaultError::NoObjectLock { .. }));

    let locks = rig.settings(asks.lock);
    Vault::init(&locks, "tests").await.unwrap();
    for probe in Vault::check(&locks).await.unwrap() {
        assert!(probe.ok, "{}: {}", probe.name, probe.detail);
    }
}
