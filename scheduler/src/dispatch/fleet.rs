//! The live workers, and which of them takes a task: a pure choice.

use std::collections::{HashMap, HashSet};

use ringvault_core::{
    ClusterName, HostId, TaskError, WorkerId,
    job::{Placement, StageKind},
};
use ringvault_state::{
    registry::workers::LiveWorker,
    tasks::due::{Full, Load, Ready},
};

/// The capability of deleting from the vault, as workers announce it.
const VAULT_DELETE: &str = "vault.delete";

/// What to do with a ready task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// Place it on this worker, which has room as far as one knows.
    Place(Seat),
    /// Who may do it has no slot free.
    Wait,
    /// Nobody who may do it is there.
    NoWorker(TaskError),
}

/// A worker and its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) worker: WorkerId,
    slots: u32,
    short_slots: u32,
}

impl Seat {
    fn of(worker: &LiveWorker) -> Self {
        Self { worker: worker.id, slots: worker.slots, short_slots: worker.short_slots }
    }

    /// Whether the worker, having this load, has a slot for this kind of task. Long tasks may not
    /// take the slots kept for short ones; there is always one for them. No two that are on trial are
    /// beside each other: of those that were lost together, the one that is not to blame comes through.
    pub(super) fn has_room(&self, kind: StageKind, load: Load, on_trial: bool) -> bool {
        let for_long = self.slots.saturating_sub(self.short_slots).max(1);
        load.all < self.slots.max(1)
            && (kind.is_short() || load.long < for_long)
            && !(on_trial && load.on_trial > 0)
    }
}

/// Adds a task of this kind to a load.
pub(super) fn take(load: &mut Load, kind: StageKind, on_trial: bool) {
    load.all += 1;
    load.on_trial += u32::from(on_trial);
    load.long += u32::from(!kind.is_short());
}

/// Live workers, by what a task asks for.
pub(super) struct Fleet {
    /// The clusters that were asked for: of others it knows nothing.
    asked: HashSet<ClusterName>,
    live: Vec<LiveWorker>,
    /// The most recently heard of, where several say they are beside the same node.
    by_host: HashMap<(ClusterName, HostId), usize>,
    by_cluster: HashMap<ClusterName, Vec<usize>>,
}

impl Fleet {
    /// Of the live workers of these clusters, most recently heard of first.
    pub(super) fn new(asked: &[ClusterName], live: Vec<LiveWorker>) -> Self {
        let mut by_host = HashMap::new();
        let mut by_cluster: HashMap<ClusterName, Vec<usize>> = HashMap::new();
        for (index, worker) in live.iter().enumerate() {
            if let Some(host) = worker.host_id {
                by_host.entry((worker.cluster.clone(), host)).or_insert(index);
            }
            by_cluster.entry(worker.cluster.clone()).or_default().push(index);
        }
        Self { asked: asked.iter().cloned().collect(), live, by_host, by_cluster }
    }

    /// Where a task could only wait.
    pub(super) fn full(&self) -> Full {
        let takes = |index: usize, kind| {
            let worker = &self.live[index];
            Seat::of(worker).has_room(kind, worker.load, false)
        };
        // Whoever takes no short task takes no long one.
        let (short, long) = (StageKind::Snapshot, StageKind::Upload);
        let mut full = Full::default();
        for ((_, host), index) in &self.by_host {
            if !takes(*index, short) {
                full.hosts.push(*host);
            } else if !takes(*index, long) {
                full.hosts_for_long.push(*host);
            }
        }
        for (cluster, workers) in &self.by_cluster {
            if !workers.iter().any(|index| takes(*index, short)) {
                full.clusters.push(cluster.clone());
            } else if !workers.iter().any(|index| takes(*index, long)) {
                full.clusters_for_long.push(cluster.clone());
            }
        }
        full
    }

    /// Chooses for a task, and counts it to the chosen one's load. A node's task has one place;
    /// another goes to the least loaded of those who may do it, one without trouble if there is one. A
    /// task of a cluster that was not asked for (it had none to place a moment ago) waits.
    pub(super) fn choose(&mut self, task: &Ready) -> Choice {
        if !self.asked.contains(&task.cluster) {
            return Choice::Wait;
        }
        let chosen = match task.placement {
            Placement::Node(host) => self.by_host.get(&(task.cluster.clone(), host)).copied(),
            Placement::Any => self.least_loaded(task, |_| true),
            Placement::AnyWithDelete => {
                self.least_loaded(task, |worker| worker.capabilities.iter().any(|name| name == VAULT_DELETE))
            }
        };
        let Some(worker) = chosen.map(|index| &mut self.live[index]) else {
            return Choice::NoWorker(missing(task));
        };
        let seat = Seat::of(worker);
        if !seat.has_room(task.kind, worker.load, task.on_trial) {
            return Choice::Wait;
        }
        take(&mut worker.load, task.kind, task.on_trial);
        Choice::Place(seat)
    }

    fn least_loaded(&self, task: &Ready, may_do: impl Fn(&LiveWorker) -> bool) -> Option<usize> {
        let of_cluster = self.by_cluster.get(&task.cluster)?;
        of_cluster.iter().copied().filter(|index| may_do(&self.live[*index])).min_by_key(|index| {
            let worker = &self.live[*index];
            let full = !Seat::of(worker).has_room(task.kind, worker.load, task.on_trial);
            (full, worker.troubled, worker.load.all)
        })
    }
}

fn missing(task: &Ready) -> TaskError {
    let cluster = &task.cluster;
    let what = match task.placement {
        Placement::Node(host) => format!("beside node {host} of {cluster}"),
        Placement::Any => format!("of {cluster}"),
        Placement::AnyWithDelete => {
            format!("of {cluster} may delete from the vault (capability {VAULT_DELETE})")
        }
    };
    TaskError::environment("RV-NODE-NO-WORKER", format!("no live worker {what}"))
        .with_next(format!("ringvault node list -c {cluster}; start the worker there"))
}

#[cfg(test)]
mod tests {
    use ringvault_core::{JobId, TaskId};
    use uuid::Uuid;

    use super::*;

    fn worker(n: u128, host: Option<u128>, load: u32) -> LiveWorker {
        LiveWorker {
            id: WorkerId(Uuid::from_u128(n)),
            cluster: ClusterName::new("c").unwrap(),
            host_id: host.map(|host| HostId(Uuid::from_u128(host))),
            capabilities: Vec::new(),
            slots: 4,
            short_slots: 1,
            troubled: false,
            load: Load { all: load, long: load, on_trial: 0 },
        }
    }

    fn fleet_of(live: Vec<LiveWorker>) -> Fleet {
        Fleet::new(&["c", "other"].map(|name| ClusterName::new(name).unwrap()), live)
    }

    fn task(kind: StageKind, placement: Placement) -> Ready {
        Ready {
            id: TaskId::generate(),
            job: JobId::generate(),
            cluster: ClusterName::new("c").unwrap(),
            kind,
            placement,
            on_trial: false,
        }
    }

    /// Which of `live` is chosen, by its number; 0: it waits.
    fn choose(task: &Ready, live: &[LiveWorker]) -> Result<u128, TaskError> {
        match fleet_of(live.to_vec()).choose(task) {
            Choice::Place(seat) => Ok(seat.worker.0.as_u128()),
            Choice::Wait => Ok(0),
            Choice::NoWorker(error) => Err(error),
        }
    }

    #[test]
    fn nothing_is_missed_in_a_cluster_that_was_not_asked_for() {
        let late = task(StageKind::Seal, Placement::Any);
        assert_eq!(Fleet::new(&[], Vec::new()).choose(&late), Choice::Wait);
        let asked = Fleet::new(std::slice::from_ref(&late.cluster), Vec::new()).choose(&late);
        assert!(matches!(asked, Choice::NoWorker(_)));
    }

    #[test]
    fn a_node_s_task_has_one_place() {
        let on_two = Placement::Node(HostId(Uuid::from_u128(2)));
        let live = [worker(1, Some(1), 0), worker(2, Some(2), 3), worker(3, None, 0)];
        assert_eq!(choose(&task(StageKind::Snapshot, on_two), &live), Ok(2));
        assert_eq!(choose(&task(StageKind::Upload, on_two), &live), Ok(0));
        let gone = choose(&task(StageKind::Upload, on_two), &live[..1]);
        assert!(matches!(gone, Err(error) if error.code == "RV-NODE-NO-WORKER"));
    }

    #[test]
    fn what_any_may_do_goes_to_the_least_loaded_without_trouble() {
        let mut live = [worker(1, Some(1), 2), worker(2, Some(2), 1), worker(3, None, 0)];
        let check = task(StageKind::Check, Placement::Any);
        assert_eq!(choose(&check, &live), Ok(3));
        live[2].troubled = true;
        assert_eq!(choose(&check, &live), Ok(2));
        live[1].cluster = ClusterName::new("other").unwrap();
        assert_eq!(choose(&check, &live), Ok(1));
    }

    #[test]
    fn deleting_needs_the_capability() {
        let mut live = [worker(1, None, 0), worker(2, None, 3)];
        let sweep = task(StageKind::Sweep, Placement::AnyWithDelete);
        assert!(choose(&sweep, &live).is_err());
        live[1].capabilities.push(VAULT_DELETE.to_owned());
        assert_eq!(choose(&sweep, &live), Ok(0), "its long slots are taken");
        live[1].load = Load { all: 2, long: 2, on_trial: 0 };
        assert_eq!(choose(&sweep, &live), Ok(2));
    }

    #[test]
    fn a_short_task_never_waits_behind_long_ones() {
        let seat = |slots, short_slots| Seat { worker: WorkerId(Uuid::nil()), slots, short_slots };
        let all_long = Load { all: 3, long: 3, on_trial: 0 };
        assert!(!seat(4, 1).has_room(StageKind::Upload, all_long, false));
        assert!(seat(4, 1).has_room(StageKind::Snapshot, all_long, false));
        assert!(!seat(4, 1).has_room(StageKind::Snapshot, Load { all: 4, long: 3, on_trial: 0 }, false));
        assert!(seat(1, 1).has_room(StageKind::Upload, Load::default(), false), "one slot serves both");
    }

    #[test]
    fn of_tasks_on_trial_a_worker_has_one_at_a_time_and_others_beside_it() {
        let on_trial = |kind| Ready { on_trial: true, ..task(kind, Placement::Any) };
        let mut fleet = fleet_of(vec![worker(1, Some(1), 0)]);
        let mut next = |task: Ready| matches!(fleet.choose(&task), Choice::Place(_));
        assert!(next(on_trial(StageKind::Upload)));
        assert!(!next(on_trial(StageKind::Upload)) && !next(on_trial(StageKind::Snapshot)));
        assert!(next(task(StageKind::Upload, Placement::Any)), "what is not suspected");
        let mut fleet = fleet_of(vec![worker(1, Some(1), 0), worker(2, Some(2), 0)]);
        let first = fleet.choose(&on_trial(StageKind::Check));
        let second = fleet.choose(&on_trial(StageKind::Check));
        assert!(first != second && matches!(second, Choice::Place(_)), "another worker takes it");
    }

    #[test]
    fn where_there_is_no_room_is_known_beforehand() {
        let live = vec![worker(1, Some(1), 4), worker(2, Some(2), 3), worker(3, Some(3), 0)];
        let full = fleet_of(live).full();
        let host = |n| HostId(Uuid::from_u128(n));
        assert_eq!((full.hosts, full.hosts_for_long), (vec![host(1)], vec![host(2)]));
        assert!(full.clusters.is_empty() && full.clusters_for_long.is_empty(), "one has room");
        let full = fleet_of(vec![worker(1, Some(1), 4), worker(2, Some(2), 3)]).full();
        assert_eq!((full.clusters.len(), full.clusters_for_long.len()), (0, 1));
        let full = fleet_of(vec![worker(1, Some(1), 4)]).full();
        assert_eq!(full.clusters.len(), 1);
    }

    #[test]
    fn what_is_chosen_counts_at_once() {
        let mut fleet = fleet_of(vec![worker(1, Some(1), 2)]);
        let upload = task(StageKind::Upload, Placement::Any);
        assert!(matches!(fleet.choose(&upload), Choice::Place(_)));
        assert_eq!(fleet.choose(&upload), Choice::Wait);
    }
}
