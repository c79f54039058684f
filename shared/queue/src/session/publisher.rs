//! Publishing with confirms, many at once.
//!
//! One task owns the publisher channel and sends in batches: all of a batch, then the wait for all
//! of its confirms, while the next one gathers. Two facts about lapin 4.12 ask for this shape:
//! - A publish takes its confirm's number before its frame is queued, so two at once on one channel
//!   can swap numbers. One task sends; none can.
//! - A returned message is handed to whichever confirm is resolved next, not to its own. But each
//!   return comes before its own confirm, and each resolved confirm takes one return that waits,
//!   so once all confirms of a batch are in, all its returns are among them. They are then matched
//!   by message id, exchange and routing key.

use std::{collections::HashSet, time::Duration};

use futures::future::join_all;
use lapin::{Channel, ConnectionStatus, options::BasicPublishOptions, types::ShortString};
use tokio::sync::{mpsc, oneshot};

use super::{
    Problem, PublishError,
    prepared::Prepared,
    verdict::{Identity, error_for, identity_of, judge, returned_in},
};

/// Messages in one batch.
const BATCH: usize = 256;
/// A connection on which a batch is not confirmed for so long is given up, unless the broker has
/// said that it takes no messages at the moment.
const STALL: Duration = Duration::from_mins(1);

/// A message and who waits for it.
pub(super) struct Outgoing {
    pub(super) message: Prepared,
    pub(super) answer: oneshot::Sender<Result<(), PublishError>>,
}

/// Publishes what comes in until the channel fails.
pub(super) async fn run(
    channel: Channel,
    status: ConnectionStatus,
    user: Option<ShortString>,
    mut inbox: mpsc::Receiver<Outgoing>,
) -> Problem {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        if inbox.recv_many(&mut batch, BATCH).await == 0 {
            return Problem::Lost { cause: "the session let go of its publisher".to_owned() };
        }
        let published = publish_batch(&channel, user.as_ref(), std::mem::take(&mut batch));
        tokio::pin!(published);
        let result = loop {
            match tokio::time::timeout(STALL, &mut published).await {
                Ok(result) => break result,
                Err(_) if status.blocked() => {}
                Err(_) => {
                    let cause = format!("the broker confirmed nothing for {} s", STALL.as_secs());
                    break Err(Problem::Lost { cause });
                }
            }
        };
        if let Err(problem) = result {
            return problem;
        }
    }
}

async fn publish_batch(
    channel: &Channel,
    user: Option<&ShortString>,
    batch: Vec<Outgoing>,
) -> Result<(), Problem> {
    let mut waiting = Vec::with_capacity(batch.len());
    let mut confirms = Vec::with_capacity(batch.len());
    let mut failure = None;
    for Outgoing { message, answer } in batch {
        // Whoever asked has stopped waiting, or the channel is gone: the dropped answer says so.
        if answer.is_closed() || failure.is_some() {
            continue;
        }
        let options = BasicPublishOptions { mandatory: message.mandatory, immediate: false };
        let mut properties = message.properties;
        if let Some(user) = user {
            properties = properties.with_user_id(user.clone());
        }
        let (exchange, routing_key) = (message.exchange, message.routing_key);
        let sent = channel
            .basic_publish(exchange.clone(), routing_key.clone(), options, &message.body, properties)
            .await;
        match sent {
            Ok(confirm) => {
                confirms.push(confirm);
                waiting.push(((message.message_id, exchange, routing_key), answer));
            }
            Err(error) => {
                let _ = answer.send(Err(error_for(exchange.as_str(), &error)));
                failure = Some(error);
            }
        }
    }
    let confirmed = join_all(confirms).await;
    failure = failure.or_else(|| confirmed.iter().find_map(|result| result.as_ref().err().cloned()));
    let returned: HashSet<Identity> = confirmed.iter().filter_map(returned_in).map(identity_of).collect();
    for ((identity, answer), confirmation) in waiting.into_iter().zip(&confirmed) {
        let answered = judge(&identity, confirmation, &returned, failure.is_none());
        let _ = answer.send(answered);
    }
    failure.map_or(Ok(()), |error| Err(Problem::lost(&error)))
}
