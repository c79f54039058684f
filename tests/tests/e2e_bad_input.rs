//! Bad input and wrong credentials: each gets a clear error, and nothing is lost.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use ringvault_tests::{
    Lab, Ringvault,
    lab::T1,
    own::{gives_up, section, worker_config},
    process::run,
    ringvault::exit,
};
use tempfile::TempDir;

/// A copy of a file with a URL whose password is another.
fn wrong_password(folder: &TempDir, url_file: &Path) -> Result<String> {
    let text = fs::read_to_string(url_file)?;
    let (user, host) = text.trim().rsplit_once('@').context("a URL with a password")?;
    let (before, _) = user.rsplit_once(':').context("a URL with a password")?;
    let file = folder.path().join("url");
    fs::write(&file, format!("{before}:not-the-password@{host}"))?;
    Ok(file.display().to_string())
}

fn url_file(config: &mut toml::Table, name: &str) -> String {
    section(config, name)["url_file"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_end_a_program_with_a_clear_error() -> Result<()> {
    let lab = Lab::from_env();
    let status = lab.status().await?;
    let scheduler = &status.services.schedulers.first().context("the lab has no scheduler")?.config;
    let worker = worker_config(&lab, T1, 1).await?;
    let folder = tempfile::tempdir()?;

    for (program, config, server) in [
        ("ringvault-scheduler", scheduler, "postgres"),
        ("ringvault-scheduler", scheduler, "rabbitmq"),
        ("ringvault-worker", &worker, "rabbitmq"),
    ] {
        let mut wrong = Ok(String::new());
        let ended = gives_up(&lab, program, config, |config| {
            own_place(config, &folder);
            wrong = wrong_password(&folder, Path::new(&url_file(config, server)));
            let file = wrong.as_deref().unwrap_or_default();
            section(config, server).insert("url_file".to_owned(), file.into());
        })
        .await?;
        wrong?;
        is_clear(ended.expect(exit::NOT_AUTHORISED)?.stderr.as_str())?;
    }
    let secret = folder.path().join("secret");
    fs::write(&secret, "not-the-secret")?;
    for (program, config) in [("ringvault-scheduler", scheduler), ("ringvault-worker", &worker)] {
        let ended = gives_up(&lab, program, config, |config| {
            own_place(config, &folder);
            let file = secret.display().to_string();
            section(config, "vault").insert("secret_key_file".to_owned(), file.into());
        })
        .await?;
        is_clear(ended.expect(exit::NOT_AUTHORISED)?.stderr.as_str())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_exist_is_named() -> Result<()> {
    let lab = Lab::from_env();
    let status = lab.status().await?;
    let scheduler = &status.services.schedulers.first().context("the lab has no scheduler")?.config;
    let worker = worker_config(&lab, T1, 1).await?;
    let folder = tempfile::tempdir()?;
    for (program, config) in [("ringvault-scheduler", scheduler), ("ringvault-worker", &worker)] {
        let ended = gives_up(&lab, program, config, |config| {
            own_place(config, &folder);
            section(config, "vault").insert("url".to_owned(), "s3://no-such-bucket/lab".into());
        })
        .await?;
        let ended = ended.expect(exit::UNREACHABLE)?;
        is_clear(&ended.stderr)?;
        ended.says(&["no-such-bucket"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_setting_is_named_with_its_line() -> Result<()> {
    let lab = Lab::from_env();
    let worker = worker_config(&lab, T1, 1).await?;
    let ended = gives_up(&lab, "ringvault-worker", &worker, |config| {
        section(config, "worker").insert("sluts".to_owned(), 4.into());
    })
    .await?;
    ended.expect(exit::USAGE)?.says(&["error[RV-CONFIG]", "line", "sluts"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_on_a_node_is_refused() -> Result<()> {
    let lab = Lab::from_env();
    let worker = worker_config(&lab, T1, 1).await?;
    let twice = gives_up(&lab, "ringvault-worker", &worker, |_| {}).await?;
    twice.expect(exit::CONFLICT)?.says(&["error[RV-WORKER-TWICE]"])?;

    // With a copy of its state folder, on another machine say: the broker knows.
    let folder = tempfile::tempdir()?;
    let text = fs::read_to_string(&worker)?;
    let config: toml::Table = toml::from_str(&text)?;
    let state = config["state_dir"].as_str().context("a worker has a state folder")?;
    let id = Path::new(state).join("worker-id");
    fs::create_dir_all(folder.path().join("state"))?;
    fs::copy(&id, folder.path().join("state/worker-id")).with_context(|| id.display().to_string())?;
    let copied = gives_up(&lab, "ringvault-worker", &worker, |config| own_place(config, &folder)).await?;
    copied.expect(exit::CONFLICT)?.says(&["error[RV-WORKER-TWICE]"])?;
    let nodes = Ringvault::of(&lab).await?.run(&["node", "list", "-c", T1]).await?.expect(exit::OK)?;
    ensure!(nodes.stdout.matches("live").count() == 3, "{}", nodes.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_says_who_may_not_and_what_does_not_answer() -> Result<()> {
    let lab = Lab::from_env();
    let rv = Ringvault::of(&lab).await?;
    let mut wrong = rv.command()?;
    wrong.env_remove("RINGVAULT_TOKEN_FILE").env("RINGVAULT_TOKEN", "nobody").args(["cluster", "list"]);
    is_clear(&run(&mut wrong).await?.expect(exit::NOT_AUTHORISED)?.stderr)?;
    let mut away = rv.command()?;
    away.env("RINGVAULT_SERVER", "http://127.0.0.1:9").args(["cluster", "list"]);
    is_clear(&run(&mut away).await?.expect(exit::UNREACHABLE)?.stderr)?;
    rv.run(&["backup", "create", "-c", "nowhere"]).await?.expect(exit::NOT_FOUND)?;
    rv.run(&["verify", "run", "nothing", "-c", T1]).await?.expect(exit::NOT_FOUND)?;
    rv.run(&["backup", "create", "-c", T1, "--name", "../up"]).await?.expect(exit::USAGE)?;
    Ok(())
}

/// A scheduler or worker of another name, so that it is refused for nothing but what is tested.
fn own_place(config: &mut toml::Table, folder: &TempDir) {
    if config.contains_key("state_dir") {
        let state = folder.path().join("state").display().to_string();
        config.insert("state_dir".to_owned(), state.into());
    } else {
        config.insert("id".to_owned(), "sched-wrong".into());
        config.insert("listen".to_owned(), "127.0.0.1:0".into());
    }
}

/// One line with a code, and no secret.
fn is_clear(stderr: &str) -> Result<()> {
    let errors: Vec<_> = stderr.lines().filter(|line| line.starts_with("error[RV-")).collect();
    ensure!(errors.len() == 1, "not one error line: {stderr}");
    ensure!(!stderr.contains("not-the-"), "a secret is shown: {stderr}");
    ensure!(!stderr.contains("panicked"), "{stderr}");
    Ok(())
}
