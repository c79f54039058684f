//! Builds a connection and all that stands on it, watches over it, and does so again.

use std::time::Duration;

use chrono::Utc;
use futures::StreamExt;
use lapin::{
    AsyncTcpStream, Channel, Connection, ConnectionProperties, Event, options::ConfirmSelectOptions,
    runtime::default_runtime, tcp::RustlsConnector, types::ShortString,
};
use ringvault_tls::ClientTls;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinHandle, JoinSet},
    time::{Instant, MissedTickBehavior},
};

use super::{
    Problem, Role, Session, SessionState,
    backoff::Backoff,
    consumer::{self, Ended, Subscription},
    publisher,
};
use crate::{config::Endpoint, topology};

/// To connect and declare may take so long together.
const SETUP_TIMEOUT: Duration = Duration::from_secs(30);
/// A connection that has worked for so long was a good one: the backoff begins anew.
const GOOD_AFTER: Duration = Duration::from_secs(30);
/// Between two looks at whether connection and channel still are what they were.
const LOOK: Duration = Duration::from_secs(1);
/// The broker's answer to a close is awaited for so long.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// Messages that may wait for the publisher.
const OUTBOX: usize = 1024;

/// Why a connection's work ended.
enum End {
    /// The session is being closed.
    Stopped,
    /// Something broke.
    Broken(Problem),
}

impl From<Problem> for End {
    fn from(problem: Problem) -> Self {
        Self::Broken(problem)
    }
}

/// Keeps one session connected.
pub(super) struct Supervisor {
    session: Session,
    endpoint: Endpoint,
    role: Role,
    name: String,
    new_subscriptions: mpsc::UnboundedReceiver<Subscription>,
    subscriptions: Vec<Subscription>,
}

/// What stands on one connection.
struct Live {
    publisher: Channel,
    publishing: JoinHandle<Problem>,
    consumers: JoinSet<Ended>,
}

impl Supervisor {
    pub(super) fn new(
        session: Session,
        endpoint: Endpoint,
        role: Role,
        name: String,
        new_subscriptions: mpsc::UnboundedReceiver<Subscription>,
    ) -> Self {
        Self { session, endpoint, role, name, new_subscriptions, subscriptions: Vec::new() }
    }

    /// Runs until the session is closed.
    pub(super) async fn run(mut self) {
        let stop = self.session.shared.stop.clone();
        let mut backoff = Backoff::default();
        loop {
            let begun = Instant::now();
            let problem = match self.serve().await {
                End::Stopped => break,
                End::Broken(problem) => problem,
            };
            if begun.elapsed() > GOOD_AFTER + SETUP_TIMEOUT {
                backoff.reset();
            }
            self.report(problem);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(backoff.next(rand::random())) => {}
            }
        }
        self.session.shared.state.send_replace(SessionState::Closed);
        tracing::debug!(broker = %self.endpoint, "queue session closed");
    }

    /// One connection, from its making to its end.
    async fn serve(&mut self) -> End {
        let stop = self.session.shared.stop.clone();
        let connection = tokio::select! {
            () = stop.cancelled() => return End::Stopped,
            connection = self.connect() => match connection {
                Ok(connection) => connection,
                Err(problem) => return End::Broken(problem),
            },
        };
        let end = match self.build(&connection).await {
            Ok(mut live) => {
                let end = self.watch(&connection, &mut live).await;
                self.session.shared.publisher.send_replace(None);
                live.consumers.shutdown().await;
                // What is in flight gets its own verdict: that the broker refused it, or took it.
                if !live.publishing.is_finished() {
                    let _ = tokio::time::timeout(CLOSE_TIMEOUT, &mut live.publishing).await;
                    live.publishing.abort();
                }
                end
            }
            Err(problem) => End::Broken(problem),
        };
        // In good order where it still answers: a worker's queue is free again at once.
        let closing = connection.close(200, "closing".into());
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, closing).await;
        end
    }

    async fn connect(&self) -> Result<Connection, Problem> {
        let doing = format!("connect to the broker at {}", self.endpoint);
        let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let connected = tokio::time::timeout(SETUP_TIMEOUT, async {
            match &self.endpoint.tls {
                None => Connection::connect_uri(self.endpoint.uri.clone(), properties)
                    .await
                    .map_err(|error| Problem::of(&doing, &error)),
                Some(tls) => Box::pin(self.connect_by_tls(tls, properties, &doing)).await,
            }
        });
        connected.await.unwrap_or_else(|_| Err(Problem::Unreachable { doing, cause: timed_out() }))
    }

    /// The files are read for each connection, so renewed certificates need no restart.
    async fn connect_by_tls(
        &self,
        tls: &ClientTls,
        properties: ConnectionProperties,
        doing: &str,
    ) -> Result<Connection, Problem> {
        let config = tls.config().map_err(|error| Problem::Unreachable {
            doing: doing.to_owned(),
            cause: format!("rabbitmq.tls: {error}"),
        })?;
        let failed = |error: lapin::Error| Problem::of(doing, &error);
        let runtime = default_runtime().map_err(failed)?;
        let connector = RustlsConnector::from(config);
        let connecting = Connection::connector(
            self.endpoint.uri.clone(),
            runtime,
            async move |uri, runtime| {
                let host = uri.authority.host.as_str();
                let addresses: Vec<_> = tokio::net::lookup_host((host, uri.authority.port)).await?.collect();
                let plain = AsyncTcpStream::connect(&runtime, addresses).await?;
                Ok(plain.into_rustls(&connector, host).await?)
            },
            properties,
        );
        connecting.await.map_err(failed)
    }

    /// Topology, publisher and consumers.
    async fn build(&mut self, connection: &Connection) -> Result<Live, Problem> {
        while let Ok(subscription) = self.new_subscriptions.try_recv() {
            self.subscriptions.push(subscription);
        }
        let building = async {
            let open = |error: lapin::Error| Problem::of("open a channel", &error);
            let control = connection.create_channel().await.map_err(open)?;
            topology::declare(&control, &self.role).await?;
            let publisher = connection.create_channel().await.map_err(open)?;
            publisher.confirm_select(ConfirmSelectOptions::default()).await.map_err(open)?;
            let mut consumers = JoinSet::new();
            self.subscriptions.retain(|subscription| !subscription.is_dropped());
            for subscription in &self.subscriptions {
                self.consume(connection, &mut consumers, subscription.clone()).await?;
            }
            Ok((publisher, consumers))
        };
        let built = tokio::time::timeout(SETUP_TIMEOUT, building).await;
        let (publisher, consumers) = built.unwrap_or_else(|_| {
            Err(Problem::Unreachable {
                doing: format!("set up queues at {}", self.endpoint),
                cause: timed_out(),
            })
        })?;
        let (outbox, inbox) = mpsc::channel(OUTBOX);
        let user = self.endpoint.user().map(ShortString::from);
        let publishing = publisher::run(publisher.clone(), connection.status().clone(), user, inbox);
        let publishing = tokio::spawn(publishing);
        self.session.shared.publisher.send_replace(Some(outbox));
        Ok(Live { publisher, publishing, consumers })
    }

    async fn consume(
        &self,
        connection: &Connection,
        consumers: &mut JoinSet<Ended>,
        subscription: Subscription,
    ) -> Result<(), Problem> {
        let forwarding = consumer::start(connection, subscription, self.session.clone()).await?;
        consumers.spawn(forwarding);
        Ok(())
    }

    /// Says that the session works, and waits for the first thing that breaks.
    async fn watch(&mut self, connection: &Connection, live: &mut Live) -> End {
        let stop = self.session.shared.stop.clone();
        let mut events = Box::pin(connection.events_listener());
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.set_connected();
        loop {
            tokio::select! {
                () = stop.cancelled() => return End::Stopped,
                ended = &mut live.publishing => return ended.unwrap_or_else(|error| ended_badly(&error)).into(),
                Some(ended) = live.consumers.join_next() => match ended {
                    Ok(Ended::Dropped) => {}
                    Ok(Ended::Failed(problem)) => return problem.into(),
                    Err(error) => return ended_badly(&error).into(),
                },
                event = events.next() => match event {
                    Some(Event::Error(error)) => return Problem::lost(&error).into(),
                    Some(Event::ConnectionBlocked(because)) => self.set_blocked(because),
                    Some(Event::ConnectionUnblocked) => self.set_connected(),
                    Some(_) => {}
                    None => return lost("the connection ended").into(),
                },
                Some(subscription) = self.new_subscriptions.recv() => {
                    self.subscriptions.push(subscription.clone());
                    if let Err(problem) = self.consume(connection, &mut live.consumers, subscription).await {
                        return problem.into();
                    }
                }
                _ = look.tick() => {
                    if !connection.status().connected() {
                        return lost("the connection ended").into();
                    }
                    if !live.publisher.status().connected() {
                        return lost("the publisher's channel ended").into();
                    }
                }
            }
        }
    }

    fn set_connected(&self) {
        let before = self.session.shared.state.send_replace(SessionState::Connected { since: Utc::now() });
        if !before.is_connected() {
            tracing::info!(broker = %self.endpoint, %before, "connected to the broker");
        }
    }

    fn set_blocked(&self, because: String) {
        tracing::warn!(broker = %self.endpoint, because, "the broker takes no messages");
        let blocked = SessionState::Blocked { since: Utc::now(), because };
        self.session.shared.state.send_replace(blocked);
    }

    /// Records a failure; says it aloud only when it is news.
    fn report(&self, problem: Problem) {
        let state = &self.session.shared.state;
        let is_news = state.borrow().problem() != Some(&problem);
        if is_news {
            tracing::warn!(broker = %self.endpoint, %problem, "no connection to the broker; trying again");
        }
        state.send_modify(|state| *state = state.after(problem, Utc::now()));
    }
}

fn lost(cause: impl Into<String>) -> Problem {
    Problem::Lost { cause: cause.into() }
}

fn ended_badly(error: &JoinError) -> Problem {
    lost(format!("a task of the session ended badly: {error}"))
}

fn timed_out() -> String {
    format!("no answer within {} s", SETUP_TIMEOUT.as_secs())
}
