//! What later stages of a restore are told of its plan.

use chrono::DateTime;
use uuid::Uuid;

use super::*;
use crate::{
    BackupName, ClusterName, HostId, JobId,
    cluster::Topology,
    task::{NodePlan, PlanRef, PlanResult, TaskPayload, TaskResult},
};

#[test]
fn later_stages_go_by_the_plan_that_was_accepted() {
    let spec: RestoreSpec =
        serde_json::from_value(serde_json::json!({ "source": "a", "backup": "b", "target": "c" })).unwrap();
    assert_eq!(
        (&spec.source, &spec.backup),
        (&ClusterName::new("a").unwrap(), &BackupName::new("b").unwrap())
    );
    let spec = JobSpec::Restore(spec);
    let host = HostId(Uuid::from_u128(1));
    let told = |blake3: Option<&str>| {
        let node =
            NodePlan { host_id: host, address: "x".into(), sstables: 0, files: 0, bytes: 0, receives: 0 };
        let result = TaskResult::Plan(PlanResult {
            key: "k.2.json".into(),
            blake3: blake3.map(str::to_owned),
            method: RestoreMethod::Copy,
            reason: String::new(),
            source_nodes: 1,
            nodes: vec![node],
            tables: 0,
            blockers: Vec::new(),
            warnings: Vec::new(),
            checks: Vec::new(),
        });
        let outcomes = [TaskOutcome { stage: StageKind::Plan, host_id: None, result: Some(result) }];
        let context = JobContext {
            job: JobId(Uuid::nil()),
            spec: &spec,
            created_at: DateTime::UNIX_EPOCH,
            topology: &Topology::default(),
            live_workers: 1,
            outcomes: &outcomes,
            expire: &[],
            dead: &[],
            tainted: false,
        };
        match plan_stage(&context, StageKind::Download).unwrap().swap_remove(0).payload {
            TaskPayload::Download(task) => task.plan,
            other => panic!("{other:?}"),
        }
    };
    let plan = PlanRef { key: "k.2.json".into(), blake3: "abc".into() };
    assert_eq!(told(Some("abc")), Some(plan));
    assert_eq!(told(None), None, "a worker of an older release says no hash");
}
