//! Many tasks' failures as one message: the same error on many nodes is said once.

use std::fmt::Write;

use ringvault_core::{HostId, TaskError, job::StageKind};

/// Nodes named in a message.
const NAMED: usize = 5;

/// Why a stage failed, from its failed tasks' errors: the most frequent one first told, the others
/// counted.
pub(super) fn of_stage(stage: StageKind, failures: &[(Option<HostId>, TaskError)], tasks: u32) -> TaskError {
    let count = |code: &str| failures.iter().filter(|(_, error)| error.code == code).count();
    let first = failures.iter().rev().max_by_key(|(_, error)| count(&error.code));
    let Some((_, error)) = first else {
        let stage = stage.as_str();
        return TaskError::permanent("RV-STAGE", format!("{stage} was stopped before it was done"));
    };
    let same: Vec<&HostId> = failures
        .iter()
        .filter(|(_, other)| other.code == error.code)
        .filter_map(|(host, _)| host.as_ref())
        .collect();
    let mut whole = error.clone();
    if tasks > 1 {
        let mut text = format!("{} of {tasks} {} tasks failed", failures.len(), stage.as_str());
        if !same.is_empty() {
            let named: Vec<String> = same.iter().take(NAMED).map(ToString::to_string).collect();
            let more = same.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            // Writing to a String cannot fail.
            let _ = write!(text, " (nodes {}{more})", named.join(", "));
        }
        let others = failures.len() - count(&error.code);
        let _ = write!(text, ": {}", error.message);
        if others > 0 {
            let _ = write!(text, "; {others} with other errors");
        }
        whole.message = text;
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_error_on_many_nodes_is_one_message() {
        let host = |n| Some(HostId(uuid::Uuid::from_u128(n)));
        let denied = || TaskError::permanent("RV-STORE-403", "PutObject denied");
        let failures =
            vec![(host(1), TaskError::transient("RV-X", "odd")), (host(2), denied()), (host(3), denied())];
        let error = of_stage(StageKind::Upload, &failures, 12);
        assert_eq!(error.code, "RV-STORE-403");
        assert!(error.message.starts_with("3 of 12 upload tasks failed (nodes "), "{}", error.message);
        assert!(error.message.ends_with(": PutObject denied; 1 with other errors"), "{}", error.message);
        let alone = of_stage(StageKind::Seal, &[(None, denied())], 1);
        assert_eq!(alone.message, "PutObject denied");
        assert_eq!(of_stage(StageKind::Seal, &[], 1).code, "RV-STAGE");
    }
}
