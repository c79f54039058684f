//! Exchanges and queues, and who declares them.
//!
//! A scheduler declares everything. A worker declares only its own queue, so its broker user needs
//! no more than [`WORKER_CONFIGURE`], [`WORKER_WRITE`] and [`WORKER_READ`].
//!
//! The arguments of a queue are fixed for ever: to declare one again with others is an error
//! (`PRECONDITION_FAILED`). Whoever needs other bounds sets a policy in the broker.

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use ringvault_core::WorkerId;

use crate::session::{Problem, Role};

/// Requests of other systems (topic; routing key: the message's type).
pub const REQUESTS: &str = "ringvault.requests";
/// Tasks, grants and control (direct; routing key: the worker's id).
pub const TASKS: &str = "ringvault.tasks";
/// Exchange of all that workers say (direct; [`REPORT_KEY`] or [`HEARTBEAT_KEY`]), and queue of
/// what changes a task's state.
pub const REPORTS: &str = "ringvault.reports";
/// Queue of progress and hellos.
pub const HEARTBEATS: &str = "ringvault.heartbeats";
/// Events for other systems (topic; routing key: type, dot, cluster).
pub const EVENTS: &str = "ringvault.events";
/// What could not be read, with its reason.
pub const DEAD: &str = "ringvault.dead";
/// A copy of what goes there, for counting: whoever put it there, a scheduler, a worker or the broker.
pub const DEAD_COUNT: &str = "ringvault.dead.count";

/// Routing key of what changes a task's state.
pub const REPORT_KEY: &str = "report";
/// Routing key of progress and hellos.
pub const HEARTBEAT_KEY: &str = "heartbeat";

/// What a worker's broker user may configure.
pub const WORKER_CONFIGURE: &str = r"^ringvault\.worker\..*";
/// What a worker's broker user may write: its queue (to bind it), reports, and the dead queue.
pub const WORKER_WRITE: &str = r"^ringvault\.(worker\..*|reports|dead)$";
/// What a worker's broker user may read: its queue, and the tasks exchange (to bind to it).
pub const WORKER_READ: &str = r"^ringvault\.(worker\..*|tasks)$";

/// Oldest heartbeat kept, in milliseconds: older ones would only delay what a scheduler that was
/// away has to hear.
const HEARTBEAT_TTL_MS: i32 = 120_000;
/// Most heartbeats kept; the oldest go first.
const HEARTBEAT_LIMIT: i32 = 100_000;
/// Most bytes of heartbeats kept; hellos of a large ring are large.
const HEARTBEAT_BYTES: i32 = 256 * 1024 * 1024;
/// Deliveries of one message before it goes to the dead queue: a message that kills its reader must
/// not do so for ever. Said outright because RabbitMQ 4 has a default of 20 and 3 has none.
const DELIVERY_LIMIT: i32 = 100;
/// Most dead messages kept; the oldest go first.
const DEAD_LIMIT: i32 = 100_000;
/// Most bytes of dead messages kept.
const DEAD_BYTES: i32 = 512 * 1024 * 1024;

/// What the name of every worker's queue begins with.
pub const WORKER_QUEUES: &str = "ringvault.worker.";

/// The queue of a worker.
pub fn worker_queue(worker: WorkerId) -> String {
    format!("{WORKER_QUEUES}{worker}")
}

/// Declares what `role` has to declare.
pub(crate) async fn declare(channel: &Channel, role: &Role) -> Result<(), Problem> {
    match role {
        Role::Scheduler => declare_all(channel).await,
        Role::Worker(worker) => declare_worker(channel, *worker).await,
        Role::Client => Ok(()),
    }
}

async fn declare_all(channel: &Channel) -> Result<(), Problem> {
    for (name, kind) in [
        (REQUESTS, ExchangeKind::Topic),
        (TASKS, ExchangeKind::Direct),
        (REPORTS, ExchangeKind::Direct),
        (EVENTS, ExchangeKind::Topic),
        (DEAD, ExchangeKind::Fanout),
    ] {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel
            .exchange_declare(name.into(), kind, options, FieldTable::default())
            .await
            .map_err(|error| Problem::of(format!("declare the exchange {name}"), &error))?;
    }
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    declare_queue(channel, DEAD, durable, &dead_arguments()).await?;
    declare_queue(channel, DEAD_COUNT, durable, &dead_arguments()).await?;
    declare_queue(channel, REQUESTS, durable, &stateful_arguments()).await?;
    declare_queue(channel, REPORTS, durable, &stateful_arguments()).await?;
    declare_queue(channel, HEARTBEATS, durable, &heartbeat_arguments()).await?;

    bind(channel, DEAD, DEAD, "").await?;
    bind(channel, DEAD_COUNT, DEAD, "").await?;
    bind(channel, REQUESTS, REQUESTS, "#").await?;
    bind(channel, REPORTS, REPORTS, REPORT_KEY).await?;
    bind(channel, HEARTBEATS, REPORTS, HEARTBEAT_KEY).await
}

/// Exclusive, so it goes with the worker's connection: a worker that is away gets no stale message,
/// and a second worker with the same id is refused (`RESOURCE_LOCKED`).
async fn declare_worker(channel: &Channel, worker: WorkerId) -> Result<(), Problem> {
    let queue = worker_queue(worker);
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    // Said outright: a vhost may have another default, and only classic queues can be exclusive.
    let arguments = table(&[("x-queue-type", "classic".into())]);
    declare_queue(channel, &queue, options, &arguments).await?;
    bind(channel, &queue, TASKS, &worker.to_string()).await
}

/// For what changes state: replicated; what is refused reaches the dead queue at least once.
fn stateful_arguments() -> FieldTable {
    table(&[
        ("x-queue-type", "quorum".into()),
        ("x-dead-letter-exchange", DEAD.into()),
        ("x-dead-letter-strategy", "at-least-once".into()),
        ("x-overflow", "reject-publish".into()),
        ("x-delivery-limit", DELIVERY_LIMIT.into()),
    ])
}

fn heartbeat_arguments() -> FieldTable {
    table(&[
        ("x-queue-type", "classic".into()),
        ("x-message-ttl", HEARTBEAT_TTL_MS.into()),
        ("x-max-length", HEARTBEAT_LIMIT.into()),
        ("x-max-length-bytes", HEARTBEAT_BYTES.into()),
    ])
}

fn dead_arguments() -> FieldTable {
    table(&[
        ("x-queue-type", "quorum".into()),
        ("x-max-length", DEAD_LIMIT.into()),
        ("x-max-length-bytes", DEAD_BYTES.into()),
    ])
}

/// An argument's value: text or number.
enum Argument {
    Text(&'static str),
    Number(i32),
}

impl From<&'static str> for Argument {
    fn from(text: &'static str) -> Self {
        Self::Text(text)
    }
}

impl From<i32> for Argument {
    fn from(number: i32) -> Self {
        Self::Number(number)
    }
}

fn table(arguments: &[(&'static str, Argument)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString((*text).into()),
            Argument::Number(number) => AMQPValue::LongInt(*number),
        };
        table.insert((*name).into(), value);
    }
    table
}

async fn declare_queue(
    channel: &Channel,
    queue: &str,
    options: QueueDeclareOptions,
    arguments: &FieldTable,
) -> Result<(), Problem> {
    channel
        .queue_declare(queue.into(), options, arguments.clone())
        .await
        .map(|_| ())
        .map_err(|error| Problem::of(format!("declare the queue {queue}"), &error))
}

async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), Problem> {
    channel
        .queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(|error| Problem::of(format!("bind the queue {queue} to the exchange {exchange}"), &error))
}
