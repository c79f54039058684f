//! Tasks that last longer than the broker waits for an acknowledgement: offers are acknowledged long
//! before the work is done, so a backup outlasts every consumer timeout.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ringvault_core::job::StageKind;
use ringvault_tests::{
    Lab, Ringvault,
    fault::Mend,
    lab::T1,
    ringvault::{exit, fresh},
    shop::Shop,
};

const KEYSPACE: &str = "full_long_work";
/// Two of the broker's looks at its minute.
const LONG: Duration = Duration::from_mins(3);

fn timeout(millis: u64) -> [String; 3] {
    let set = format!("application:set_env(rabbit, consumer_timeout, {millis}).");
    ["rabbitmqctl".to_owned(), "eval".to_owned(), set]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_outlasts_the_consumer_timeout() -> Result<()> {
    let lab = Lab::from_env();
    let shop = Shop::open(&lab, KEYSPACE).await?;
    // 512 photos of 16 KiB on each of the three nodes, of which 32 KiB go a second.
    shop.write(0, 512, 10).await?;
    let usual = timeout(1_800_000);
    let mend = Mend::with(&lab, &usual.each_ref().map(String::as_str));
    lab.run(&timeout(60_000).each_ref().map(String::as_str)).await?;
    let rv = Ringvault::of(&lab).await?;
    let (name, began) = (fresh("long"), Instant::now());
    let create =
        ["backup", "create", "-c", T1, "--name", &name, "--keyspace", KEYSPACE, "--rate-limit", "32KiB"];
    let job = rv.job(exit::OK, &create).await?;
    ensure!(began.elapsed() > LONG, "it took {} s only", began.elapsed().as_secs());
    let uploads = job.tasks.iter().filter(|task| task.stage == StageKind::Upload);
    for task in uploads {
        ensure!(task.attempts.len() == 1, "one attempt was not enough: {task:?}");
    }
    rv.verify(T1, &name).await?;
    mend.now().await?;
    shop.close().await
}
