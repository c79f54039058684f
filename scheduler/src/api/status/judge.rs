//! What is wrong with a cluster, worst first: a pure function of what is known.

use chrono::{DateTime, Utc};
use ringvault_core::{
    PolicyName,
    api::{ClusterStatus, NodeState, NodeView, RecoveryPoint, RpoState},
    backup::{Scope, newest_widest},
    policy::{Policy, PolicyAction},
};
use ringvault_state::read::status::{ClusterFacts, GoodBackup};

/// What is known of one cluster.
pub(super) struct Evidence<'a> {
    pub(super) facts: &'a ClusterFacts,
    pub(super) nodes: Vec<&'a NodeView>,
    pub(super) policies: Vec<(&'a PolicyName, &'a Policy)>,
    pub(super) now: DateTime<Utc>,
}

impl Evidence<'_> {
    /// The cluster's line of the fleet's status.
    pub(super) fn judge(&self) -> ClusterStatus {
        let last_good = self.last_good().map(|good| RecoveryPoint {
            backup: good.name.clone(),
            at: good.at,
            age_seconds: seconds(self.now, good.at),
        });
        // A paused policy's target counts: the data is not safer for it.
        let targets: Vec<_> =
            self.backed_up().filter_map(|policy| Some((policy.rpo?.as_secs(), policy))).collect();
        let target = targets.iter().map(|(target, _)| *target).min();
        let in_time = |target: u64, policy: &Policy| {
            self.newest_for(policy).is_some_and(|good| seconds(self.now, good.at) <= target)
        };
        let rpo = match target {
            None => RpoState::None,
            Some(_) if targets.iter().all(|(target, policy)| in_time(*target, policy)) => RpoState::Ok,
            Some(_) => RpoState::Late,
        };
        let (problem, next) = self.worst(rpo, last_good.is_some()).unzip();
        ClusterStatus {
            cluster: self.facts.cluster.clone(),
            last_good,
            rpo_target_seconds: target,
            rpo,
            last_verified_at: self.facts.last_verified_at,
            last_drill_at: self.facts.last_drill_at,
            workers_live: self.count(|node| node.state == NodeState::Live),
            workers_total: self.count(|node| node.state != NodeState::Refused),
            jobs_open: self.facts.jobs_open,
            problem,
            next,
        }
    }

    /// The policies that take backups.
    fn backed_up(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter().map(|(_, policy)| *policy).filter(|policy| policy.action == PolicyAction::Backup)
    }

    /// The newest backup that holds all that the policy is about.
    fn newest_for(&self, policy: &Policy) -> Option<&GoodBackup> {
        let wanted = Scope { selection: policy.selection(), dc: None };
        self.facts.good.iter().filter(|good| good.scope.covers(&wanted)).max_by_key(|good| good.at)
    }

    /// What the cluster can be brought back from: the newest backup of all that its policies are
    /// about, the policy that is behind the most being told; without a policy, the newest of those
    /// that are of the most.
    fn last_good(&self) -> Option<&GoodBackup> {
        let mut policies = self.backed_up().peekable();
        if policies.peek().is_none() {
            return newest_widest(&self.facts.good, |good| &good.scope, |good| good.at);
        }
        let each: Option<Vec<&GoodBackup>> = policies.map(|policy| self.newest_for(policy)).collect();
        each?.into_iter().min_by_key(|good| good.at)
    }

    fn count(&self, which: impl Fn(&NodeView) -> bool) -> u32 {
        let count = self.nodes.iter().filter(|node| which(node)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The worst problem and the command to look into it.
    fn worst(&self, rpo: RpoState, has_good: bool) -> Option<(String, String)> {
        let cluster = &self.facts.cluster;
        if let Some(backup) = &self.facts.damaged_backup {
            let count = self.facts.damaged;
            let objects = if count == 1 { "object" } else { "objects" };
            return Some((
                format!("{count} damaged {objects}"),
                format!("ringvault backup show -c {cluster} {backup}"),
            ));
        }
        if let Some((state, node)) = self.unfit() {
            let more = match self.count(is_unfit) {
                0 | 1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            return Some((
                format!("{} {state}{more}", name(node)),
                format!("ringvault node list -c {cluster}"),
            ));
        }
        if let Some((job, kind)) = &self.facts.failed {
            let kind = kind.as_str();
            return Some((format!("a {kind} failed"), format!("ringvault job show {job}")));
        }
        if rpo == RpoState::Late {
            let text = if has_good { "the last good backup is too old" } else { "no backup yet" };
            return Some((text.to_owned(), format!("ringvault job list -c {cluster}")));
        }
        if !has_good && self.backed_up().next().is_none() {
            let next = format!("ringvault backup create -c {cluster}");
            return Some(("not protected: no backup and no policy".to_owned(), next));
        }
        None
    }

    /// The first node that cannot be given work, and why.
    fn unfit(&self) -> Option<(String, &NodeView)> {
        let node = *self.nodes.iter().find(|node| is_unfit(node))?;
        let state = match node.state {
            NodeState::Live => node.problem.clone().unwrap_or_default(),
            NodeState::Silent => match node.last_seen {
                Some(at) => format!("silent {}", roughly(seconds(self.now, at))),
                None => "silent".to_owned(),
            },
            NodeState::Refused => "refused".to_owned(),
            NodeState::NoWorker => "has no worker".to_owned(),
        };
        Some((state, node))
    }
}

fn is_unfit(node: &NodeView) -> bool {
    node.state != NodeState::Live || node.problem.is_some()
}

fn name(node: &NodeView) -> String {
    match (node.address.as_str(), node.host_id, node.worker) {
        ("", Some(host), _) => host.to_string(),
        ("", None, Some(worker)) => format!("worker {worker}"),
        (address, ..) => address.to_owned(),
    }
}

fn seconds(now: DateTime<Utc>, then: DateTime<Utc>) -> u64 {
    u64::try_from((now - then).num_seconds()).unwrap_or(0)
}

/// `6h 04m`, `27h 11m`, `3d`: what a person needs to know of an age.
fn age(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 3600;
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..172_800 => format!("{}h {:02}m", seconds / HOUR, seconds % HOUR / MINUTE),
        _ => format!("{}d", seconds / (24 * HOUR)),
    }
}

/// An age in its largest unit alone: `45s`, `14m`, `27h`, `3d`.
fn roughly(seconds: u64) -> String {
    let age = age(seconds);
    age.split(' ').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringvault_core::{
        BackupName, ClusterName, HostId, JobId, job::JobKind, policy::parse_policies, selection::Selection,
    };

    fn now() -> DateTime<Utc> {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn facts(age_hours: Option<i64>) -> ClusterFacts {
        let good = |hours| GoodBackup {
            name: BackupName::new("b1").unwrap(),
            at: now() - chrono::TimeDelta::hours(hours),
            scope: Scope::default(),
        };
        ClusterFacts {
            cluster: ClusterName::new("orders").unwrap(),
            good: age_hours.map(good).into_iter().collect(),
            last_verified_at: None,
            last_drill_at: None,
            jobs_open: 0,
            failed: None,
            damaged: 0,
            damaged_backup: None,
        }
    }

    fn node(state: NodeState, address: &str) -> NodeView {
        NodeView {
            cluster: ClusterName::new("orders").unwrap(),
            host_id: Some(HostId::generate()),
            worker: None,
            state,
            problem: None,
            address: address.to_owned(),
            dc: String::new(),
            rack: String::new(),
            tokens: 16,
            last_seen: Some(now() - chrono::TimeDelta::hours(27)),
            cassandra_version: None,
            worker_version: None,
            disk: None,
            data_dirs: Vec::new(),
            capabilities: Vec::new(),
            slots: 0,
            tasks: 0,
        }
    }

    fn judge(facts: &ClusterFacts, nodes: &[NodeView], policy: &str) -> ClusterStatus {
        let document = parse_policies(policy).unwrap();
        let policies = document.policy.iter().collect();
        Evidence { facts, nodes: nodes.iter().collect(), policies, now: now() }.judge()
    }

    const DAILY: &str = "[policy.p]\ncluster='orders'\nschedule='0 2 * * *'\naction='backup'\nrpo='24h'\n";

    #[test]
    fn a_recovery_point_is_late_beyond_its_target() {
        let live = [node(NodeState::Live, "a"), node(NodeState::Live, "b")];
        let good = judge(&facts(Some(6)), &live, DAILY);
        assert_eq!((good.rpo, good.problem, good.next), (RpoState::Ok, None, None));
        assert_eq!((good.workers_live, good.workers_total), (2, 2));
        assert_eq!(good.rpo_target_seconds, Some(86_400));
        let late = judge(&facts(Some(25)), &live, DAILY);
        assert_eq!(late.rpo, RpoState::Late);
        assert_eq!(late.problem.as_deref(), Some("the last good backup is too old"));
        let never = judge(&facts(None), &live, DAILY);
        assert_eq!((never.rpo, never.problem.as_deref()), (RpoState::Late, Some("no backup yet")));
    }

    #[test]
    fn a_cluster_that_nobody_backs_up_is_a_problem() {
        let status = judge(&facts(None), &[node(NodeState::Live, "a")], "");
        assert_eq!(status.rpo, RpoState::None);
        assert_eq!(status.next.as_deref(), Some("ringvault backup create -c orders"));
        let once = judge(&facts(Some(1)), &[node(NodeState::Live, "a")], "");
        assert_eq!(once.problem, None);
    }

    #[test]
    fn a_backup_of_less_than_a_policy_is_about_does_not_count_for_it() {
        let live = [node(NodeState::Live, "a")];
        let mut facts = facts(Some(30));
        let tables = vec!["k.t".parse().unwrap()];
        facts.good.push(GoodBackup {
            name: BackupName::new("one-table").unwrap(),
            at: now(),
            scope: Scope { selection: Selection { tables, ..Selection::default() }, dc: None },
        });
        let status = judge(&facts, &live, DAILY);
        assert_eq!((status.rpo, status.last_good.unwrap().backup.as_str()), (RpoState::Late, "b1"));
        let of_table = DAILY.replace("rpo", "tables=['k.t']\nrpo");
        let status = judge(&facts, &live, &of_table);
        assert_eq!((status.rpo, status.last_good.unwrap().backup.as_str()), (RpoState::Ok, "one-table"));
        assert_eq!(judge(&facts, &live, "").last_good.unwrap().backup.as_str(), "b1", "no policy");
    }

    #[test]
    fn the_worst_problem_is_told_first() {
        let mut facts = facts(Some(25));
        facts.failed = Some((JobId::generate(), JobKind::Backup));
        let nodes = [
            node(NodeState::Live, "ref-01"),
            node(NodeState::Silent, "ref-04"),
            node(NodeState::NoWorker, "ref-05"),
        ];
        let live = &nodes[..1];
        assert_eq!(judge(&facts, live, DAILY).problem.as_deref(), Some("a backup failed"));
        let silent = judge(&facts, &nodes, DAILY);
        assert_eq!(silent.problem.as_deref(), Some("ref-04 silent 27h and 1 more"));
        assert_eq!((silent.workers_live, silent.workers_total), (1, 3));
        facts.damaged = 2;
        facts.damaged_backup = Some(BackupName::new("b1").unwrap());
        let damaged = judge(&facts, &nodes, DAILY);
        assert_eq!(damaged.problem.as_deref(), Some("2 damaged objects"));
        assert_eq!(damaged.next.as_deref(), Some("ringvault backup show -c orders b1"));
    }

    #[test]
    fn ages_are_written_as_people_read_them() {
        for (seconds, text) in
            [(5, "5s"), (65, "1m"), (21_840, "6h 04m"), (97_860, "27h 11m"), (259_300, "3d")]
        {
            assert_eq!(age(seconds), text);
        }
    }
}
