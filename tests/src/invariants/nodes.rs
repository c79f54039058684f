//! 10: jobs that are over have left nothing on nodes: no snapshot, no staged file, no note.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use ringvault_core::{JobId, job::snapshot_tag};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::Violation;
use crate::Lab;

const NAME: &str = "10 nothing is left on a node";

pub(super) async fn violations(lab: &Lab, conn: &mut PgConnection) -> Result<Vec<Violation>> {
    let rows = sqlx::query(
        "select id, kind, state from jobs where state in ('succeeded', 'cancelled', 'abandoned')",
    )
    .fetch_all(conn)
    .await?;
    let over: BTreeMap<String, String> = rows
        .iter()
        .flat_map(|row| {
            let (id, kind, state): (Uuid, String, String) = (row.get(0), row.get(1), row.get(2));
            let what = format!("{kind} job {id}, which is {state}");
            [(id.to_string(), what.clone()), (snapshot_tag(JobId(id)), what)]
        })
        .collect();
    let mut found = Vec::new();
    for (name, cluster) in lab.status().await?.clusters {
        let mut left = lab.snapshots(&name).await?;
        for node in &cluster.nodes {
            left.extend(node.worker.iter().flat_map(|worker| entries(&worker.state_dir.join("jobs"))));
            let stages = node.data_dirs.iter().filter_map(|dir| Some(dir.parent()?.join("ringvault-stage")));
            left.extend(stages.flat_map(|stage| entries(&stage)));
        }
        for path in left {
            let entry = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some(job) = over.get(entry.as_ref()) {
                found.push(Violation::new(NAME, format!("{} of {job}", path.display())));
            }
        }
    }
    Ok(found)
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}
