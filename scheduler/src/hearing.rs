//! Whether this scheduler hears heartbeats as they come, or only some time later.
//!
//! Seen from the consumer: it takes a heartbeat, hands it to a handler and asks for the next one
//! while it has a handler free. Being told that there is none yet, it has heard everything the broker
//! had; as long as there is always a next one, it may be behind by any amount. So the time since it
//! last had nothing to do is the longest it can be behind, without asking the broker or trusting a
//! worker's clock.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, stream};

/// Since when there was always another heartbeat to take in; shared by who hears and who judges.
#[derive(Debug, Default)]
pub struct Hearing {
    busy_since: Mutex<Option<Instant>>,
}

impl Hearing {
    /// The deliveries of `inner`, watched. It must be asked for the next one only by who is free to
    /// handle it.
    pub fn watch<S: Stream + Unpin>(&self, mut inner: S) -> impl Stream<Item = S::Item> {
        stream::poll_fn(move |cx| {
            let next = inner.poll_next_unpin(cx);
            if next.is_pending() {
                self.set(|_| None);
            } else {
                self.set(|since| since.or_else(|| Some(Instant::now())));
            }
            next
        })
    }

    /// By how much it may be behind.
    pub fn behind(&self, now: Instant) -> Duration {
        let since = *self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }

    fn set(&self, next: impl FnOnce(Option<Instant>) -> Option<Instant>) {
        let mut since = self.busy_since.lock().unwrap_or_else(PoisonError::into_inner);
        *since = next(*since);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;

    #[tokio::test]
    async fn it_is_behind_until_there_is_nothing_left_to_take() {
        let hearing = Hearing::default();
        let (send, receive) = mpsc::unbounded_channel();
        let mut beats = hearing.watch(UnboundedReceiverStream::new(receive));
        assert!(futures::poll!(beats.next()).is_pending());
        let later = || Instant::now() + Duration::from_secs(60);
        assert_eq!(hearing.behind(later()), Duration::ZERO);
        for beat in 0..3 {
            send.send(beat).expect("sent");
        }
        for beat in 0..3 {
            assert_eq!(beats.next().await, Some(beat));
            assert!(hearing.behind(later()) >= Duration::from_secs(60), "there may be more");
        }
        assert!(futures::poll!(beats.next()).is_pending());
        assert_eq!(hearing.behind(later()), Duration::ZERO);
    }
}
