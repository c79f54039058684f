//! Which faults come, and when: all of it computed from the seed before anything runs, so that the
//! same seed gives the same faults.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A worker is killed; its service manager starts it again.
    KillWorker,
    /// A worker stands still, longer than its lease at times, and goes on.
    FreezeWorker,
    /// A scheduler is killed; its service manager starts it again.
    KillScheduler,
    /// A scheduler stands still and goes on.
    FreezeScheduler,
    /// The broker is killed and started.
    RestartBroker,
    /// The broker closes every connection.
    CutConnections,
    /// Postgres stops at once, recovers and starts.
    RestartPostgres,
    /// The S3 server is killed, and started a while later.
    StoreDown,
    /// Every request to the store is answered with 500.
    Store500,
    /// Every request to the store is answered with 503.
    Store503,
    /// Answers of the store break off.
    StoreCut,
    /// The store is slow.
    StoreSlow,
    /// A Cassandra node is killed, and started a while later.
    KillNode,
    /// Nothing goes through between the broker and all workers, or all schedulers; connections stay.
    CutBroker,
    /// Nothing goes through between the schedulers and Postgres; connections stay.
    CutDatabase,
    /// The disk on which a worker keeps its state is full.
    FillDisk,
    /// One more scheduler runs, minutes before or behind its time, and is killed.
    ShiftClock,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 17] = [
        Self::KillWorker,
        Self::FreezeWorker,
        Self::KillScheduler,
        Self::FreezeScheduler,
        Self::RestartBroker,
        Self::CutConnections,
        Self::RestartPostgres,
        Self::StoreDown,
        Self::Store500,
        Self::Store503,
        Self::StoreCut,
        Self::StoreSlow,
        Self::KillNode,
        Self::CutBroker,
        Self::CutDatabase,
        Self::FillDisk,
        Self::ShiftClock,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KillWorker => "kill-worker",
            Self::FreezeWorker => "freeze-worker",
            Self::KillScheduler => "kill-scheduler",
            Self::FreezeScheduler => "freeze-scheduler",
            Self::RestartBroker => "restart-broker",
            Self::CutConnections => "cut-connections",
            Self::RestartPostgres => "restart-postgres",
            Self::StoreDown => "store-down",
            Self::Store500 => "store-500",
            Self::Store503 => "store-503",
            Self::StoreCut => "store-cut",
            Self::StoreSlow => "store-slow",
            Self::KillNode => "kill-node",
            Self::CutBroker => "cut-broker",
            Self::CutDatabase => "cut-database",
            Self::FillDisk => "fill-disk",
            Self::ShiftClock => "shift-clock",
        }
    }

    /// How long it lasts, in seconds: at least and at most. What mends itself has no length.
    const fn lasts(self) -> (u64, u64) {
        match self {
            Self::KillWorker | Self::KillScheduler | Self::CutConnections => (0, 0),
            Self::FreezeWorker | Self::FreezeScheduler => (3, 25),
            Self::RestartBroker | Self::RestartPostgres => (0, 5),
            Self::StoreDown => (3, 15),
            Self::Store500 | Self::Store503 | Self::StoreCut | Self::StoreSlow => (4, 15),
            Self::KillNode => (2, 15),
            Self::CutBroker | Self::CutDatabase => (5, 40),
            Self::FillDisk => (4, 20),
            Self::ShiftClock => (8, 20),
        }
    }
}

/// A fault that will come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// When, from the beginning.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// To which of several: modulo how many there are.
    pub target: u32,
    /// Until it is mended.
    pub lasts: Duration,
}

/// The faults of a run of `length`. Each kind comes once before any comes again.
pub fn plan(seed: u64, length: Duration) -> Vec<Planned> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut planned = Vec::new();
    let mut deck = Vec::new();
    let mut at = Duration::from_secs(random.random_range(10..20));
    while at < length {
        if deck.is_empty() {
            deck = Fault::ALL.to_vec();
            deck.shuffle(&mut random);
        }
        let Some(fault) = deck.pop() else { break };
        let (least, most) = fault.lasts();
        let lasts = Duration::from_secs(random.random_range(least..=most));
        planned.push(Planned { at, fault, target: random.random(), lasts });
        // One in four comes while the one before still lasts.
        let overlap = random.random_ratio(1, 4);
        at += if overlap { lasts / 2 } else { lasts } + Duration::from_secs(random.random_range(3..12));
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults_and_another_gives_others() {
        let length = Duration::from_mins(20);
        assert_eq!(plan(1, length), plan(1, length));
        assert_ne!(plan(1, length), plan(2, length));
        let short = plan(1, Duration::from_mins(5));
        assert_eq!(short, plan(1, length)[..short.len()]);
    }

    #[test]
    fn every_kind_comes() {
        let planned = plan(7, Duration::from_mins(10));
        for fault in Fault::ALL {
            assert!(planned.iter().any(|planned| planned.fault == fault), "{}", fault.as_str());
        }
    }
}
