//! An export needs the vault alone, and Cassandra's own tools load it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use ringvault_tests::{
    Content, Lab, Ringvault,
    lab::T1,
    ringvault::{exit, fresh},
    shop::Shop,
};

#[tokio::test(flavor = "multi_thread")]
async fn nodetool_imports_what_was_exported() -> Result<()> {
    const KEYSPACE: &str = "e2e_export";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 200, 200).await?;
    // A deletion, too, has to come through.
    shop.cql().run(&format!("DELETE FROM {KEYSPACE}.orders WHERE customer = 3")).await?;
    let content = Content::read(shop.cql(), KEYSPACE).await?;
    let rv = Ringvault::of(&lab).await?;
    let name = fresh("export");
    rv.backup(T1, &name, &["--keyspace", KEYSPACE]).await?;

    let folder = tempfile::tempdir()?;
    // Cassandra may run as another user.
    let to = folder.path().join("export");
    let status = lab.status().await?;
    let config =
        status.services.schedulers.first().context("the lab has no scheduler")?.config.display().to_string();
    let to_text = to.display().to_string();
    let export = ["backup", "export", &name, "-c", T1, "--to", &to_text, "--config", &config];
    let mut alone = rv.command()?;
    alone.env("RINGVAULT_SERVER", "http://127.0.0.1:9").args(export);
    ringvault_tests::process::run(&mut alone).await?.expect(exit::OK)?;
    // Again: everything is there already.
    rv.run(&export).await?.expect(exit::OK)?;

    let tables = ["photos", "orders", "hits"];
    for table in tables {
        shop.cql().run(&format!("TRUNCATE {KEYSPACE}.{table}")).await?;
    }
    for node in lab.cluster(T1).await?.nodes {
        let id = lab.nodetool(T1, node.index, &["info"]).await?;
        let id =
            id.lines().find_map(|line| line.strip_prefix("ID")).context("nodetool info tells the host id")?;
        let host = to.join(id.trim_start_matches([' ', ':']).trim()).join(KEYSPACE);
        for table in tables.map(|table| (table, host.join(table))) {
            import(&lab, node.index, KEYSPACE, table).await?;
        }
    }
    Content::read(shop.cql(), KEYSPACE).await?.must_equal(&content)?;
    shop.close().await
}

async fn import(
    lab: &Lab,
    node: u32,
    keyspace: &str,
    (table, folder): (&str, impl AsRef<Path>),
) -> Result<()> {
    let folder = folder.as_ref();
    let files = fs::read_dir(folder).with_context(|| folder.display().to_string())?.count();
    ensure!(files > 0, "nothing was exported to {}", folder.display());
    let path = folder.display().to_string();
    let said = lab.nodetool(T1, node, &["import", "--copy-data", keyspace, table, &path]).await?;
    ensure!(!said.contains("failed"), "{said}");
    Ok(())
}
