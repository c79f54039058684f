//! A rate limit, in bytes or in requests a second, that can be changed while it is in use.
//!
//! A token bucket that may go into debt: who asks is let through as soon as the bucket is not empty
//! and takes all it needs, so a piece of any size passes without being cut, and the rate holds on
//! average. The bucket holds at most one second's worth, which bounds the burst after a pause. Who asks
//! first goes first, so that none of many waits for ever.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use tokio::{
    sync::Notify,
    time::{Duration, Instant, sleep},
};

/// Longest sleep before the debt is looked at again.
const MAX_SLEEP: Duration = Duration::from_secs(1);

/// The limit. Clones share it.
#[derive(Debug, Clone)]
pub struct Throttle {
    own: Arc<Shared>,
    /// What holds for others too, the widest first.
    above: Vec<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    bucket: Mutex<Bucket>,
    /// Whose turn it is, in the order of asking.
    turn: tokio::sync::Mutex<()>,
    changed: Notify,
    held: Mutex<Held>,
    waited_micros: AtomicU64,
}

/// How long anybody waited.
#[derive(Debug, Default)]
struct Held {
    /// Who waits now, and since when somebody does.
    waiting: u32,
    since: Option<Instant>,
    /// What is over.
    before: Duration,
}

#[derive(Debug)]
struct Bucket {
    /// Units a second; `None`: no limit.
    rate: Option<u64>,
    /// Units that may go now; below zero: debt.
    level: f64,
    filled_at: Instant,
}

impl Throttle {
    /// A limit of `rate` bytes, or requests, a second; none when absent or zero.
    pub fn new(rate: Option<u64>) -> Self {
        let bucket = Bucket { rate: rate.filter(|r| *r > 0), level: 0.0, filled_at: Instant::now() };
        let own = Arc::new(Shared {
            bucket: Mutex::new(bucket),
            turn: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            held: Mutex::default(),
            waited_micros: AtomicU64::new(0),
        });
        Self { own, above: Vec::new() }
    }

    /// The same limit, and besides all that `above` keeps to, as others do as well.
    #[must_use]
    pub fn below(&self, above: &Self) -> Self {
        let above = above.above.iter().chain([&above.own]).cloned().collect();
        Self { own: Arc::clone(&self.own), above }
    }

    /// No limit.
    pub fn unlimited() -> Self {
        Self::new(None)
    }

    /// Changes the limit, for those who wait too. Debt made under the old one is forgiven.
    pub fn set_rate(&self, rate: Option<u64>) {
        let mut bucket = self.own.bucket();
        bucket.rate = rate.filter(|r| *r > 0);
        bucket.level = 0.0;
        bucket.filled_at = Instant::now();
        drop(bucket);
        self.own.changed.notify_waiters();
    }

    /// Units a second; `None`: no limit.
    pub fn rate(&self) -> Option<u64> {
        self.own.bucket().rate
    }

    /// Waits until `units` more, bytes or requests, may go. A wait that is dropped has taken nothing from the limit
    /// that it waited for.
    pub async fn take(&self, units: u64) {
        let mut began: Option<Waiting<'_>> = None;
        for limit in self.above.iter().chain([&self.own]) {
            limit
                .take(units, || {
                    began.get_or_insert_with(|| Waiting::begin(&self.own));
                })
                .await;
        }
    }

    /// Whether someone waits right now.
    pub fn is_holding_back(&self) -> bool {
        self.own.held().waiting > 0
    }

    /// How long the limit has held something back: each second once, however many waited in it.
    pub fn held_back(&self) -> Duration {
        let held = self.own.held();
        held.before + held.since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// How long waits took in all, summed over those who waited at the same time.
    pub fn waited(&self) -> Duration {
        Duration::from_micros(self.own.waited_micros.load(Ordering::Relaxed))
    }
}

impl Shared {
    /// Waits for `units`, behind those who came before; `waits` is told when it has to.
    async fn take(&self, units: u64, mut waits: impl FnMut()) {
        if self.bucket().rate.is_none() {
            return;
        }
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                waits();
                self.turn.lock().await
            }
        };
        loop {
            let changed = self.changed.notified();
            let Some(delay) = self.bucket().take(units) else { break };
            waits();
            tokio::select! {
                () = sleep(delay.min(MAX_SLEEP)) => {}
                () = changed => {}
            }
        }
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    /// Takes `units`, or says how long to wait before asking again.
    #[allow(clippy::cast_precision_loss)] // a rate, not an account
    fn take(&mut self, units: u64) -> Option<Duration> {
        let rate = self.rate? as f64;
        let now = Instant::now();
        let gained = now.duration_since(self.filled_at).as_secs_f64() * rate;
        self.level = (self.level + gained).min(rate);
        self.filled_at = now;
        if self.level < 0.0 {
            return Some(Duration::from_secs_f64(-self.level / rate).max(Duration::from_millis(1)));
        }
        self.level -= units as f64;
        None
    }
}

/// Counts one waiter, and its time, however the wait ends.
struct Waiting<'a> {
    shared: &'a Shared,
    since: Instant,
}

impl<'a> Waiting<'a> {
    fn begin(shared: &'a Shared) -> Self {
        let now = Instant::now();
        let mut held = shared.held();
        held.waiting += 1;
        held.since.get_or_insert(now);
        drop(held);
        Self { shared, since: now }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.shared.waited_micros.fetch_add(micros, Ordering::Relaxed);
        let mut held = self.shared.held();
        held.waiting -= 1;
        if held.waiting == 0 {
            let since = held.since.take();
            held.before += since.map(|since| since.elapsed()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_rate_holds_on_average() {
        let throttle = Throttle::new(Some(10_000));
        let began = Instant::now();
        for _ in 0..3 {
            throttle.take(2_000).await;
        }
        assert!(began.elapsed() >= Duration::from_millis(390), "6,000 bytes, the last 2,000 in advance");
        assert!(throttle.waited() >= Duration::from_millis(390) && !throttle.is_holding_back());
    }

    #[tokio::test]
    async fn a_raised_limit_frees_who_waits() {
        let throttle = Throttle::new(Some(1));
        throttle.take(1_000_000).await;
        let waiter = tokio::spawn({
            let throttle = throttle.clone();
            async move { throttle.take(1).await }
        });
        while !throttle.is_holding_back() {
            tokio::task::yield_now().await;
        }
        assert!(!waiter.is_finished());
        throttle.set_rate(None);
        waiter.await.unwrap();
        assert!(!throttle.is_holding_back());
    }

    #[tokio::test]
    async fn a_second_in_which_two_wait_is_held_back_once() {
        let throttle = Throttle::new(Some(1_000));
        let began = Instant::now();
        throttle.take(1_400).await;
        let two = [throttle.clone(), throttle.clone()].map(|t| tokio::spawn(async move { t.take(1).await }));
        while throttle.held_back() < Duration::from_millis(100) {
            tokio::task::yield_now().await;
        }
        for waiter in two {
            waiter.await.unwrap();
        }
        let held = throttle.held_back();
        assert!(held >= Duration::from_millis(1_390) && held <= began.elapsed(), "{held:?}");
        assert!(throttle.waited() > Duration::from_millis(2_600), "{:?}", throttle.waited());
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(throttle.held_back(), held, "nobody waits any more");
    }

    #[tokio::test]
    async fn what_several_are_below_holds_for_all_of_them_together() {
        let node = Throttle::new(Some(10_000));
        let tasks = [None, Some(1_000_000)].map(|rate| Throttle::new(rate).below(&node));
        let began = Instant::now();
        for _ in 0..2 {
            for task in &tasks {
                task.take(1_000).await;
            }
        }
        assert!(began.elapsed() >= Duration::from_millis(290), "4,000 bytes, the last 1,000 in advance");
        assert!(
            tasks[0].held_back() + tasks[1].held_back() >= Duration::from_millis(290),
            "they say who waited"
        );
        let tight = Throttle::new(Some(1_000)).below(&Throttle::unlimited());
        tight.take(200).await;
        let began = Instant::now();
        tight.take(1).await;
        assert!(began.elapsed() >= Duration::from_millis(190), "its own holds too");
    }

    #[tokio::test]
    async fn who_asks_first_goes_first_and_who_goes_away_holds_up_nobody() {
        let throttle = Throttle::new(Some(20));
        throttle.take(1).await;
        let (done, mut order) = tokio::sync::mpsc::unbounded_channel();
        let mut waiters = Vec::new();
        for number in 0..6 {
            let (throttle, done) = (throttle.clone(), done.clone());
            let waiting = throttle.own.held().waiting;
            let theirs = throttle.clone();
            waiters.push(tokio::spawn(async move {
                theirs.take(1).await;
                done.send(number).unwrap();
            }));
            while throttle.own.held().waiting == waiting {
                tokio::task::yield_now().await;
            }
        }
        waiters[0].abort();
        waiters[3].abort();
        drop(done);
        let mut came = Vec::new();
        while let Some(number) = order.recv().await {
            came.push(number);
        }
        assert_eq!(came, [1, 2, 4, 5]);
        assert!(!throttle.is_holding_back());
    }

    #[tokio::test]
    async fn of_limits_over_each_other_the_narrowest_holds() {
        for narrow in 0..3 {
            let rates = [0, 1, 2].map(|level| Some(if level == narrow { 1_000 } else { 1_000_000 }));
            let [node, store, task] = rates.map(Throttle::new);
            let task = task.below(&store.below(&node));
            let began = Instant::now();
            task.take(200).await;
            task.take(1).await;
            assert!(began.elapsed() >= Duration::from_millis(190), "limit {narrow}");
        }
    }

    #[tokio::test]
    async fn without_a_limit_nobody_waits() {
        Throttle::unlimited().take(u64::MAX).await;
        Throttle::new(Some(0)).take(u64::MAX).await;
    }
}
