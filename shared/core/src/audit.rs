//! The audit log's chain: each entry's hash covers the hash before it, so that none can be changed,
//! taken out or put in without every later one being another.
//!
//! An entry is exported as a JSON object a line. Its hash is SHA-256 of that object without `hash`,
//! written with its keys sorted, without spaces, as UTF-8; `prev` within it is the hash before it, 64
//! zeros for the first. So whoever has the lines can check them with a few lines of any language:
//!
//! ```python
//! entry = json.loads(line); got = entry.pop("hash")
//! text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
//! assert hashlib.sha256(text.encode()).hexdigest() == got
//! ```

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::api::AuditEntry;

/// SHA-256.
pub type Hash = [u8; 32];

/// What stands before the first entry.
pub const GENESIS: Hash = [0; 32];

/// Numbers that other languages write otherwise (fractions) are no part of details.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_i64() || number.is_u64(),
        Value::Array(items) => items.iter().all(is_plain),
        Value::Object(fields) => fields.values().all(is_plain),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// The details as they go into an entry: those that are not plain as text.
pub fn plain(details: Value) -> Value {
    if is_plain(&details) { details } else { Value::String(details.to_string()) }
}

/// An instant as an entry has it: in UTC, to a microsecond, which is what the database keeps.
pub fn instant(at: DateTime<Utc>) -> String {
    at.trunc_subsecs(6).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The hash of an entry, over everything but its own `hash`.
pub fn hash_of(entry: &AuditEntry) -> Hash {
    let AuditEntry { seq, at, actor, action, cluster, target, details, prev, hash: _ } = entry;
    let mut value = json!({
        "seq": seq, "at": instant(*at), "actor": actor, "action": action, "target": target,
        "details": details, "prev": prev,
    });
    if let (Some(cluster), Some(fields)) = (cluster, value.as_object_mut()) {
        fields.insert("cluster".to_owned(), json!(cluster));
    }
    let mut text = String::new();
    write_sorted(&value, &mut text);
    Sha256::digest(text).into()
}

fn write_sorted(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            text.push('{');
            for (place, name) in names.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                write_sorted(&fields[name], text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_sorted(item, text);
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// An entry is missing, or stands twice.
    #[error("entry {expected} is missing: entry {found} stands in its place")]
    Gap {
        /// Number that comes next.
        expected: u64,
        /// Number that was found.
        found: u64,
    },
    /// It does not follow what stands before it.
    #[error("entry {0} does not follow the entry before it: one of the two was changed")]
    Torn(u64),
    /// Its content is not what was hashed.
    #[error("entry {0} was changed after it was written")]
    Changed(u64),
    /// The vault was told of another entry with this number.
    #[error("entry {0} is not the one that the vault was told of: the log was written anew")]
    Rewritten(u64),
    /// The vault was told of entries that are not there.
    #[error("the log ends before entry {0}, which the vault was told of: its end was cut off")]
    CutOff(u64),
}

/// Checks a chain entry by entry, from whichever it begins with.
#[derive(Debug, Clone, Default)]
pub struct Checker {
    /// Number and hash of the last entry.
    last: Option<(u64, String)>,
}

impl Checker {
    /// Takes the next entry. After a fault it goes on with this one, so that each fault is told once.
    pub fn take(&mut self, entry: &AuditEntry) -> Result<(), Broken> {
        let before = self.last.replace((entry.seq, entry.hash.clone()));
        let expected = before.as_ref().map_or(entry.seq, |(seq, _)| seq + 1);
        if entry.seq != expected {
            return Err(Broken::Gap { expected, found: entry.seq });
        }
        let is_first = entry.seq == 1;
        let follows = match &before {
            Some((_, hash)) => *hash == entry.prev,
            None => !is_first || entry.prev == hex::encode(GENESIS),
        };
        if !follows {
            return Err(Broken::Torn(entry.seq));
        }
        if hex::encode(hash_of(entry)) != entry.hash {
            return Err(Broken::Changed(entry.seq));
        }
        Ok(())
    }

    /// Number of the last entry taken.
    pub fn last(&self) -> Option<u64> {
        self.last.as_ref().map(|(seq, _)| *seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(length: u64) -> Vec<AuditEntry> {
        let mut prev = GENESIS;
        (1..=length)
            .map(|seq| {
                let mut entry = AuditEntry {
                    seq,
                    at: DateTime::from_timestamp_micros(1_700_000_000_000_000).unwrap(),
                    actor: "token ci".into(),
                    action: "hold.set".into(),
                    cluster: Some("orders".parse().unwrap()),
                    target: "backup b1".into(),
                    details: json!({"z": [1, null], "a": "é\n\"x\""}),
                    prev: hex::encode(prev),
                    hash: String::new(),
                };
                prev = hash_of(&entry);
                entry.hash = hex::encode(prev);
                entry
            })
            .collect()
    }

    fn check(entries: &[AuditEntry]) -> Vec<Broken> {
        let mut checker = Checker::default();
        entries.iter().filter_map(|entry| checker.take(entry).err()).collect()
    }

    #[test]
    fn a_chain_holds_and_so_does_any_part_of_it() {
        let entries = chain(5);
        assert_eq!(check(&entries), []);
        assert_eq!(check(&entries[2..]), []);
    }

    #[test]
    fn any_change_is_found_and_told_once() {
        let mut changed = chain(5);
        changed[2].actor = "token other".into();
        assert_eq!(check(&changed), [Broken::Changed(3)]);
        changed[2].hash = hex::encode(hash_of(&changed[2]));
        assert_eq!(check(&changed), [Broken::Torn(4)]);
        let mut short = chain(5);
        short.remove(1);
        assert_eq!(check(&short), [Broken::Gap { expected: 2, found: 3 }]);
        let mut first = chain(2);
        first[0].prev = "11".repeat(32);
        first[0].hash = hex::encode(hash_of(&first[0]));
        assert_eq!(check(&first)[0], Broken::Torn(1));
        let changes: [fn(&mut AuditEntry); 5] = [
            |entry| entry.at += chrono::TimeDelta::microseconds(1),
            |entry| entry.action = "hold.release".into(),
            |entry| entry.cluster = None,
            |entry| entry.target.push('x'),
            |entry| entry.details = json!({}),
        ];
        for change in changes {
            let mut entries = chain(3);
            change(&mut entries[1]);
            assert_eq!(check(&entries), [Broken::Changed(2)]);
        }
    }

    #[test]
    fn the_hash_is_what_the_documentation_says() {
        // json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        let text = concat!(
            r#"{"action":"hold.set","actor":"token ci","at":"2023-11-14T22:13:20.000000Z","cluster":"orders","#,
            r#""details":{"a":"é\n\"x\"","z":[1,null]},"prev":"0000000000000000000000000000000000000000000000000000000000000000","#,
            r#""seq":1,"target":"backup b1"}"#
        );
        assert_eq!(chain(1)[0].hash, hex::encode(Sha256::digest(text)));
        let line = serde_json::to_value(&chain(1)[0]).unwrap();
        assert_eq!(line["at"], "2023-11-14T22:13:20.000000Z");
    }

    #[test]
    fn details_hold_no_fractions() {
        assert_eq!(plain(json!({"a": [1]})), json!({"a": [1]}));
        assert_eq!(plain(json!({"a": [0.5]})), json!(r#"{"a":[0.5]}"#));
    }
}
