//! A backup's life in the vault, from its start to its seal or its abort.

mod support;
#[path = "support/world.rs"]
mod world;

use ringvault_core::{
    backup::BackupState,
    cluster::{Coverage, RequiredCoverage, Token},
    job::BackupMode,
    selection::{Selection, TableName},
    task::SealTask,
};
use ringvault_vault::{
    Vault, VaultConfig, VaultError,
    backup::{AbortOutcome, CapturedSchema, Remark},
    identity::RingIdentity,
};
use url::Url;
use world::{STATEMENT, World, job, name, schema_of};

#[tokio::test]
async fn a_vault_is_made_once() {
    let parent = tempfile::tempdir().unwrap();
    let config = VaultConfig::at(Url::from_directory_path(parent.path().join("vault")).unwrap());
    let nothing = Vault::open(&config).await.unwrap_err();
    assert_eq!(nothing.to_task_error().code, "RV-STORE-BUCKET", "{nothing}");
    std::fs::create_dir(parent.path().join("vault")).unwrap();
    let empty = Vault::open(&config).await.unwrap_err();
    assert_eq!(empty.to_task_error().code, "RV-VAULT-NONE", "{empty}");
    assert!(Vault::check(&config).await.unwrap().iter().any(|probe| !probe.ok));

    let vault = Vault::init(&config, "here").await.unwrap();
    for deployment in ["here", "elsewhere"] {
        let again = Vault::init(&config, deployment).await.unwrap_err();
        assert!(matches!(&again, VaultError::AlreadyInitialised { .. }), "{again}");
    }
    assert_eq!(vault.owner().await.unwrap().unwrap().deployment, "here");
    assert!(Vault::check(&config).await.unwrap().iter().all(|probe| probe.ok));
    assert_eq!(vault.store().list_folders("").await.unwrap(), [""; 0], "no probe is left behind");

    // An init that was cut short between its two records is brought to its end.
    vault.store().delete("owner.json").await.unwrap();
    assert!(Vault::init(&config, "elsewhere").await.is_err());
    Vault::init(&config, "here").await.unwrap();

    std::fs::write(parent.path().join("vault/vault.json"), r#"{"version": 3}"#).unwrap();
    let newer = Vault::open(&config).await.unwrap_err();
    assert_eq!(newer.to_task_error().code, "RV-VAULT-VERSION", "{newer}");
}

#[tokio::test]
async fn a_whole_backup_is_complete_and_the_next_one_brings_nothing() {
    let mut world = World::on_folder(3).await;
    let first = world.backup("b1").await;
    assert_eq!((first.coverage, first.remarks.len()), (Coverage::Complete, 0));
    assert_eq!((first.figures.nodes_held, first.figures.nodes_total), (3, 3));
    assert_eq!((first.figures.sstables, first.figures.files), (3, 6));
    assert_eq!((first.figures.bytes, first.figures.bytes_new), (3 * 20_092, 3 * 20_092));
    assert_eq!(first.figures.objects_new, 6, "a large file and a pack a node");
    assert_eq!(first.start.tags["why"], "test");
    let schema = CapturedSchema::parse(&world.vault.get_schema(&first.schema).await.unwrap()).unwrap();
    assert_eq!(schema.cql(), format!("{STATEMENT};\n\n"));

    let second = world.backup("b2").await;
    assert_eq!((second.figures.bytes, second.figures.bytes_new), (first.figures.bytes, 0));
    assert_eq!(world.data_of("b2").await, [""; 0]);
    let reused: Vec<_> =
        second.nodes.iter().map(|node| node.reuses.iter().cloned().collect::<Vec<_>>()).collect();
    assert_eq!(reused, vec![vec![name("b1")]; 3]);
    world.assert_whole("b2").await;

    let states: Vec<_> = world.vault.catalog(&world.cluster).await.unwrap();
    let states: Vec<_> = states.iter().map(|e| (e.backup.as_str(), e.state().unwrap())).collect();
    assert_eq!(states, [("b2", BackupState::Complete), ("b1", BackupState::Complete)]);
    assert_eq!(world.vault.clusters().await.unwrap(), [world.cluster.clone()]);
}

#[tokio::test]
async fn a_node_that_lacks_a_table_of_its_schema_makes_the_backup_incomplete() {
    let mut world = World::on_folder(2).await;
    world.schema = schema_of(&["t", "u"]);
    world.nodes[0].table("ks", "u", 0);
    let lacking = world.backup("b1").await;
    assert_eq!(lacking.coverage, Coverage::Incomplete);
    let expected = Remark::TablesMissing { node: world.nodes[1].host, tables: vec!["ks.u".into()] };
    assert_eq!(lacking.remarks, [expected]);
    world.nodes[1].table("ks", "u", 1);
    assert_eq!(world.backup("b2").await.coverage, Coverage::Complete);
    // Of one table asked for, the other need not be there.
    world.selection = Selection { tables: vec![TableName::new("ks", "t")], ..Selection::default() };
    world.nodes[1] = support::Node::new();
    world.nodes[1].table("ks", "t", 0);
    assert_eq!(world.backup("b3").await.coverage, Coverage::Complete);
}

#[tokio::test]
async fn a_whole_backup_reuses_the_last_whole_one_past_those_of_single_tables() {
    let mut world = World::on_folder(2).await;
    for node in &mut world.nodes {
        node.table("ks", "u", 0);
        node.sstable("ks", "u", 0, None, "1", &[("Data.db", 30_000)]);
    }
    world.backup("whole1").await;
    world.selection = Selection { tables: vec![TableName::new("ks", "t")], ..Selection::default() };
    let all = std::mem::take(&mut world.nodes);
    let hosts: Vec<_> = all.iter().map(|node| node.host).collect();
    world.nodes = (0..2).map(|_| support::Node::new()).collect();
    for (n, host) in hosts.into_iter().enumerate() {
        world.nodes[n].host = host;
        world.nodes[n].table("ks", "t", 0);
        world.nodes[n].sstable("ks", "t", 0, None, "new", &[("Data.db", 25_000)]);
    }
    let one = world.backup("one").await;
    assert_eq!((one.coverage, one.figures.bytes_new), (Coverage::Complete, 2 * 25_000));
    (world.nodes, world.selection) = (all, Selection::default());
    let whole = world.backup("whole2").await;
    assert_eq!(whole.figures.bytes_new, 0, "the last whole backup is reused");
    world.assert_whole("whole2").await;
}

#[tokio::test]
async fn a_damaged_record_offers_nothing_and_fails_nothing() {
    let mut world = World::on_folder(2).await;
    world.backup("b1").await;
    let folder = format!("clusters/{}/backups/b1", world.cluster);
    let flip = |key: String| {
        let path = world.lab.local.path().join("vault").join(key);
        let mut body = std::fs::read(&path).unwrap();
        let middle = body.len() / 2;
        body[middle] ^= 1;
        std::fs::write(path, body).unwrap();
    };
    for key in world.keys(&format!("{folder}/index/")).await {
        flip(key);
    }
    for key in world.keys(&format!("{folder}/nodes/")).await {
        flip(key);
    }
    let again = world.backup("b2").await;
    assert_eq!(again.figures.bytes_new, again.figures.bytes, "what nobody can say is brought again");
    world.assert_whole("b2").await;
    let seal = format!("{folder}/backup.json");
    let path = world.lab.local.path().join("vault").join(&seal);
    std::fs::write(path, "{\"version\":1,").unwrap();
    assert_eq!(world.backup("b3").await.figures.bytes_new, 0, "b2 is reused beside it");
    let catalog = world.vault.catalog(&world.cluster).await.unwrap();
    assert_eq!(catalog.len(), 3);
}

#[tokio::test]
async fn a_seal_names_only_what_is_there() {
    let mut world = World::on_folder(1).await;
    world.begin("b1").await;
    let (manifests, _) = world.bring_all("b1").await;
    let key = world.data_of("b1").await[0].clone();
    let path = world.lab.local.path().join("vault").join(&key);
    let body = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let refused = world.seal("b1", manifests.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("not there at their size"), "{refused}");
    std::fs::write(&path, body).unwrap();
    world.seal("b1", manifests).await.unwrap();

    // What was reused is of a backup that is no seal any more.
    world.begin("b2").await;
    let (manifests, _) = world.bring_all("b2").await;
    let seal =
        world.lab.local.path().join(format!("vault/clusters/{}/backups/b1/backup.json", world.cluster));
    let sealed = std::fs::read(&seal).unwrap();
    std::fs::remove_file(&seal).unwrap();
    let refused = world.seal("b2", manifests.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("never sealed"), "{refused}");
    std::fs::write(&seal, sealed).unwrap();
    world.seal("b2", manifests).await.unwrap();
}

#[tokio::test]
async fn content_that_moved_to_another_node_is_not_brought_again() {
    let mut world = World::on_folder(2).await;
    world.backup("b1").await;
    // The second node is replaced by one that has streamed the same files.
    let mut replacement = support::Node::new();
    replacement.table("ks", "t", 0);
    replacement.sstable("ks", "t", 0, None, "1", &[("Data.db", 20_000), ("TOC.txt", 92)]);
    world.nodes[1] = replacement;
    let second = world.backup("b2").await;
    assert_eq!(second.figures.bytes_new, 0);
    world.assert_whole("b2").await;
}

#[tokio::test]
async fn a_full_backup_reuses_nothing_and_is_not_reused() {
    let mut world = World::on_folder(1).await;
    let bytes = world.backup("b1").await.figures.bytes;
    for backup in ["full1", "full2"] {
        world.begin_as(backup, BackupMode::Full).await.unwrap();
        let (manifests, _) = world.bring_all(backup).await;
        assert_eq!(world.seal(backup, manifests).await.unwrap().figures.bytes_new, bytes);
    }
    let next = world.backup("b2").await;
    assert!(next.nodes[0].reuses.iter().eq([&name("b1")]));
}

#[tokio::test]
async fn the_same_job_may_do_every_step_again_and_another_may_not() {
    let mut world = World::on_folder(2).await;
    world.begin("b1").await;
    world.begin("b1").await;
    let (manifests, _) = world.bring_all("b1").await;
    let sealed = world.seal("b1", manifests.clone()).await.unwrap();
    assert_eq!(world.seal("b1", manifests.clone()).await.unwrap(), sealed);
    world.begin("b1").await;

    let mut stranger = world.start("b1", BackupMode::Incremental);
    stranger.job = job("stranger");
    let taken = world.vault.begin_backup(&stranger).await.unwrap_err();
    assert_eq!(taken.to_task_error().code, "RV-BACKUP-NAME", "{taken}");
    let task = SealTask {
        job: job("stranger"),
        cluster: world.cluster.clone(),
        backup: name("b1"),
        nodes: manifests,
        coverage: RequiredCoverage::All,
        dc: None,
        tainted: false,
    };
    assert!(matches!(world.vault.seal(&task).await, Err(VaultError::NameTaken { .. })));
    let abort = world.vault.abort(&world.cluster, &name("b1"), job("b1"), "too late").await.unwrap();
    assert_eq!(abort, AbortOutcome::Sealed(Box::new(sealed.clone())));
    assert_eq!(world.vault.seal_of(&world.cluster, &name("b1")).await.unwrap(), sealed);
}

#[tokio::test]
async fn of_a_late_seal_and_an_abort_exactly_one_wins() {
    let mut world = World::on_folder(1).await;
    world.begin("b1").await;
    let (manifests, _) = world.bring_all("b1").await;
    let abort =
        async || world.vault.abort(&world.cluster, &name("b1"), job("b1"), "cancelled").await.unwrap();
    assert_eq!((abort().await, abort().await), (AbortOutcome::Dead, AbortOutcome::Dead));
    let late = world.seal("b1", manifests).await.unwrap_err();
    assert!(matches!(&late, VaultError::Aborted { reason, .. } if reason == "cancelled"), "{late}");
    let again = world.begin_as("b1", BackupMode::Incremental).await.unwrap_err();
    assert_eq!(again.to_task_error().code, "RV-BACKUP-DEAD");
    let entry = world.vault.backup(&world.cluster, &name("b1")).await.unwrap();
    assert_eq!(entry.state(), BackupState::Dead);

    // Cancelled before any node began: the marker alone keeps a late worker away.
    world.vault.abort(&world.cluster, &name("b2"), job("b2"), "cancelled").await.unwrap();
    assert!(matches!(world.begin_as("b2", BackupMode::Incremental).await, Err(VaultError::Aborted { .. })));
}

#[tokio::test]
async fn a_backup_says_what_it_holds() {
    let mut world = World::on_folder(3).await;
    world.begin("part").await;
    let (manifest, _) = world.bring(0, "part").await;
    let sealed = world.seal("part", vec![manifest]).await.unwrap();
    assert_eq!(sealed.coverage, Coverage::Incomplete);
    assert!(matches!(&sealed.remarks[0], Remark::NodesMissing { nodes } if nodes.len() == 2));

    // The ring changes between two snapshots.
    world.begin("moved").await;
    let (first, _) = world.bring(0, "moved").await;
    world.nodes.push(support::Node::new());
    world.nodes[3].table("ks", "t", 0);
    let (second, _) = world.bring(1, "moved").await;
    let sealed = world.seal("moved", vec![first, second]).await.unwrap();
    assert_eq!(sealed.coverage, Coverage::Incomplete);
    assert!(matches!(sealed.remarks[0], Remark::RingChanged { .. }));
    assert_eq!(world.topology().nodes[3].tokens, [Token(400)]);
}

#[tokio::test]
async fn a_seal_accepts_only_its_own_manifests_as_they_were_reported() {
    let mut world = World::on_folder(1).await;
    world.begin("b1").await;
    let (manifests, _) = world.bring_all("b1").await;
    let mut other_hash = manifests.clone();
    other_hash[0].blake3 = "00".repeat(32);
    let refused = world.seal("b1", other_hash).await.unwrap_err();
    assert_eq!(refused.to_task_error().code, "RV-MANIFEST", "{refused}");
    let mut other_key = manifests.clone();
    other_key[0].key = other_key[0].key.replace("/b1/", "/b2/");
    assert!(world.seal("b1", other_key).await.is_err());
    assert!(world.seal("b1", Vec::new()).await.is_err());
    world.seal("b1", manifests).await.unwrap();
}

#[tokio::test]
async fn a_cluster_is_one_ring() {
    let world = World::on_folder(1).await;
    let ring = |cluster_name: &str, hosts: &[&str]| RingIdentity {
        cluster_name: cluster_name.into(),
        partitioner: "Murmur3Partitioner".into(),
        host_ids: hosts.iter().map(|host| ringvault_core::HostId(job(host).0)).collect(),
    };
    let bind = async |ring| world.vault.bind_cluster(&world.cluster, &ring).await;
    bind(ring("prod", &["a", "b"])).await.unwrap();
    bind(ring("prod", &["b", "c"])).await.unwrap();
    bind(ring("prod", &["c", "d"])).await.unwrap();
    for stranger in [ring("prod", &["x"]), ring("test", &["a"])] {
        let refused = bind(stranger).await.unwrap_err().to_task_error();
        assert_eq!(refused.code, "RV-CLUSTER-BOUND");
        assert!(refused.next.unwrap().contains("cluster rebind"));
    }
    assert!(world.vault.unbind_cluster(&world.cluster).await.unwrap());
    assert!(!world.vault.unbind_cluster(&world.cluster).await.unwrap(), "it is free");
    bind(ring("other", &["x"])).await.unwrap();
    bind(ring("other", &["x", "y"])).await.unwrap();
    assert!(bind(ring("prod", &["a"])).await.is_err());
}

#[tokio::test]
async fn a_takeover_leaves_no_unsealed_backup() {
    let mut world = World::on_folder(1).await;
    world.backup("sealed").await;
    world.begin("running").await;
    let (manifests, _) = world.bring_all("running").await;
    let aborted = world.vault.takeover("successor").await.unwrap();
    assert_eq!(aborted, [(world.cluster.clone(), name("running"))]);
    assert_eq!(world.vault.owner().await.unwrap().unwrap().deployment, "successor");
    // The former owner is refused whatever it would write, and may read.
    let refused = |error: VaultError| error.to_task_error().code;
    assert_eq!(refused(world.seal("running", manifests.clone()).await.unwrap_err()), "RV-VAULT-OWNER");
    let begun = world.begin_as("later", BackupMode::Incremental).await.unwrap_err();
    assert_eq!(refused(begun), "RV-VAULT-OWNER");
    let marked = world.vault.mark(&world.mark_task("p1", &["sealed"], &[])).await.unwrap_err();
    assert_eq!(refused(marked), "RV-VAULT-OWNER");
    world.assert_whole("sealed").await;
    // The successor may write, and what was running is dead for it too.
    let url = Url::from_directory_path(world.lab.local.path().join("vault")).unwrap();
    let config = VaultConfig { deployment: Some("successor".into()), ..VaultConfig::at(url) };
    world.vault = Vault::open(&config).await.unwrap().with_scratch(world.lab.local.path());
    assert!(matches!(world.seal("running", manifests).await, Err(VaultError::Aborted { .. })));
    world.backup("next").await;
}
