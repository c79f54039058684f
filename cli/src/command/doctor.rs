//! `ringvault doctor`: looks at everything a backup needs, from the nearest to the farthest, and
//! says for each thing that is wrong what to do about it.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use ringvault_core::{
    ClusterName,
    api::{Role, ServerState, ServerStatus, SignInCheck},
};
use ringvault_vault::{Vault, VaultConfig};
use serde::Serialize;

use crate::{
    args::shared::ClusterOption,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, one_line, style::paint, tone_of_state},
};

mod cluster;

/// Which clusters.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    cluster: ClusterOption,
    /// Also try, from here, the store that this file names: a scheduler's file, or a worker's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    /// What.
    what: String,
    /// `ok`, `warn` (worth a look) or `failed`.
    verdict: &'static str,
    /// What was seen.
    detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn well(&mut self, what: impl Into<String>, detail: impl Into<String>) {
        self.add(what, "ok", detail, None);
    }

    fn bad(&mut self, what: impl Into<String>, detail: impl Into<String>, next: impl Into<String>) {
        self.add(what, "failed", detail, Some(next.into()));
    }

    fn warn(&mut self, what: impl Into<String>, detail: impl Into<String>, next: impl Into<String>) {
        self.add(what, "warn", detail, Some(next.into()));
    }

    fn add(
        &mut self,
        what: impl Into<String>,
        verdict: &'static str,
        detail: impl Into<String>,
        next: Option<String>,
    ) {
        self.findings.push(Finding { what: what.into(), verdict, detail: detail.into(), next });
    }

    /// A request that failed.
    fn failure(&mut self, what: &str, failure: &Failure) {
        let next = failure.next.clone();
        self.add(what, "failed", failure.to_string(), next);
    }

    /// How many findings are not well.
    fn problems(&self) -> usize {
        let bad = |finding: &&Finding| finding.verdict != "ok";
        self.findings.iter().filter(bad).count()
    }

    fn text(&self, out: &Output) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let verdict = format!("{:<6}", finding.verdict);
            let verdict = paint(&verdict, tone_of_state(finding.verdict), out.style.stdout);
            let detail = one_line(&finding.detail);
            let _ = writeln!(text, "{verdict}  {}: {detail}", one_line(&finding.what));
            if let Some(next) = &finding.next {
                let _ = writeln!(text, "        Next: {next}");
            }
        }
        text
    }
}

pub(crate) async fn run(context: &Context, args: &DoctorArgs) -> Outcome<Exit> {
    let client = context.client()?;
    let mut report = Report::default();
    // Before anything is asked: a file that cannot be read is a mistake in the command.
    let vault = args.config.as_deref().map(super::vault::read).transpose()?;
    let exit = look(&client, args.cluster.cluster.as_ref(), &mut report).await;
    if let Some(vault) = &vault {
        store(vault, &mut report).await;
    }
    context.out.document(&report, || report.text(&context.out))?;
    Ok(match exit {
        Some(exit) => exit,
        None if report.problems() == 0 => Exit::Ok,
        None => Exit::Problems,
    })
}

/// Tries the store from here, with the file's credentials.
async fn store(config: &VaultConfig, report: &mut Report) {
    let probes = match Vault::check(config).await {
        Ok(probes) => probes,
        Err(error) => return report.failure(&format!("store {}", config.url), &Failure::from(error)),
    };
    for probe in probes {
        let what = format!("store {}: {}", config.url, probe.name);
        match (probe.ok, probe.means) {
            (false, _) => report.bad(what, probe.detail, "ringvault vault check --config FILE"),
            (true, Some(means)) => report.warn(what, probe.detail, means),
            (true, None) => report.well(what, probe.detail),
        }
    }
}

/// Looks at everything; an exit code when it could not get beyond the scheduler.
async fn look(client: &Client, only: Option<&ClusterName>, report: &mut Report) -> Option<Exit> {
    let status = match client.status().await {
        Ok(status) => status,
        Err(failure) => {
            report.failure("scheduler", &failure);
            // It may name this very command.
            if probes(client, report).await
                && let Some(first) = report.findings.first_mut()
            {
                first.next = None;
            }
            return Some(failure.exit);
        }
    };
    report.well("scheduler", format!("{} answers, version {}", client.server(), status.servers.version));
    token(client, report).await;
    sign_in(client, report).await;
    server("postgres", &status.servers.postgres, report);
    server("rabbitmq", &status.servers.rabbitmq, report);
    server("store", &status.servers.store, report);
    for trouble in &status.notices {
        let next =
            format!("ringvault notify list; when it is mended: ringvault notify test {}", trouble.notifier);
        report.bad("notices", super::status::words(trouble), next);
    }
    if status.servers.postgres.state == ServerState::Down {
        return Some(Exit::Unreachable);
    }
    let mut looked_at = 0;
    for cluster in &status.clusters {
        if only.is_none_or(|only| *only == cluster.cluster) {
            looked_at += 1;
            cluster::look(client, cluster, report).await;
        }
    }
    match only {
        Some(only) if looked_at == 0 => {
            report.bad(
                format!("cluster {only}"),
                "no worker of it was ever heard",
                "start a worker beside each of its nodes; ringvault cluster list shows what is known",
            );
            Some(Exit::NotFound)
        }
        None if looked_at == 0 => {
            report.bad("clusters", "no worker was ever heard", "start a worker beside each Cassandra node");
            None
        }
        _ => None,
    }
}

/// What anybody may ask, when the status cannot be had: a token other than the configuration's is not
/// known while the database is away. Whether that tells what is wrong.
async fn probes(client: &Client, report: &mut Report) -> bool {
    let Ok(readiness) = client.readiness().await else {
        return false;
    };
    server("postgres", &readiness.postgres, report);
    server("rabbitmq", &readiness.rabbitmq, report);
    server("store", &readiness.store, report);
    !readiness.ready
}

async fn token(client: &Client, report: &mut Report) {
    match client.session().await {
        Ok(who) => {
            let may = match who.role {
                Role::Viewer => "may look, but start nothing",
                Role::Operator => "may start and steer jobs",
                Role::Admin => "may do everything",
            };
            let detail = format!("{} ({}) {may}", who.name, who.role.as_str());
            report.well("token", detail);
        }
        Err(failure) => report.failure("token", &failure),
    }
}

/// Whether people can sign in at the identity provider, where there is one.
async fn sign_in(client: &Client, report: &mut Report) {
    match client.check_sign_in().await {
        Ok(SignInCheck { openid: Some(openid) }) if openid.state == ServerState::Ok => {
            report.well("sign-in", "the identity provider answers");
        }
        Ok(SignInCheck { openid: Some(openid) }) => {
            let detail = openid.detail.unwrap_or_else(|| "the identity provider is not well".to_owned());
            report.bad(
                "sign-in",
                detail,
                "mend [oidc] in the scheduler's settings, or the provider; tokens work",
            );
        }
        Ok(SignInCheck { openid: None }) => {}
        // A scheduler that is older than this program.
        Err(failure) if failure.exit == Exit::NotFound => {}
        Err(failure) => report.failure("sign-in", &failure),
    }
}

fn server(name: &str, server: &ServerStatus, report: &mut Report) {
    let plain = if server.state == ServerState::Ok { "answers" } else { "is not well" };
    let detail = server.detail.clone().unwrap_or_else(|| plain.to_owned());
    match server.state {
        ServerState::Ok => report.well(name, detail),
        ServerState::Degraded => report.warn(name, detail, "ringvault status"),
        ServerState::Down => report.bad(
            name,
            detail,
            format!("start {name}, or mend its address and credentials in the scheduler's settings"),
        ),
    }
}
