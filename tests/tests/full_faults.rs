//! The crash matrix: each kind of job with a crash, and again with an error, at every failpoint that
//! it passes, one at a time. The job ends as it would have, the invariants hold, nothing is left on
//! node or store. The points are taken from the code, and those that no job passes are named.
//!
//! `RINGVAULT_FAULT_POINTS=vault.,snapshot.` takes only points that begin so; `RINGVAULT_FAULT_KINDS`
//! only jobs of these kinds.

use std::{collections::BTreeSet, env};

use anyhow::Result;
use ringvault_tests::{
    Lab,
    fault::Mend,
    faults::{Ground, Kind, every_point},
};

/// Jobs between two looks at every invariant.
const LOOK_EVERY: usize = 10;

fn chosen(variable: &str, name: &str) -> bool {
    env::var(variable).map_or(true, |text| text.split(',').any(|prefix| name.starts_with(prefix)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_job_survives_every_point() -> Result<()> {
    let lab = Lab::from_env().beside("faults");
    let _gone = Mend::with(&lab, &["down", "--purge"]);
    lab.run(
        &[
            &["up", "--cluster", "f1", "--nodes", "2", "--heap", "512m", "--no-build"][..],
            // Leases and patience as short as they can be, so that a lost message costs seconds.
            &["--scheduler-option", "retry.lease=6s", "--scheduler-option", "retry.dispatch_timeout=2s"],
            &["--scheduler-option", "retry.backoff_base=200ms", "--scheduler-option", "retry.backoff_cap=2s"],
            &[
                "--scheduler-option",
                "retry.environment_interval=1s",
                "--scheduler-option",
                "timing.poll=100ms",
            ],
            &["--scheduler-option", "timing.ask_patience=1s", "--worker-option", "worker.hello_seconds=5"],
        ]
        .concat(),
    )
    .await?;
    let mut ground = Ground::prepare(&lab, "f1", "faults", 2).await?;
    let every = every_point()?;
    let mut passed = BTreeSet::new();
    let mut failures = Vec::new();
    let mut jobs = 0;
    for kind in Kind::ALL.into_iter().filter(|kind| chosen("RINGVAULT_FAULT_KINDS", kind.as_str())) {
        let hit = ground.passed(kind, &every).await?;
        println!("{} passes {} points", kind.as_str(), hit.len());
        passed.extend(hit.iter().cloned());
        for point in
            every.iter().filter(|point| hit.contains(*point) && chosen("RINGVAULT_FAULT_POINTS", point))
        {
            for action in ["crash", "error"] {
                let began = std::time::Instant::now();
                let tried = ground.run_with(kind, point, action).await;
                let seconds = began.elapsed().as_secs_f32();
                jobs += 1;
                let outcome = match tried {
                    Ok(true) => "survived".to_owned(),
                    Ok(false) => "not reached this time".to_owned(),
                    Err(error) => {
                        failures.push(format!("{} with {action} at {point}: {error:#}", kind.as_str()));
                        format!("FAILED: {error:#}")
                    }
                };
                println!("{} {action} {point} {seconds:.1}s {outcome}", kind.as_str());
                if jobs % LOOK_EVERY == 0
                    && let Err(error) = ground.is_sound().await
                {
                    failures.push(format!("after {} with {action} at {point}: {error:#}", kind.as_str()));
                }
            }
        }
    }
    if let Err(error) = ground.is_sound().await {
        failures.push(format!("at the end: {error:#}"));
    }
    let never: Vec<_> = every.iter().filter(|point| !passed.contains(*point)).collect();
    println!(
        "{jobs} jobs with a fault, {} restarts; points that no job passes: {never:?}",
        ground.restarts()
    );
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n\n"));
    ground.close().await
}
