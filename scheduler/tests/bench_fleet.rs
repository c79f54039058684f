//! `bench/run fleet`: backups of every cluster of a fleet at once, over a real PostgreSQL and a real
//! RabbitMQ, with schedulers as processes of their own and workers that do nothing but answer.
//!
//! Each cluster's workers share one connection to the broker; each has its own exclusive queue, as a
//! real worker has. A line of JSON with the figures goes to the file `RINGVAULT_BENCH_OUT`.
//!
//! With `RINGVAULT_BENCH_TASKS` it goes on, round by round, until so many tasks are done: each round backs
//! up every cluster and purges the backup of the round before, while history and sent messages are
//! kept for a minute. What that leaves of the tables is measured after each round.

mod support;

use std::{
    collections::HashMap,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use chrono::Utc;
use futures::{StreamExt, stream};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::FieldTable,
};
use ringvault_core::{HostId, TaskId, WorkerId};
use ringvault_queue::{
    Beat, Envelope, Report, TaskMessage,
    message::{NodeStill, TaskOffer},
    topology::{HEARTBEAT_KEY, REPORT_KEY, REPORTS, TASKS, worker_queue},
};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, PgPool};
use support::{Lab, broker::Broker, host, spec, worker::Worker};

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// What a process and those under it have used.
#[derive(Clone, Copy, Default)]
struct Used {
    cpu_seconds: f64,
    memory_mib: f64,
}

/// Sums over the processes of this machine whose command line `is_one` picks, and over those that it
/// picks' children; CPU includes children that have ended.
fn used(is_one: impl Fn(&str) -> bool) -> Used {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let path = entry.path();
        let Ok(line) = std::fs::read(path.join("cmdline")) else { continue };
        let Ok(stat) = std::fs::read_to_string(path.join("stat")) else { continue };
        // Fields after the name, which may hold spaces: the parent is the second; utime, stime, cutime
        // and cstime are the twelfth to the fifteenth.
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace().map(|f| f.parse().unwrap_or(0.0)).collect())
            .unwrap_or_default();
        let pid: f64 = entry.file_name().to_string_lossy().parse().unwrap_or(0.0);
        let picked = is_one(&String::from_utf8_lossy(&line).replace('\0', " "));
        all.push((pid, picked, fields, path));
    }
    let picked: Vec<f64> = all.iter().filter(|process| process.1).map(|process| process.0).collect();
    let mut sum = Used::default();
    for (_, is_picked, fields, path) in all {
        if !is_picked && !fields.get(1).is_some_and(|parent| picked.contains(parent)) {
            continue;
        }
        sum.cpu_seconds += fields.get(11..15).map_or(0.0, |ticks| ticks.iter().sum::<f64>()) / 100.0;
        let pss = std::fs::read_to_string(path.join("smaps_rollup")).unwrap_or_default();
        let kib = pss
            .lines()
            .find_map(|line| line.strip_prefix("Pss:")?.split_whitespace().next()?.parse::<f64>().ok());
        sum.memory_mib += kib.unwrap_or(0.0) / 1024.0;
    }
    sum
}

fn schedulers_used() -> Used {
    let own = format!("{} ", env!("CARGO_BIN_EXE_ringvault-scheduler"));
    used(|line| line.starts_with(&own) && line.contains("bench-"))
}

fn postgres_used() -> Used {
    // Its data lies elsewhere than the lab, which another user may not enter.
    used(|line| line.contains("/bin/postgres ") && line.contains("ringvault-lab"))
}

fn broker_used() -> Used {
    let lab = std::env::var("RINGVAULT_LAB_DIR").unwrap_or_default();
    used(|line| line.contains("beam.smp") && line.contains(&lab))
}

/// A report is kept by the broker, a sign of life is not: the next one comes soon.
async fn send(channel: &Channel, key: &str, body: &[u8]) -> lapin::Result<()> {
    let mode = if key == HEARTBEAT_KEY { 1 } else { 2 };
    let properties = BasicProperties::default().with_delivery_mode(mode);
    channel
        .basic_publish(REPORTS.into(), key.into(), BasicPublishOptions::default(), body, properties)
        .await?;
    Ok(())
}

/// A cluster's workers: announce themselves, each minute again, and do at once what they are granted.
async fn cluster_at_work(url: String, name: String, hosts: Vec<HostId>) -> Connection {
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("the broker");
    let channel = connection.create_channel().await.expect("a channel");
    channel.basic_qos(1000, BasicQosOptions::default()).await.expect("prefetch");
    let declare = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(TASKS.into(), ExchangeKind::Direct, declare, FieldTable::default())
        .await
        .expect("the exchange");
    let (mut consumers, mut hellos, mut stills) = (Vec::new(), HashMap::new(), Vec::new());
    for host in &hosts {
        let worker = Worker::beside(*host);
        let queue = worker_queue(worker.id);
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.expect("a queue");
        let key = worker.id.to_string();
        let bind = QueueBindOptions::default();
        channel
            .queue_bind(queue.as_str().into(), TASKS.into(), key.as_str().into(), bind, FieldTable::default())
            .await
            .expect("bound");
        let consumer = channel
            .basic_consume(
                queue.as_str().into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("a consumer");
        let Beat::Hello(mut hello) = worker.hello(&hosts) else { unreachable!("a hello") };
        hello.cluster = name.parse().expect("a name");
        hello.edition = Some(1);
        let (incarnation, cluster, disk) = (hello.incarnation, hello.cluster.clone(), hello.disk);
        let still = NodeStill { worker: worker.id, incarnation, cluster, edition: 1, disk };
        let beat = |beat| Envelope::new("worker", Utc::now(), beat).to_bytes().expect("small");
        let hello = beat(Beat::Hello(hello));
        send(&channel, HEARTBEAT_KEY, &hello).await.expect("published");
        hellos.insert(worker.id, hello);
        stills.push(beat(Beat::Still(still)));
        consumers.push(consumer.map(move |delivery| (worker.clone(), delivery)));
    }
    let again = channel.clone();
    tokio::spawn(async move {
        let every = Duration::from_mins(1) / u32::try_from(stills.len()).expect("few nodes");
        for still in stills.iter().cycle() {
            tokio::time::sleep(every).await;
            if send(&again, HEARTBEAT_KEY, still).await.is_err() {
                break; // the run is over
            }
        }
    });
    tokio::spawn(async move {
        let mut offers: HashMap<(WorkerId, TaskId), TaskOffer> = HashMap::new();
        let mut messages = stream::select_all(consumers);
        while let Some((worker, Ok(delivery))) = messages.next().await {
            let answer = match Envelope::<TaskMessage>::parse(&delivery.data).expect("a message").body {
                TaskMessage::Offer(offer) => {
                    let started = worker.started(&offer);
                    offers.insert((worker.id, offer.task), offer);
                    Some(started)
                }
                TaskMessage::Grant(grant) => {
                    offers.remove(&(worker.id, grant.task)).map(|offer| worker.succeeded(&offer))
                }
                TaskMessage::Control(_) => None,
                TaskMessage::Describe(_) => {
                    send(&channel, HEARTBEAT_KEY, &hellos[&worker.id]).await.expect("published");
                    None
                }
            };
            if let Some(answer) = answer {
                let report: Envelope<Report> = Envelope::new("worker", Utc::now(), answer);
                send(&channel, REPORT_KEY, &report.to_bytes().expect("small")).await.expect("published");
            }
            delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
        }
    });
    connection
}

/// How long history and sent messages are kept where rounds are run: a few rounds.
const KEPT: &str = "keep = \"1m\"\nkeep_last = 1";

fn scheduler(lab: &Lab, db: &PgPool, broker: &Broker, (n, rounds): (usize, bool)) -> Child {
    let folder = lab.folder();
    let path = folder.display();
    let file = folder.join(format!("bench-{n}.toml"));
    let text = format!(
        "id = \"bench-{n}\"\nlisten = \"127.0.0.1:0\"\n[postgres]\nurl = \"{}\"\n[rabbitmq]\nurl = \"{}\"\n\
         [vault]\nurl = \"file://{path}/vault\"\ndeployment = \"test\"\n\
         [signing]\nkey_file = \"{path}/key\"\n[api]\n\
         admin_token_file = \"{path}/token\"\n{history}[timing]\nworker_silence = \"5m\"\n{sent}",
        db.connect_options().to_url_lossy(),
        broker.url(),
        history = if rounds { format!("[history]\n{KEPT}\n") } else { String::new() },
        sent = if rounds { "keep_sent = \"1m\"\n" } else { "" },
    );
    std::fs::write(&file, text).expect("the configuration");
    std::fs::write(folder.join("token"), support::http::ADMIN).expect("the token");
    let log = std::fs::File::create(folder.join(format!("bench-{n}.log"))).expect("a log");
    Command::new(env!("CARGO_BIN_EXE_ringvault-scheduler"))
        .arg("--config")
        .arg(file)
        .env("RUST_LOG", "warn")
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("a scheduler")
}

async fn figure<T>(db: &PgPool, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(db).await.expect(sql)
}

async fn wait(
    what: &str,
    db: &PgPool,
    running: &mut [Child],
    (sql, wanted): (&'static str, i64),
    patience: Duration,
) {
    let began = Instant::now();
    while figure::<i64>(db, sql).await < wanted {
        for (n, child) in running.iter_mut().enumerate() {
            let ended = child.try_wait().expect("a child");
            assert!(ended.is_none(), "scheduler bench-{n} has ended: {ended:?}");
        }
        assert!(began.elapsed() < patience, "{what}: {} of {wanted}", figure::<i64>(db, sql).await);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The statements that took most of the server's time: milliseconds in all, calls, rows and text.
async fn statements(db: &PgPool) -> Value {
    let rows: Vec<(f64, i64, i64, String)> = sqlx::query_as(
        "select total_exec_time, calls, rows, regexp_replace(query, '\\s+', ' ', 'g') from pg_stat_statements
         where dbid = (select oid from pg_database where datname = current_database())
         order by 1 desc limit 25",
    )
    .fetch_all(db)
    .await
    .expect("pg_stat_statements");
    rows.into_iter()
        .map(|(ms, calls, rows, text)| {
            let text: String = text.chars().take(120).collect();
            json!({"ms": ms.round(), "calls": calls, "rows": rows, "text": text})
        })
        .collect()
}

/// Tables with more than a thousand rows that were read from end to end meanwhile, and how often.
async fn scans(db: &PgPool) -> Value {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select relname::text, seq_scan, coalesce(seq_tup_read, 0) from pg_stat_user_tables
         where n_live_tup > 1000 and seq_tup_read > 0 order by 3 desc",
    )
    .fetch_all(db)
    .await
    .expect("the statistics");
    rows.into_iter()
        .map(|(table, scans, rows)| json!({"table": table, "scans": scans, "rows": rows}))
        .collect()
}

/// The largest tables with their indexes: bytes, and rows as the statistics have them.
async fn tables(db: &PgPool) -> Value {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select c.relname::text, pg_total_relation_size(c.oid), coalesce(s.n_live_tup, 0) from pg_class c
         join pg_namespace n on n.oid = c.relnamespace
         left join pg_stat_user_tables s on s.relid = c.oid
         where n.nspname = 'public' and c.relkind = 'r' order by 2 desc limit 6",
    )
    .fetch_all(db)
    .await
    .expect("the sizes");
    rows.into_iter()
        .map(|(table, bytes, rows)| json!({"table": table, "bytes": bytes, "rows": rows}))
        .collect()
}

/// Tasks that were ever made, those that are forgotten included.
const MADE: &str = "select n_tup_ins from pg_stat_user_tables where relname = 'tasks'";

/// Backups of all clusters and purges of those before, again and again until `wanted` tasks were
/// made. A line for each round.
async fn rounds(lab: &Lab, db: &PgPool, running: &mut [Child], clusters: usize, wanted: i64) -> Vec<Value> {
    let mut lines = Vec::new();
    let mut made = figure::<i64>(db, MADE).await;
    for round in 1.. {
        let began = Instant::now();
        for c in 0..clusters {
            let backup = json!({"kind": "backup", "cluster": format!("c{c}"), "name": format!("b{round}")});
            lab.submit(spec(backup), &format!("k{c}-{round}")).await;
            let before = if round == 1 { "b".to_owned() } else { format!("b{}", round - 1) };
            let purge = json!({"kind": "purge", "cluster": format!("c{c}"), "backups": [before]});
            lab.submit(spec(purge), &format!("p{c}-{round}")).await;
        }
        lab.ctx.wake.all();
        let over = "select (1 - least(count(*), 1))::bigint from jobs where ended_at is null";
        wait("a round", db, running, (over, 1), Duration::from_secs(900)).await;
        let failed = "select count(*) from jobs where state <> 'succeeded'";
        assert_eq!(figure::<i64>(db, failed).await, 0);
        let before = std::mem::replace(&mut made, figure::<i64>(db, MADE).await);
        let line = json!({
            "round": round, "seconds": began.elapsed().as_secs_f64(), "tasks": made - before, "made": made,
            "jobs": figure::<i64>(db, "select count(*) from jobs").await, "tables": tables(db).await,
        });
        println!("{line}");
        lines.push(line);
        if made >= wanted {
            break;
        }
    }
    lines
}

#[sqlx::test(migrations = "../migrations")]
#[ignore = "a benchmark: bench/run fleet"]
async fn fleet(db: PgPool) {
    let (nodes, clusters) = (number("RINGVAULT_BENCH_NODES", 100), number("RINGVAULT_BENCH_CLUSTERS", 50));
    let clusters = clusters.min(nodes);
    let schedulers = number("RINGVAULT_BENCH_SCHEDULERS", 2);
    let wanted = number("RINGVAULT_BENCH_TASKS", 0);
    let broker = Broker::new();
    let lab = Lab::with(db.clone(), "bench", &broker.config(), "").await;
    assert!(lab.ctx.queue.connected().await);
    let mut running: Vec<Child> =
        (0..schedulers).map(|n| scheduler(&lab, &db, &broker, (n, wanted > 0))).collect();
    let count = i64::try_from(nodes).expect("a number");

    let began = Instant::now();
    let per_cluster = nodes / clusters;
    let connections: Vec<Connection> = stream::iter(0..clusters)
        .map(|c| {
            let hosts: Vec<HostId> = (0..per_cluster).map(|n| host(1 + c * per_cluster + n)).collect();
            cluster_at_work(broker.url().to_owned(), format!("c{c}"), hosts)
        })
        .buffer_unordered(8)
        .collect()
        .await;
    let count = count - count % i64::try_from(clusters).expect("a number");
    let announced = "select count(*) from workers w where host_id is not null";
    wait("announced", &db, &mut running, (announced, count), Duration::from_secs(900)).await;
    let announce_seconds = began.elapsed().as_secs_f64();

    sqlx::query("create extension if not exists pg_stat_statements")
        .execute(&db)
        .await
        .expect("the extension");
    sqlx::query("select pg_stat_reset()").execute(&db).await.expect("reset");
    sqlx::query("select pg_stat_statements_reset()").execute(&db).await.expect("reset");
    let before = (schedulers_used(), postgres_used(), broker_used());
    let began = Instant::now();
    for c in 0..clusters {
        let job = json!({"kind": "backup", "cluster": format!("c{c}"), "name": "b"});
        lab.submit(spec(job), &format!("k{c}")).await;
    }
    lab.ctx.wake.all();
    let over = "select count(*) from jobs where state = 'succeeded'";
    let jobs = i64::try_from(clusters).expect("a number");
    wait("backups", &db, &mut running, (over, jobs), Duration::from_secs(1800)).await;
    let seconds = began.elapsed().as_secs_f64();
    let after = (schedulers_used(), postgres_used(), broker_used());

    let tasks: i64 = figure(&db, "select count(*) from tasks where state = 'succeeded'").await;
    let waits: Vec<(f64, f64, f64)> = sqlx::query_as(
        "select percentile_cont(0.5) within group (order by s), percentile_cont(0.99) within group (order by s),
             max(s)
         from (select extract(epoch from started_at - created_at)::float8 as s from tasks) t",
    )
    .fetch_all(&db)
    .await
    .expect("the waits");
    let again: i64 = figure(&db, "select coalesce(sum(epoch - 1), 0)::bigint from tasks").await;
    let part = |before: Used, after: Used| json!({"cpu_seconds": after.cpu_seconds - before.cpu_seconds, "memory_mib": after.memory_mib.round()});
    #[allow(clippy::cast_precision_loss)] // counts of tasks
    let rate = tasks as f64 / seconds;
    let mut result = json!({
        "nodes": count, "clusters": clusters, "schedulers": schedulers, "tasks": tasks, "seconds": seconds,
        "tasks_per_second": rate, "announce_seconds": announce_seconds, "placed_again": again,
        "start_seconds": {"p50": waits[0].0, "p99": waits[0].1, "max": waits[0].2},
        "scheduler": part(before.0, after.0), "postgres": part(before.1, after.1),
        "rabbitmq": part(before.2, after.2),
        "tables": tables(&db).await,
        "scans": scans(&db).await, "statements": statements(&db).await,
        "profile": if cfg!(debug_assertions) { "debug" } else { "release" },
    });
    if wanted > 0 {
        println!("{result}");
        let wanted = i64::try_from(wanted).expect("a number");
        result["rounds"] = rounds(&lab, &db, &mut running, clusters, wanted).await.into();
    }
    println!("{result}");
    if let Ok(file) = std::env::var("RINGVAULT_BENCH_OUT") {
        std::fs::write(file, format!("{result}\n")).expect("written");
    }
    for child in &mut running {
        child.kill().expect("ended");
        child.wait().expect("ended");
    }
    for connection in connections {
        connection.close(200, "done".into()).await.expect("closed");
    }
    lab.ctx.queue.close().await;
}
