//! `ringvault doctor` finds what is set up wrongly, says at which nodes, and what to do.

use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use ringvault_tests::{
    Lab, Ringvault,
    lab::T1,
    own::{OwnProgram, section, worker_config},
    process::{Ended, run},
    ringvault::{exit, fresh},
    shop::Shop,
    wait::until,
};

/// What the doctor says once it says all of `words`.
async fn finds(rv: &Ringvault, words: &[&str]) -> Result<Ended> {
    until("what the doctor is to find", Duration::from_secs(60), async || {
        let seen = rv.run(&["doctor", "-c", T1]).await?;
        Ok(seen.says(words).is_ok().then_some(seen))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_run_is_found_with_its_reason() -> Result<()> {
    const KEYSPACE: &str = "e2e_doctor";
    let lab = Lab::from_env();
    let rv = Ringvault::of(&lab).await?;
    let shop = Shop::open(&lab, KEYSPACE).await?;
    shop.write(0, 5, 20).await?;
    let name = fresh("well");
    rv.job(exit::OK, &["backup", "create", "-c", T1, "--name", &name, "--keyspace", KEYSPACE]).await?;
    // What other tests left damaged is found too, so how it ends says nothing of the workers.
    finds(&rv, &["3/3 live", "all nodes agree", "can be restored"]).await?;

    let folder = tempfile::tempdir()?;
    let secret = folder.path().join("secret");
    fs::write(&secret, "not-the-secret")?;
    let secret = secret.display().to_string();
    let address = lab.cluster(T1).await?.nodes[0].address.clone();
    let next = format!("Next: ringvault node show {address} -c {T1}");

    // The worker ends with this; the fleet knows why.
    let own = OwnProgram::worker(&lab, T1, 1, |config| {
        section(config, "vault").insert("secret_key_file".to_owned(), secret.clone().into());
    })
    .await?;
    let seen = finds(&rv, &["1 of 3", "(RV-STORE-40", &address, &next]).await?.expect(exit::PROBLEMS)?;
    ensure!(!seen.stdout.contains("not-the-secret"), "{}", seen.stdout);
    drop(own);

    let own = OwnProgram::worker(&lab, T1, 1, |config| {
        section(config, "vault").insert("url".to_owned(), "s3://no-such-bucket/lab".into());
    })
    .await?;
    finds(&rv, &["no-such-bucket", &address, &next]).await?.expect(exit::PROBLEMS)?;
    drop(own);

    finds(&rv, &["3/3 live"]).await?;
    shop.close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_is_away_a_wrong_token_and_a_wrong_store_are_found() -> Result<()> {
    let lab = Lab::from_env();
    let rv = Ringvault::of(&lab).await?;
    let mut away = rv.command()?;
    away.env("RINGVAULT_SERVER", "http://127.0.0.1:9").arg("doctor");
    run(&mut away).await?.expect(exit::UNREACHABLE)?.says(&["failed", "scheduler", "127.0.0.1:9"])?;
    let mut nobody = rv.command()?;
    nobody.env_remove("RINGVAULT_TOKEN_FILE").env("RINGVAULT_TOKEN", "nobody").arg("doctor");
    run(&mut nobody).await?.expect(exit::NOT_AUTHORISED)?.says(&["failed"])?;

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("worker.toml");
    let mut config: toml::Table = toml::from_str(&fs::read_to_string(worker_config(&lab, T1, 1).await?)?)?;
    section(&mut config, "vault").insert("url".to_owned(), "s3://no-such-bucket/lab".into());
    fs::write(&file, toml::to_string(&config)?)?;
    let file = file.display().to_string();
    let seen = rv.run(&["doctor", "-c", T1, "--config", &file]).await?.expect(exit::PROBLEMS)?;
    seen.says(&["store", "no-such-bucket"])
}
