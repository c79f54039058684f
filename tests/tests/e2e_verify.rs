//! Damage in the store is found and named, and the next backup heals what the node still has.

use anyhow::{Context as _, Result, ensure};
use ringvault_core::{api::JobDetail, task::FindingKind};
use ringvault_tests::{
    Content, Lab, Ringvault,
    lab::T1,
    ringvault::{exit, fresh},
    shop::Shop,
    store::{Object, Store},
};

const KEYSPACE: &str = "e2e_verify";

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_a_cut_and_a_missing_object_are_found_named_and_healed() -> Result<()> {
    let lab = Lab::from_env();
    // One replica: no other node has the same content to heal from.
    let shop = Shop::open_in(&lab, T1, KEYSPACE, 1).await?;
    shop.write(0, 500, 300).await?;
    let (rv, store) = (Ringvault::of(&lab).await?, Store::of(&lab).await?);
    let selection = ["--keyspace", KEYSPACE];
    let older = fresh("verify-older");
    rv.backup(T1, &older, &selection).await?;

    let data = store.data(T1, &older)?;
    ensure!(data.len() >= 3, "{} objects are too few to damage: {data:?}", data.len());
    let (flipped, cut, missing) = (&data[0], &data[1], &data[2]);
    store.flip(flipped)?;
    // Size and presence are as they were: only reading finds it.
    rv.job(exit::OK, &["verify", "run", &older, "-c", T1]).await?;
    store.cut(cut)?;
    store.remove(missing)?;

    let presence = rv.job(exit::PROBLEMS, &["verify", "run", &older, "-c", T1]).await?;
    names(&presence, &older, cut, FindingKind::Truncated)?;
    names(&presence, &older, missing, FindingKind::Missing)?;
    let deep = ["verify", "run", &older, "-c", T1, "--level", "digest"];
    let found = rv.job(exit::PROBLEMS, &deep).await?;
    names(&found, &older, flipped, FindingKind::Corrupt)?;
    names(&found, &older, cut, FindingKind::Truncated)?;
    names(&found, &older, missing, FindingKind::Missing)?;
    ensure!(found.outcome.damaged >= 3, "{} damaged objects", found.outcome.damaged);
    let said = rv.run(&[&deep[..], &["--wait"]].concat()).await?.expect(exit::PROBLEMS)?;
    said.says(&[&older, KEYSPACE, "-Data.db"])?;

    let healing = fresh("verify-healing");
    let healed = rv.backup(T1, &healing, &selection).await?;
    let lost: u64 = [flipped, cut, missing].iter().map(|object| object.size).sum();
    let brought = healed.summary.figures.bytes_new;
    ensure!(brought > lost / 2, "{brought} bytes were brought again for about {lost}");
    rv.verify(T1, &healing).await?;
    // What is known of the older one is said where people look.
    let known = rv.show_backup(T1, &older).await?.summary.verified.context("it was verified")?;
    ensure!(known.damaged >= 3, "{known:?}");

    // And the healed one can be restored.
    let content = Content::read(shop.cql(), KEYSPACE).await?;
    shop.cql().run(&format!("DROP KEYSPACE {KEYSPACE}")).await?;
    rv.restore(&healing, T1, &selection).await?;
    Content::read(shop.cql(), KEYSPACE).await?.must_equal(&content)?;
    shop.close().await
}

/// A damaged object stops a restore before anything is touched.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_truncated_for_a_backup_that_is_damaged() -> Result<()> {
    const DAMAGED: &str = "e2e_verify_damaged";
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, DAMAGED).await?;
    shop.write(0, 200, 100).await?;
    let (rv, store) = (Ringvault::of(&lab).await?, Store::of(&lab).await?);
    let name = fresh("damaged");
    rv.backup(T1, &name, &["--keyspace", DAMAGED]).await?;
    let largest = store.data(T1, &name)?.into_iter().next().context("a backup has objects")?;
    store.flip(&largest)?;
    let before = Content::read(shop.cql(), DAMAGED).await?;
    let restore =
        ["restore", "run", "--from", &name, "--to", T1, "--keyspace", DAMAGED, "--truncate", "--confirm", T1];
    let job = rv.job(exit::FAILED, &restore).await?;
    ensure!(!job.summary.past_no_return, "it went past the point of no return");
    let error = job.summary.error.as_ref().context("a failed job says why")?;
    ensure!(error.message.contains("Data.db") || error.message.contains(&largest.key), "{error}");
    Content::read(shop.cql(), DAMAGED).await?.must_equal(&before)?;
    rv.run(&["job", "abandon", &job.summary.id.to_string(), "--wait"]).await?;
    shop.close().await
}

/// A finding of this kind about the object says backup, node, table and file.
fn names(job: &JobDetail, backup: &str, object: &Object, kind: FindingKind) -> Result<()> {
    let findings = &job.outcome.findings;
    let found = findings
        .iter()
        .find(|finding| finding.key.ends_with(&object.key) && finding.kind == kind)
        .with_context(|| format!("no finding {kind:?} about {}: {findings:?}", object.key))?;
    ensure!(found.backup.as_str() == backup, "{found:?}");
    ensure!(found.host_id.is_some(), "no node: {found:?}");
    let table = found.table.as_ref().context("a finding names its table")?;
    ensure!(table.keyspace == KEYSPACE, "{found:?}");
    let file = found.file.as_deref().context("a finding names its file")?;
    ensure!(file.contains("-big-") || file.contains("-bti-"), "{found:?}");
    Ok(())
}
