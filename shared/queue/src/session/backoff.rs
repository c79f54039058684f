//! Time between two tries to connect: full jitter under a doubling cap, so that a thousand workers
//! do not come back to a restarted broker at once.

use std::time::Duration;

const BASE: Duration = Duration::from_millis(200);
const CAP: Duration = Duration::from_secs(10);
/// Never none at all: a broker that refuses at once must not be asked in a tight loop.
const FLOOR: Duration = Duration::from_millis(50);

/// Counts tries.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// How long to wait before the next try; `chance` is in `0.0..1.0`.
    pub(super) fn next(&mut self, chance: f64) -> Duration {
        let ceiling = BASE.saturating_mul(2u32.saturating_pow(self.tries)).min(CAP);
        self.tries = self.tries.saturating_add(1);
        ceiling.mul_f64(chance).max(FLOOR)
    }

    /// Begins anew, after a connection that has worked for a while.
    pub(super) fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_begin_anew() {
        let mut backoff = Backoff::default();
        let longest: Vec<u128> = (0..8).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(longest, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.next(0.0), FLOOR);
        backoff.reset();
        assert_eq!(backoff.next(0.5), BASE / 2);
        backoff.tries = u32::MAX;
        assert_eq!(backoff.next(1.0), CAP);
    }
}
