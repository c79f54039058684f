//! Starting a job, and following it if that is asked for.
//!
//! Without `--wait` the job's id is the one line on stdout. With it the id comes first too, so that
//! it is there whatever happens next, and the result follows it; as JSON the result alone.

use std::time::Duration;

use ringvault_core::{
    JobId,
    api::{JobAccepted, JobDetail},
    job::JobSpec,
};
use uuid::Uuid;

use crate::{
    args::shared::StartArgs,
    client::Client,
    context::Context,
    exit::Exit,
    failure::Outcome,
    watch::{self, End, Names, Shown},
};

/// How long the job is asked for once more before a command ends that stopped waiting for it.
const LAST_WORD: Duration = Duration::from_secs(3);

/// Creates the job of `spec`; with `--wait` follows it to its end.
pub(super) async fn start(
    context: &Context,
    client: &Client,
    spec: &JobSpec,
    args: &StartArgs,
) -> Outcome<Exit> {
    let accepted = create(client, spec, args).await?;
    if !args.wait {
        context.out.document(&accepted, || format!("{}\n", accepted.job))?;
        return Ok(Exit::Ok);
    }
    if !context.out.json {
        context.out.print(&format!("{}\n", accepted.job))?;
    }
    wait(context, client, accepted.job, args.timeout).await
}

/// Creates the job of `spec`, and says on stderr if it existed already.
pub(super) async fn create(client: &Client, spec: &JobSpec, args: &StartArgs) -> Outcome<JobAccepted> {
    let key = args.idempotency_key.clone();
    let key = key.unwrap_or_else(|| format!("cli-{}", Uuid::new_v4()));
    let accepted = client.create_job(spec, &key).await?;
    // A key of our own is only found again when an answer was lost and the request sent once more.
    if accepted.existing && args.idempotency_key.is_some() {
        eprintln!("this key was used before: nothing new was started");
    }
    Ok(accepted)
}

/// Follows a job to its end and prints what came of it.
pub(super) async fn wait(
    context: &Context,
    client: &Client,
    job: JobId,
    timeout: Option<Duration>,
) -> Outcome<Exit> {
    match end(context, client, job, timeout).await? {
        Ok(detail) => result(context, client, &detail).await,
        Err(exit) => Ok(exit),
    }
}

/// Follows a job to its end. The inner `Err` is the exit code where it was left before that.
pub(super) async fn end(
    context: &Context,
    client: &Client,
    job: JobId,
    timeout: Option<Duration>,
) -> Outcome<Result<JobDetail, Exit>> {
    let (exit, latest) = match watch::follow(context, client, job, timeout, Shown::Display).await? {
        End::Settled => return client.job(&job.to_string()).await.map(Ok),
        End::Left(exit, latest) => (exit, latest),
    };
    if context.out.json {
        // The one document of a command that stopped waiting: the job as it stands, or as it was last
        // heard of. Whoever pressed Ctrl-C does not wait for a scheduler that is away.
        let asked = tokio::time::timeout(LAST_WORD, client.job(&job.to_string())).await;
        match (asked, latest) {
            (Ok(Ok(detail)), _) => context.out.document(&detail, String::new)?,
            (_, Some(progress)) => context.out.document(&progress, String::new)?,
            (Ok(Err(failure)), None) => return Err(failure),
            (Err(_), None) => context.out.document(&serde_json::json!({"id": job}), String::new)?,
        }
    }
    Ok(Err(exit))
}

/// Prints what came of a job that nobody works on any more.
pub(super) async fn result(context: &Context, client: &Client, detail: &JobDetail) -> Outcome<Exit> {
    let names = names(client, detail).await;
    context.out.document(detail, || watch::summary(&context.out, detail, &names))?;
    if let Some(failures) = watch::failures(&context.out, detail) {
        eprint!("{failures}");
    }
    Ok(watch::exit_of(detail))
}

/// Addresses by host id, for findings. A help to the eye: without them host ids are shown.
async fn names(client: &Client, detail: &JobDetail) -> Names {
    if detail.outcome.findings.is_empty() {
        return Names::new();
    }
    let nodes = client.nodes(&detail.summary.cluster).await;
    let nodes = nodes.map(|page| page.items).unwrap_or_default();
    let named = nodes.into_iter().filter(|node| !node.address.is_empty());
    named.filter_map(|node| Some((node.host_id?, node.address))).collect()
}
