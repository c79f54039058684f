//! Consumers that outlive their channels.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, StreamExt};
use lapin::{
    Connection,
    options::{BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::sync::mpsc;

use super::{Delivery, Problem, Session};

/// What the supervisor keeps of a consumer.
#[derive(Clone)]
pub(super) struct Subscription {
    queue: Arc<str>,
    prefetch: u16,
    deliveries: mpsc::Sender<Delivery>,
}

impl Subscription {
    /// Whether nobody reads it any more.
    pub(super) fn is_dropped(&self) -> bool {
        self.deliveries.is_closed()
    }
}

/// Deliveries of one queue, over every reconnect. Ends only when the session is closed. Dropping it
/// gives back what was not acknowledged.
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
}

pub(super) fn subscribe(queue: String, prefetch: u16) -> (Subscription, Consumer) {
    // As many as can be unacknowledged, so that forwarding never waits within one connection.
    let (sender, deliveries) = mpsc::channel(usize::from(prefetch));
    (Subscription { queue: queue.into(), prefetch, deliveries: sender }, Consumer { deliveries })
}

impl Consumer {
    /// The next delivery; `None` once the session is closed.
    pub async fn next(&mut self) -> Option<Delivery> {
        StreamExt::next(self).await
    }
}

impl Stream for Consumer {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        loop {
            match self.deliveries.poll_recv(cx) {
                // Left over from a former connection: the broker has given it to someone again.
                Poll::Ready(Some(delivery)) if delivery.is_stale() => {}
                other => return other,
            }
        }
    }
}

/// How forwarding ended.
pub(super) enum Ended {
    /// Nobody reads any more.
    Dropped,
    /// The stream broke.
    Failed(Problem),
}

/// Starts to consume on `connection`; the future forwards until the stream breaks.
pub(super) async fn start(
    connection: &Connection,
    subscription: Subscription,
    session: Session,
) -> Result<impl Future<Output = Ended> + Send + use<>, Problem> {
    let queue = Arc::clone(&subscription.queue);
    let doing = format!("consume the queue {queue}");
    let failed = |error: lapin::Error| Problem::of(doing.clone(), &error);
    let channel = connection.create_channel().await.map_err(failed)?;
    channel.basic_qos(subscription.prefetch, BasicQosOptions::default()).await.map_err(failed)?;
    let mut stream = channel
        .basic_consume((&*queue).into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await
        .map_err(failed)?;
    Ok(async move {
        // Dropped with this future: what is unacknowledged then goes back to the queue.
        let _channel = channel;
        loop {
            let item = tokio::select! {
                () = subscription.deliveries.closed() => return Ended::Dropped,
                item = stream.next() => item,
            };
            let delivery = match item {
                Some(Ok(delivery)) => Delivery::new(delivery, Arc::clone(&queue), session.clone()),
                Some(Err(error)) => return Ended::Failed(Problem::lost(&error)),
                None => {
                    let cause = format!("the broker cancelled the consumer of {queue} (queue deleted?)");
                    return Ended::Failed(Problem::Lost { cause });
                }
            };
            if subscription.deliveries.send(delivery).await.is_err() {
                return Ended::Dropped;
            }
        }
    })
}
