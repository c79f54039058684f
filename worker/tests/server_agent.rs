//! The worker's side of the protocol on a real RabbitMQ, with a scheduler played by the test. The
//! node beside the worker is an address at which nobody ever answers.

use std::{
    io::Write as _,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use chrono::Utc;
use ringvault_core::{
    BackupName, ClusterName, ErrorClass, JobId, TaskId,
    cluster::RequiredCoverage,
    job::{BackupMode, StageKind},
    selection::Selection,
    task::{MarkTask, ReleaseTask, SnapshotTask, TaskPayload},
};
use ringvault_queue::{
    Beat, Consumer, Envelope, KeyRing, Publish, Report, Role, Session, TaskMessage,
    message::{Control, NodeDescribe, StopReason, TaskControl, TaskGrant, TaskOffer, TaskStarted},
    topology,
};
use ringvault_vault::Vault;
use ringvault_worker::{
    agent::Agent,
    config::WorkerConfig,
    executor::Executor,
    identity::Identity,
    metrics::{Answering, Listener},
    node::Node,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Long enough for a slow machine; nothing waits so long when all is well.
const PATIENCE: Duration = Duration::from_mins(1);
/// In which nothing is to come.
const QUIET: Duration = Duration::from_secs(2);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: this test needs a real RabbitMQ, run it with dev/test")
    })
}

fn rabbitmqctl(arguments: &[&str]) {
    let line = variable("RINGVAULT_TEST_RABBITMQCTL");
    let mut words = line.split_whitespace();
    let program = words.next().expect("RINGVAULT_TEST_RABBITMQCTL is a command line");
    let output = Command::new(program).args(words).args(arguments).output().expect("rabbitmqctl");
    assert!(output.status.success(), "rabbitmqctl {arguments:?}: {output:?}");
}

/// A worker with a broker of its own, and the scheduler's side of its queues.
struct Stage {
    vhost: String,
    scheduler: Session,
    reports: Consumer,
    beats: Consumer,
    keys: KeyRing,
    identity: Arc<Identity>,
    worker: Session,
    shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
    http: SocketAddr,
    _answering: Answering,
    _folder: tempfile::TempDir,
    /// Accepts, and never says a word.
    _node: TcpListener,
}

impl Stage {
    async fn set() -> Self {
        let vhost = format!("worker-test-{}", Uuid::now_v7());
        rabbitmqctl(&["add_vhost", &vhost]);
        let mut url: url::Url = variable("RINGVAULT_TEST_AMQP_URL").parse().expect("an AMQP URL");
        let user = if url.username().is_empty() { "guest".to_owned() } else { url.username().to_owned() };
        rabbitmqctl(&["set_permissions", "-p", &vhost, &user, ".*", ".*", ".*"]);
        url.set_path(&vhost);

        let folder = tempfile::tempdir().unwrap();
        let node = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = config(folder.path(), url.as_str(), node.local_addr().unwrap().port());
        Vault::init(&config.vault, "test").await.unwrap();
        let vault = Vault::open(&config.vault).await.unwrap();
        let identity = Arc::new(Identity::claim(&config.state_dir).unwrap());
        let keys = || KeyRing::from_secret(vec![7; 32]);

        let scheduler = Session::start(&config.rabbitmq, Role::Scheduler, "scheduler").unwrap();
        assert!(scheduler.connected().await);
        let reports = scheduler.consume(topology::REPORTS, 64);
        let beats = scheduler.consume(topology::HEARTBEATS, 64);
        let worker = Session::start(&config.rabbitmq, Role::Worker(identity.worker), "worker").unwrap();
        let inbox = worker.consume(topology::worker_queue(identity.worker), 32);
        assert!(worker.connected().await);
        let node_control = Node::new(&config.cassandra, &config.state_dir).unwrap();
        let executor = Arc::new(Executor::new(config, node_control, vault));
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let http = listener.address();
        let answering = listener.answer(Arc::clone(&executor), worker.state());
        let shutdown = CancellationToken::new();
        let running = {
            let (session, stop) = (worker.clone(), shutdown.clone());
            let identity = Arc::clone(&identity);
            tokio::spawn(async move {
                Agent::run(session, &identity, keys(), executor, inbox, stop).await;
            })
        };
        let keys = keys();
        Self {
            vhost,
            scheduler,
            reports,
            beats,
            keys,
            identity,
            worker,
            shutdown,
            running: Some(running),
            http,
            _answering: answering,
            _folder: folder,
            _node: node,
        }
    }

    async fn tell(&self, message: TaskMessage) {
        let envelope = Envelope::new("scheduler/test", Utc::now(), message);
        let publish = Publish::to_worker(self.identity.worker, &envelope).unwrap().sign(&self.keys);
        self.scheduler.publish_within(&publish, PATIENCE).await.unwrap();
    }

    async fn report(&mut self) -> Report {
        let report = tokio::time::timeout(PATIENCE, self.reports.next()).await.expect("a report");
        let delivery = report.expect("an open session");
        let report = delivery.parse::<Report>().unwrap().body;
        delivery.ack().await.unwrap();
        report
    }

    async fn started(&mut self) -> TaskStarted {
        match self.report().await {
            Report::Started(started) => started,
            other => panic!("{other:?}"),
        }
    }

    async fn nothing_is_reported(&mut self) {
        let report = tokio::time::timeout(QUIET, self.reports.next()).await;
        assert!(report.is_err(), "{:?}", report.unwrap().unwrap().parse::<Report>());
    }

    async fn beat(&mut self) -> Beat {
        let beat = tokio::time::timeout(PATIENCE, self.beats.next()).await.expect("a sign of life");
        let delivery = beat.expect("an open session");
        let beat = delivery.parse::<Beat>().unwrap().body;
        delivery.ack().await.unwrap();
        beat
    }

    async fn goodbye(&mut self) {
        while !matches!(self.beat().await, Beat::Goodbye(_)) {}
    }

    /// What the worker answers at a path: its status and its body.
    async fn http(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The sum of a metric's series.
    async fn metric(&self, name: &str) -> f64 {
        let page = self.http("/metrics").await.1;
        let series =
            page.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{')));
        series.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Waits until the worker has ended.
    async fn ended(&mut self) {
        if let Some(running) = self.running.take() {
            running.await.unwrap();
        }
    }

    async fn end(mut self) {
        self.shutdown.cancel();
        self.ended().await;
        self.worker.close().await;
        self.scheduler.close().await;
        rabbitmqctl(&["delete_vhost", &self.vhost]);
    }
}

fn config(folder: &Path, amqp: &str, node: u16) -> WorkerConfig {
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let url_file = file("amqp", amqp);
    let key_file = file("key", &"07".repeat(32));
    let text = format!(
        "cluster = \"c\"\nstate_dir = \"{state}\"\n[rabbitmq]\nurl_file = \"{amqp}\"\n\
         [worker]\nhello_seconds = 5\n[vault]\nurl = \"file://{vault}\"\ndeployment = \"test\"\n[signing]\nkey_file = \"{key}\"\n\
         [cassandra]\ncql = \"127.0.0.1:{node}\"\ncontrol = \"jolokia\"\n\
         jolokia_url = \"http://127.0.0.1:{node}/jolokia/\"\nquestion_timeout_seconds = 3\n",
        state = folder.join("state").display(),
        amqp = url_file.display(),
        key = key_file.display(),
        vault = folder.join("vault").display(),
    );
    WorkerConfig::from_file(&file("worker.toml", &text)).unwrap()
}

fn offer(epoch: u32, grant_within_seconds: u32, payload: TaskPayload) -> TaskOffer {
    TaskOffer {
        task: TaskId::generate(),
        job: JobId::generate(),
        stage: StageKind::Snapshot,
        epoch,
        dispatch_seq: 1,
        grant_within_seconds,
        deadline: None,
        request_limit: None,
        payload,
    }
}

/// Ends at once: without a node nothing was left beside one.
fn release() -> TaskPayload {
    TaskPayload::Release(ReleaseTask {
        job: JobId::generate(),
        abort: None,
        auth_copies: false,
        drill: false,
    })
}

/// Waits for the node, which does not answer.
fn snapshot() -> TaskPayload {
    TaskPayload::Snapshot(SnapshotTask {
        job: JobId::generate(),
        cluster: ClusterName::new("c").unwrap(),
        backup: BackupName::new("b").unwrap(),
        started_at: Utc::now(),
        selection: Selection::default(),
        mode: BackupMode::default(),
        coverage: RequiredCoverage::default(),
        policy: None,
        tags: std::collections::BTreeMap::new(),
        lock_seconds: None,
    })
}

/// Asks the vault for much: twice a backup.
fn mark(backups: usize) -> TaskPayload {
    TaskPayload::Mark(MarkTask {
        job: JobId::generate(),
        cluster: ClusterName::new("c").unwrap(),
        expire: Vec::new(),
        dead: (0..backups).map(|n| BackupName::new(format!("b{n}")).unwrap()).collect(),
    })
}

fn grant(started: &TaskStarted) -> TaskGrant {
    TaskGrant {
        task: started.task,
        epoch: started.epoch,
        dispatch_seq: started.dispatch_seq,
        lease_seconds: 30,
        nonce: started.nonce,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_offer_and_its_grant_begin_nothing_twice() {
    let mut stage = Stage::set().await;
    let offer = offer(1, 30, release());
    stage.tell(TaskMessage::Offer(offer.clone())).await;
    let started = stage.started().await;
    let unasked = TaskGrant { nonce: Some(Uuid::new_v4()), ..grant(&started) };
    stage.tell(TaskMessage::Grant(unasked)).await;
    stage.nothing_is_reported().await;
    stage.tell(TaskMessage::Grant(grant(&started))).await;
    let ended = stage.report().await;
    assert!(matches!(ended, Report::Failed(_) | Report::Succeeded(_)), "{ended:?}");
    // Somebody kept both and sends them again.
    stage.tell(TaskMessage::Offer(offer)).await;
    stage.tell(TaskMessage::Grant(grant(&started))).await;
    stage.nothing_is_reported().await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_said_once_and_again_when_it_is_asked_for() {
    let mut stage = Stage::set().await;
    let Beat::Hello(first) = stage.beat().await else { panic!("a hello") };
    let Beat::Still(still) = stage.beat().await else { panic!("nothing is new") };
    assert_eq!((Some(still.edition), still.worker), (first.edition, stage.identity.worker));
    stage.tell(TaskMessage::Describe(NodeDescribe { worker: still.worker, edition: still.edition })).await;
    let Beat::Hello(again) = stage.beat().await else { panic!("a hello") };
    assert_eq!(again, ringvault_queue::message::NodeHello { disk: again.disk, ..first });
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_worker_cannot_read_goes_to_the_dead_queue_and_blocks_nothing() {
    let mut stage = Stage::set().await;
    let offer = TaskMessage::Offer(offer(1, 30, release()));
    let good = Envelope::new("scheduler/test", Utc::now(), offer.clone());
    let good = Publish::to_worker(stage.identity.worker, &good).unwrap();
    let text = String::from_utf8(good.body.clone()).unwrap();
    let bad = ["{oops".to_owned(), text.replace("\"version\":1,", "\"version\":7,")];
    for body in &bad {
        let bad = Publish { body: body.clone().into_bytes(), ..good.clone() }.sign(&stage.keys);
        stage.scheduler.publish_within(&bad, PATIENCE).await.unwrap();
    }
    stage.tell(offer).await;
    stage.started().await;
    let mut dead = stage.scheduler.consume(topology::DEAD, 8);
    for body in &bad {
        let delivery = tokio::time::timeout(PATIENCE, dead.next()).await.expect("a dead message").unwrap();
        assert_eq!(&delivery.body, body.as_bytes());
        let obituary = delivery.obituary();
        assert!(obituary.code.starts_with("RV-MSG-"), "{obituary:?}");
        assert_eq!(obituary.queue, topology::worker_queue(stage.identity.worker));
        delivery.ack().await.unwrap();
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_comes_too_late_is_handed_back() {
    let mut stage = Stage::set().await;
    let offer = offer(3, 1, release());
    stage.tell(TaskMessage::Offer(offer.clone())).await;
    let started = stage.started().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    stage.tell(TaskMessage::Grant(grant(&started))).await;
    match stage.report().await {
        Report::Stopped(stopped) => {
            assert_eq!((stopped.task, stopped.epoch, stopped.reason), (offer.task, 3, StopReason::Gone));
        }
        other => panic!("{other:?}"),
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_shutdown_goodbye_is_said_first_and_what_runs_is_handed_back() {
    let mut stage = Stage::set().await;
    let running = offer(1, 30, snapshot());
    stage.tell(TaskMessage::Offer(running.clone())).await;
    let started = stage.started().await;
    stage.tell(TaskMessage::Grant(grant(&started))).await;
    // It has begun once a later offer is answered: one queue, in order.
    stage.tell(TaskMessage::Offer(offer(1, 30, release()))).await;
    stage.started().await;
    let began = Instant::now();
    stage.shutdown.cancel();
    stage.goodbye().await;
    let late = offer(1, 30, release());
    stage.tell(TaskMessage::Offer(late.clone())).await;
    let mut handed_back = Vec::new();
    while handed_back.len() < 2 {
        match stage.report().await {
            Report::Stopped(stopped) => handed_back.push(stopped.task),
            // The node has refused before the end of its patience.
            Report::Failed(failed) if failed.task == running.task => {
                assert_ne!(failed.error.class, ErrorClass::Permanent);
                handed_back.push(failed.task);
            }
            other => panic!("{other:?}"),
        }
    }
    handed_back.sort();
    let mut expected = [running.task, late.task];
    expected.sort();
    assert_eq!(handed_back, expected);
    stage.ended().await;
    assert!(began.elapsed() < Duration::from_secs(28), "{:?}", began.elapsed());
    stage.end().await;
}

fn promtool_takes(page: &str) {
    let program = std::env::var("RINGVAULT_TEST_PROMTOOL")
        .expect("RINGVAULT_TEST_PROMTOOL is not set: this test needs promtool, run it with dev/test");
    let mut command = Command::new(program);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("promtool runs");
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success() && said.is_empty(), "{said}in {page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_tells_prometheus_what_it_did() {
    let mut stage = Stage::set().await;
    assert_eq!(stage.http("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(stage.http("/readyz").await, (200, "connected\n".to_owned()));
    assert_eq!(stage.http("/v1/status").await.0, 404);
    let (status, before) = stage.http("/metrics").await;
    assert_eq!(status, 200);
    promtool_takes(&before);
    assert!(!before.contains("worker_tasks_running{"), "nothing has run: {before}");

    // One ends, the other waits for a node that does not answer.
    stage.tell(TaskMessage::Offer(offer(1, 30, release()))).await;
    let started = stage.started().await;
    stage.tell(TaskMessage::Grant(grant(&started))).await;
    let ended = stage.report().await;
    let result = if matches!(ended, Report::Succeeded(_)) { "succeeded" } else { "failed" };
    let waiting = TaskOffer { stage: StageKind::Upload, ..offer(1, 30, snapshot()) };
    stage.tell(TaskMessage::Offer(waiting)).await;
    let started = stage.started().await;
    stage.tell(TaskMessage::Grant(grant(&started))).await;
    let wanted = [
        format!("worker_tasks_total{{cluster=\"c\",kind=\"snapshot\",result=\"{result}\"}} 1"),
        "worker_tasks_running{cluster=\"c\",kind=\"snapshot\"} 0".to_owned(),
        "worker_tasks_running{cluster=\"c\",kind=\"upload\"} 1".to_owned(),
        "worker_connected{cluster=\"c\"} 1".to_owned(),
        // That the vault was opened.
        "store_requests_total{cluster=\"c\",kind=\"get\",result=\"ok\"} 1".to_owned(),
    ];
    let until = Instant::now() + PATIENCE;
    let page = loop {
        let page = stage.http("/metrics").await.1;
        let is_told = |line: &String| page.lines().any(|told| told.strip_prefix("ringvault_") == Some(line));
        if wanted.iter().all(is_told) {
            break page;
        }
        assert!(Instant::now() < until, "{wanted:?} in\n{page}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    promtool_takes(&page);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_keeps_to_its_requests_a_second_until_it_is_told_otherwise() {
    const REQUESTS: &str = "ringvault_store_requests_total";
    let mut stage = Stage::set().await;
    let slow = TaskOffer { stage: StageKind::Mark, request_limit: Some(10), ..offer(1, 60, mark(150)) };
    stage.tell(TaskMessage::Offer(slow)).await;
    let started = stage.started().await;
    let before = stage.metric(REQUESTS).await;
    let began = Instant::now();
    stage.tell(TaskMessage::Grant(grant(&started))).await;
    let mut asked = 0.0;
    while began.elapsed() < Duration::from_secs(4) {
        asked = stage.metric(REQUESTS).await - before;
        let most = began.elapsed().as_secs_f64() * 10.0 + 11.0;
        assert!(asked <= most, "{asked} requests in {:?}", began.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(asked >= 15.0, "nor does it hold back more than it has to: {asked} requests in four seconds");
    let held_back = stage.metric("ringvault_throttled_requests_seconds_total").await;
    assert!((2.0..5.0).contains(&held_back), "{held_back}");

    let unlimited = Control::SetRateLimit { bytes_per_second: None, requests_per_second: None };
    let told = TaskControl { task: started.task, epoch: started.epoch, action: unlimited };
    stage.tell(TaskMessage::Control(told)).await;
    let ended = stage.report().await;
    assert!(matches!(ended, Report::Succeeded(_)), "{ended:?}");
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "thirty seconds at the former pace: {:?}",
        began.elapsed()
    );
    assert!(stage.metric(REQUESTS).await - before >= 300.0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_its_turn_at_the_store_holds_up_no_shutdown() {
    let mut stage = Stage::set().await;
    let slow = TaskOffer { stage: StageKind::Mark, request_limit: Some(1), ..offer(1, 60, mark(150)) };
    stage.tell(TaskMessage::Offer(slow)).await;
    let started = stage.started().await;
    stage.tell(TaskMessage::Grant(grant(&started))).await;
    let until = Instant::now() + PATIENCE;
    while stage.metric("ringvault_throttled_requests_seconds_total").await < 0.5 {
        assert!(Instant::now() < until, "it does not wait");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let began = Instant::now();
    stage.shutdown.cancel();
    match stage.report().await {
        Report::Stopped(stopped) => assert_eq!(stopped.task, started.task),
        other => panic!("{other:?}"),
    }
    stage.ended().await;
    assert!(began.elapsed() < Duration::from_secs(28), "{:?}", began.elapsed());
    stage.end().await;
}
