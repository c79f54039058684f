use ringvault_core::JobId;
use ringvault_vault::{Vault, VaultConfig};
use serde_json::json;

use super::*;
use crate::{config::WorkerConfig, node::Node};

/// An executor with a vault in a folder, beside no node.
async fn executor(folder: &std::path::Path) -> Executor {
    let text = format!(
        "cluster = \"c\"\nstate_dir = \"{state}\"\n[rabbitmq]\nurl_file = \"/amqp\"\n\
         [vault]\nurl = \"file://{vault}\"\n[signing]\nkey_file = \"/key\"\n\
         [cassandra]\ncql = \"127.0.0.1:1\"\ncontrol = \"jolokia\"\n\
         jolokia_url = \"http://127.0.0.1:1/jolokia/\"\n",
        state = folder.join("state").display(),
        vault = folder.join("vault").display(),
    );
    let config: WorkerConfig = toml::from_str(&text).unwrap();
    let vault_config: VaultConfig = config.vault.clone();
    Vault::init(&vault_config, "test").await.unwrap();
    let vault = Vault::open(&vault_config).await.unwrap();
    let node = Node::new(&config.cassandra, &config.state_dir).unwrap();
    Executor::new(config, node, vault)
}

fn task(job: JobId) -> RestoreTask {
    let spec = json!({"source": "c", "backup": "b", "target": "c", "truncate": true, "confirm": "c"});
    serde_json::from_value(json!({"job": job, "spec": spec, "host_id": null})).unwrap()
}

#[tokio::test]
async fn a_table_is_emptied_by_one_run_and_what_is_done_stays_done() {
    let folder = tempfile::tempdir().unwrap();
    let executor = executor(folder.path()).await;
    let task = task(JobId::generate());
    let (one, other) = (TableName::new("ks", "one"), TableName::new("ks", "other"));
    assert_eq!(executor.take_truncate(&task, &one, 1).await.unwrap(), Truncate::Ours);
    assert_eq!(executor.take_truncate(&task, &one, 2).await.unwrap(), Truncate::InDoubt);
    executor.truncate_is_done(&task, &one, 2).await.unwrap();
    for epoch in [1, 3] {
        assert_eq!(executor.take_truncate(&task, &one, epoch).await.unwrap(), Truncate::Done);
    }
    assert_eq!(executor.take_truncate(&task, &other, 3).await.unwrap(), Truncate::Ours);
}

#[tokio::test]
async fn nothing_is_emptied_once_a_node_has_begun_to_load() {
    let folder = tempfile::tempdir().unwrap();
    let executor = executor(folder.path()).await;
    let task_at_work = task(JobId::generate());
    executor.refuse_once_loading(&task_at_work).await.unwrap();
    executor.begin_to_load(&task_at_work).await.unwrap();
    executor.begin_to_load(&task_at_work).await.unwrap();
    let refused = executor.refuse_once_loading(&task_at_work).await.unwrap_err();
    assert_eq!(refused.code, "RV-TRUNCATE-LATE");
    executor.refuse_once_loading(&task(JobId::generate())).await.unwrap();
}
