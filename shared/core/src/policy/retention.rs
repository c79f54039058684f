//! Which backups a retention expires.
//!
//! A backup goes when it is older than `max_age`, or when keep rules are given and none of them
//! keeps it; but never one of the `min_restorable` newest that can be restored. Only restorable,
//! untainted backups count for a keep rule, so an incomplete backup never pushes a restorable one
//! out; it goes itself once every backup the rules keep is newer. What is running, held, locked,
//! dead or expired already is never chosen.
//!
//! A backup is judged among those that are of as much as it is, or of more ([`Scope::covers`]): a
//! backup of one table or one data center never pushes out, nor counts for, one of everything; a
//! newer one of everything may push out one of a table.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, Duration, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    BackupName,
    backup::{BackupFacts, Scope},
    lasting::lasting,
};

/// What to keep. Absent rules do not apply; with none at all, everything stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The newest so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<u32>,
    /// Older than this goes, such as `30d`.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::lasting")]
    #[schemars(with = "Option<String>")]
    pub max_age: Option<std::time::Duration>,
    /// The newest of each of the last so many days (UTC) that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,
    /// The newest of each of the last so many ISO weeks that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u32>,
    /// The newest of each of the last so many months that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u32>,
    /// The newest of each of the last so many years that have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u32>,
    /// So many restorable backups stay whatever else says; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_restorable: Option<u32>,
}

/// A backup to expire, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expiry {
    /// The backup.
    pub backup: BackupName,
    /// In words.
    pub reason: String,
}

/// The backups of one cluster (and policy) that `retention` expires at `now`, oldest first.
pub fn select_expired(backups: &[BackupFacts], retention: &Retention, now: DateTime<Utc>) -> Vec<Expiry> {
    let mut newest_first: Vec<&BackupFacts> =
        backups.iter().filter(|backup| backup.state.is_sealed()).collect();
    newest_first.sort_by(|a, b| (b.started_at, &b.name).cmp(&(a.started_at, &a.name)));
    let counts = |backup: &BackupFacts| backup.state.is_restorable() && !backup.tainted;
    let restorable: Vec<&BackupFacts> =
        newest_first.iter().copied().filter(|backup| counts(backup)).collect();

    // Few scopes, many backups of each.
    let mut standards: Vec<(&Scope, Standard)> = Vec::new();
    for backup in &newest_first {
        if standards.iter().all(|(scope, _)| *scope != &backup.scope) {
            standards.push((&backup.scope, Standard::of(&backup.scope, &restorable, retention)));
        }
    }
    let mut expired = Vec::new();
    for backup in newest_first.into_iter().rev() {
        let standard = standards.iter().find(|(scope, _)| *scope == &backup.scope);
        let Some((_, Standard { safe, kept, oldest_kept })) = standard else { continue };
        let locked = backup.locked_until.is_some_and(|until| until > now);
        if backup.held || locked || safe.contains(&backup.name) {
            continue;
        }
        let age = now - backup.started_at;
        let max_age = retention.max_age.and_then(|age| Duration::from_std(age).ok());
        let reason = if let Some(max_age) = max_age.filter(|max_age| age > *max_age) {
            format!("older than {}", lasting(max_age.to_std().unwrap_or_default()))
        } else if let Some(kept) = kept {
            let stays = if counts(backup) {
                kept.contains(&backup.name)
            } else {
                oldest_kept.is_none_or(|oldest| backup.started_at > oldest)
            };
            if stays {
                continue;
            }
            "kept by no rule".to_owned()
        } else {
            continue;
        };
        expired.push(Expiry { backup: backup.name.clone(), reason });
    }
    expired
}

/// What a backup of some scope is measured by.
struct Standard<'a> {
    /// The newest that stay whatever else says.
    safe: BTreeSet<&'a BackupName>,
    /// Kept by the keep rules; `None` without any.
    kept: Option<BTreeSet<&'a BackupName>>,
    /// When the oldest that the rules keep was begun.
    oldest_kept: Option<DateTime<Utc>>,
}

impl<'a> Standard<'a> {
    /// Of backups of `scope`, by the restorable ones that hold all of it, the newest first.
    fn of(scope: &Scope, restorable: &[&'a BackupFacts], retention: &Retention) -> Self {
        let peers: Vec<&BackupFacts> =
            restorable.iter().copied().filter(|backup| backup.scope.covers(scope)).collect();
        let least = retention.min_restorable.unwrap_or(1) as usize;
        let kept = kept_by_rules(&peers, retention);
        let oldest_kept = peers
            .iter()
            .filter(|backup| kept.as_ref().is_some_and(|kept| kept.contains(&backup.name)))
            .map(|backup| backup.started_at)
            .min();
        Self { safe: peers.iter().take(least).map(|backup| &backup.name).collect(), kept, oldest_kept }
    }
}

/// Names kept by the keep rules; `None` when no such rule is given.
fn kept_by_rules<'a>(
    restorable: &[&'a BackupFacts],
    retention: &Retention,
) -> Option<BTreeSet<&'a BackupName>> {
    type Period = fn(DateTime<Utc>) -> (i32, u32);
    let periods: [(Option<u32>, Period); 4] = [
        (retention.daily, |at| (at.year(), at.ordinal())),
        (retention.weekly, |at| (at.iso_week().year(), at.iso_week().week())),
        (retention.monthly, |at| (at.year(), at.month())),
        (retention.yearly, |at| (at.year(), 0)),
    ];
    if retention.keep_last.is_none() && periods.iter().all(|(count, _)| count.is_none()) {
        return None;
    }
    let mut kept = BTreeSet::new();
    let last = retention.keep_last.unwrap_or(0) as usize;
    kept.extend(restorable.iter().take(last).map(|backup| &backup.name));
    for (count, period) in periods {
        let mut seen = BTreeSet::new();
        for backup in restorable {
            let is_new = seen.insert(period(backup.started_at));
            if seen.len() > count.unwrap_or(0) as usize {
                break;
            }
            if is_new {
                kept.insert(&backup.name);
            }
        }
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClusterName, JobId, backup::BackupState, selection::Selection};

    const NOW: &str = "2026-11-23T00:00:00Z";

    /// `c3` is complete and three days old; `i` incomplete, `r` running, `h` held, `t` tainted,
    /// `v` covering, `l` locked for a week from its start. `c3/a.t` is of one table, `c3@dc1` of one data center.
    fn facts(text: &str) -> Vec<BackupFacts> {
        let now: DateTime<Utc> = NOW.parse().unwrap();
        text.split_whitespace()
            .map(|word| {
                let (word, tables) = word.split_once('/').unwrap_or((word, ""));
                let (word, dc) = word.split_once('@').map_or((word, None), |(word, dc)| (word, Some(dc)));
                let tables = tables.split(',').filter(|table| !table.is_empty());
                let selection = Selection {
                    tables: tables.map(|t| t.parse().unwrap()).collect(),
                    ..Selection::default()
                };
                let (kind, days) = word.split_at(1);
                BackupFacts {
                    cluster: ClusterName::new("c").unwrap(),
                    name: BackupName::new(word).unwrap(),
                    job: JobId::generate(),
                    policy: None,
                    state: match kind {
                        "i" => BackupState::Incomplete,
                        "r" => BackupState::Running,
                        "v" => BackupState::Covering,
                        _ => BackupState::Complete,
                    },
                    scope: Scope { selection, dc: dc.map(str::to_owned) },
                    started_at: now - Duration::days(days.parse().unwrap()),
                    held: kind == "h",
                    tainted: kind == "t",
                    locked_until: (kind == "l")
                        .then(|| now + Duration::days(7 - days.parse::<i64>().unwrap())),
                }
            })
            .collect()
    }

    fn expired(backups: &str, retention: &str) -> String {
        let retention: Retention = toml::from_str(retention).unwrap();
        let chosen = select_expired(&facts(backups), &retention, NOW.parse().unwrap());
        chosen.iter().map(|expiry| expiry.backup.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn table() {
        // (backups, retention, expired)
        let table = [
            ("c1 c2 c3", "", ""),
            ("c1 c2 c3", "keep_last = 2", "c3"),
            ("c1 v2 c3", "keep_last = 2", "c3"),
            ("i1 c2 c3 c4", "keep_last = 2", "c4"),
            ("i1 i2 i3 c4", "keep_last = 1", ""),
            ("c1 i2 c3", "keep_last = 1", "c3 i2"),
            ("t1 c2 c3", "keep_last = 1", "c3"),
            ("r1 c2 c3", "keep_last = 1", "c3"),
            ("c1 h2 c3", "keep_last = 1", "c3"),
            ("c1 l2 c3", "keep_last = 1", "c3"),
            ("c1 l6 l7 l8", "keep_last = 1", "l8 l7"),
            ("i1 i2", "keep_last = 1", ""),
            ("c1 c10 c40", "max_age = '30d'", "c40"),
            ("c40 c50", "max_age = '30d'", "c50"),
            ("c40 c50 c60", "max_age = '30d'\nmin_restorable = 2", "c60"),
            ("c40 i41", "max_age = '30d'", "i41"),
            ("c1 c2 c40", "keep_last = 5\nmax_age = '30d'", "c40"),
            ("c1 c2 c3", "keep_last = 0", "c3 c2"),
            ("c1 c2 c3", "keep_last = 0\nmin_restorable = 0", "c3 c2 c1"),
            ("c1 c2 c9 c16 c23", "weekly = 3", "c23 c2"),
            ("c1 c2 c30 c60", "monthly = 2", "c60 c2"),
            ("c1 c2 c3", "daily = 2", "c3"),
            // A narrower one never pushes out a wider one, nor counts for it.
            ("c1/a.t c2", "keep_last = 1", ""),
            ("c1@dc1 c2", "keep_last = 1", ""),
            ("c1/a.t c2 c3", "keep_last = 1", "c3"),
            ("c1/a.t c2/a.t c3", "keep_last = 1", "c2"),
            ("c1/a.t c40", "max_age = '30d'", ""),
            ("c1/a.t c40 c50", "max_age = '30d'", "c50"),
            ("c1/a.t c40", "max_age = '30d'\nmin_restorable = 0", "c40"),
            // A wider one may push out a narrower one.
            ("c1 c2/a.t", "keep_last = 1", "c2"),
            ("c1 c2@dc1", "keep_last = 1", "c2"),
            ("c1/a.t,a.u c2/a.t", "keep_last = 1", "c2"),
            ("c1 i2/a.t", "keep_last = 1", "i2"),
            // Neither is wider.
            ("c1/a.t c2/a.u", "keep_last = 1", ""),
            ("c1@dc1 c2@dc2", "keep_last = 1", ""),
            ("c1@dc1 c2/a.t", "keep_last = 1", ""),
        ];
        for (backups, retention, expect) in table {
            assert_eq!(expired(backups, retention), expect, "{backups} | {retention}");
        }
    }
}
