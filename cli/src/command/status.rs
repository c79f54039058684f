//! `ringvault status`: who is unprotected, late, unverified?

use std::fmt::Write as _;

use chrono::{DateTime, Duration, Utc};
use clap::Args;
use ringvault_core::api::{
    ClusterStatus, FleetStatus, NoticeTrouble, RpoState, ServerState, ServerStatus, Servers,
};

use crate::{
    args::shared::ClusterOption,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Output, Table, Tone, human, one_line, or_none, style::paint, tone_of_state},
};

/// Which clusters.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    cluster: ClusterOption,
}

pub(crate) async fn run(context: &Context, args: &StatusArgs) -> Outcome<Exit> {
    let mut status = context.client()?.status().await?;
    let blind = status.servers.postgres.state == ServerState::Down;
    if let (Some(cluster), false) = (&args.cluster.cluster, blind) {
        status.clusters.retain(|known| known.cluster == *cluster);
        if status.clusters.is_empty() {
            return Err(Failure::not_found(format!("there is no cluster {cluster}"))
                .with_next("ringvault cluster list"));
        }
    }
    context.out.document(&status, || text(&context.out, &status))?;
    Ok(if blind { Exit::Unreachable } else { Exit::Ok })
}

fn text(out: &Output, status: &FleetStatus) -> String {
    let mut text = servers_line(out, &status.servers);
    let mut table = Table::new(&["CLUSTER", "LAST GOOD", "RPO", "VERIFIED", "DRILL", "WORKERS", "PROBLEM"]);
    for cluster in &status.clusters {
        table.row(row(status.as_of, cluster));
    }
    if status.servers.postgres.state == ServerState::Down {
        text += "the clusters are not known while postgres is down\n";
    } else if table.is_empty() {
        text += "no cluster has announced itself: start a worker beside each Cassandra node\n";
    } else {
        text += &table.render(out.style.stdout);
    }
    for trouble in &status.notices {
        let _ = writeln!(text, "notices: {}", paint(&words(trouble), Tone::Bad, out.style.stdout));
    }
    if let Some(next) = &status.next {
        let _ = writeln!(text, "Next: {next}");
    }
    text
}

/// `pager: 3 given up, 1 failing (it answered 500 Internal Server Error)`.
pub(super) fn words(trouble: &NoticeTrouble) -> String {
    let counts = [(trouble.given_up, "given up"), (trouble.failing, "failing")];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let why = trouble.error.as_deref().map(|why| format!(" ({})", one_line(why))).unwrap_or_default();
    format!("{}: {}{why}", trouble.notifier, counts.join(", "))
}

fn servers_line(out: &Output, servers: &Servers) -> String {
    let word = |name: &str, server: &ServerStatus, more: Option<String>| {
        let state = server.state.as_str();
        let painted = paint(state, tone_of_state(state), out.style.stdout);
        let notes: Vec<String> = more.into_iter().chain(server.detail.clone()).collect();
        if notes.is_empty() {
            format!("{name} {painted}")
        } else {
            format!("{name} {painted} ({})", notes.join("; "))
        }
    };
    let leader = servers.leader.as_ref().map(|leader| format!("leader {leader}"));
    [
        word("scheduler", &servers.scheduler, leader),
        word("postgres", &servers.postgres, None),
        word("rabbitmq", &servers.rabbitmq, None),
        word("store", &servers.store, None),
    ]
    .join("  ")
        + "\n"
}

fn row(now: DateTime<Utc>, cluster: &ClusterStatus) -> [Cell; 7] {
    let workers = format!("{}/{}", cluster.workers_live, cluster.workers_total);
    let workers_tone = if cluster.workers_live < cluster.workers_total { Tone::Warn } else { Tone::Plain };
    let problem_tone = if cluster.problem.is_some() { Tone::Bad } else { Tone::Plain };
    [
        cluster.cluster.as_str().into(),
        or_none(cluster.last_good.as_ref().map(|good| span(good.age_seconds, human::duration))).into(),
        rpo(cluster),
        human::ago(now, cluster.last_verified_at).into(),
        human::ago(now, cluster.last_drill_at).into(),
        Cell::toned(workers, workers_tone),
        Cell::toned(or_none(cluster.problem.as_ref()), problem_tone),
    ]
}

/// `ok/24h`, `LATE/24h`, or `-` where no policy sets a target.
fn rpo(cluster: &ClusterStatus) -> Cell {
    let target = cluster.rpo_target_seconds.map(|seconds| span(seconds, human::rough));
    let target = target.map_or_else(String::new, |target| format!("/{target}"));
    match cluster.rpo {
        RpoState::Ok => Cell::toned(format!("ok{target}"), Tone::Good),
        RpoState::Late => Cell::toned(format!("LATE{target}"), Tone::Bad),
        RpoState::None => human::NONE.into(),
    }
}

fn span(seconds: u64, words: fn(Duration) -> String) -> String {
    let seconds = i64::try_from(seconds).ok().and_then(Duration::try_seconds);
    words(seconds.unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Style;
    use ringvault_core::api::RecoveryPoint;

    fn fleet() -> FleetStatus {
        let as_of: DateTime<Utc> = "2026-11-22T08:04:00Z".parse().unwrap();
        let cluster = |name: &str, age: u64, rpo, live| ClusterStatus {
            cluster: name.parse().unwrap(),
            last_good: Some(RecoveryPoint { backup: "b".parse().unwrap(), at: as_of, age_seconds: age }),
            rpo_target_seconds: Some(86_400),
            rpo,
            last_verified_at: Some(as_of - Duration::hours(2)),
            last_drill_at: Some(as_of - Duration::days(9)),
            workers_live: live,
            workers_total: 9,
            jobs_open: 0,
            problem: None,
            next: None,
        };
        let mut late = cluster("ref-prod", 97_860, RpoState::Late, 8);
        late.problem = Some("ref-04 silent 27h".to_owned());
        FleetStatus {
            as_of,
            servers: Servers {
                scheduler: ServerStatus::ok(),
                version: "0.1.0".to_owned(),
                leader: Some("sched-2".to_owned()),
                postgres: ServerStatus::ok(),
                rabbitmq: ServerStatus::ok(),
                store: ServerStatus::ok(),
            },
            clusters: vec![cluster("orders-prod", 21_840, RpoState::Ok, 9), late],
            notices: Vec::new(),
            next: Some("ringvault node list -c ref-prod".to_owned()),
        }
    }

    #[test]
    fn notices_that_do_not_arrive_are_told() {
        let plain = Style { stdout: false, stderr: false, live: false };
        let out = Output::new(false, plain, chrono_tz::Tz::UTC);
        let mut fleet = fleet();
        let error = Some("it answered 500\nInternal".to_owned());
        fleet.notices = vec![NoticeTrouble { notifier: "pager".to_owned(), given_up: 3, failing: 1, error }];
        let text = text(&out, &fleet);
        assert!(
            text.contains("\nnotices: pager: 3 given up, 1 failing (it answered 500 Internal)\n"),
            "{text}"
        );
    }

    #[test]
    fn the_table_is_the_published_one() {
        let plain = Style { stdout: false, stderr: false, live: false };
        let out = Output::new(false, plain, chrono_tz::Tz::UTC);
        assert_eq!(
            text(&out, &fleet()),
            "scheduler ok (leader sched-2)  postgres ok  rabbitmq ok  store ok\n\
             CLUSTER      LAST GOOD  RPO       VERIFIED  DRILL  WORKERS  PROBLEM\n\
             orders-prod  6h 04m     ok/24h    2h        9d     9/9      -\n\
             ref-prod     27h 11m    LATE/24h  2h        9d     8/9      ref-04 silent 27h\n\
             Next: ringvault node list -c ref-prod\n"
        );
    }

    #[test]
    fn a_server_that_is_down_says_why() {
        let plain = Style { stdout: false, stderr: false, live: false };
        let mut fleet = fleet();
        fleet.clusters.clear();
        fleet.servers.store = ServerStatus::down("no such bucket");
        let out = Output::new(false, plain, chrono_tz::Tz::UTC);
        assert!(text(&out, &fleet).contains("store down (no such bucket)"));
        fleet.servers.postgres = ServerStatus::down("no answer within 5 s");
        let text = text(&out, &fleet);
        assert!(
            text.contains("postgres down (no answer within 5 s)") && text.contains("not known"),
            "{text}"
        );
    }
}
