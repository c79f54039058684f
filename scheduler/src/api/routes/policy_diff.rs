//! What a policy file changes of what stands.

use std::collections::BTreeMap;

use ringvault_core::{
    PolicyName,
    api::{FieldChange, PolicyChange, PolicyDiff},
    policy::{Policy, PolicyDocument},
};
use serde_json::Value;

/// Compares. Policies that are not in the file stay, unless `prune`.
pub(super) fn diff(
    standing: &BTreeMap<PolicyName, Policy>,
    file: &PolicyDocument,
    prune: bool,
    dry_run: bool,
) -> PolicyDiff {
    let mut diff = PolicyDiff {
        dry_run,
        added: Vec::new(),
        changed: Vec::new(),
        removed: Vec::new(),
        unchanged: Vec::new(),
    };
    for (name, policy) in &file.policy {
        match standing.get(name) {
            None => diff.added.push(name.clone()),
            Some(stands) if stands == policy => diff.unchanged.push(name.clone()),
            Some(stands) => {
                diff.changed.push(PolicyChange { policy: name.clone(), fields: fields(stands, policy) });
            }
        }
    }
    if prune {
        let gone = standing.keys().filter(|name| !file.policy.contains_key(*name));
        diff.removed = gone.cloned().collect();
    }
    diff
}

fn fields(from: &Policy, to: &Policy) -> Vec<FieldChange> {
    let object = |policy: &Policy| match serde_json::to_value(policy) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (from, to) = (object(from), object(to));
    let mut names: Vec<&String> = from.keys().chain(to.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| from.get(*name) != to.get(*name))
        .map(|name| FieldChange {
            field: name.clone(),
            from: from.get(name).cloned(),
            to: to.get(name).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringvault_core::policy::parse_policies;

    fn file(text: &str) -> PolicyDocument {
        parse_policies(text).unwrap()
    }

    const POLICY: &str = "cluster = 'c'\nschedule = '0 2 * * *'\naction = 'backup'\n";

    #[test]
    fn a_file_adds_and_changes_and_takes_away_only_when_asked() {
        let standing = file(&format!("[policy.a]\n{POLICY}[policy.b]\n{POLICY}[policy.c]\n{POLICY}"));
        let new = format!("[policy.a]\n{POLICY}[policy.b]\n{POLICY}rpo = '24h'\n[policy.d]\n{POLICY}");
        let names =
            |names: &[PolicyName]| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let kept = diff(&standing.policy, &file(&new), false, true);
        assert_eq!((names(&kept.added), names(&kept.unchanged)), ("d".into(), "a".into()));
        assert_eq!((kept.removed.len(), kept.changed.len()), (0, 1));
        let field = &kept.changed[0].fields;
        assert_eq!((field.len(), field[0].field.as_str(), &field[0].from), (1, "rpo", &None));
        let pruned = diff(&standing.policy, &file(&new), true, true);
        assert_eq!(names(&pruned.removed), "c");
    }
}
