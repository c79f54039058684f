//! Data centers of the target for those of the backup, where they bear other names or are more or fewer.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::Replication;

/// Longest name of a data center: longer than any that is meant.
const MAX_NAME: usize = 128;

/// Data centers of the target by those of the backup. One may become several, each with its copies, and
/// several may become one, with as many copies as the one of them that had most. What is not named keeps
/// its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "BTreeMap<String, BTreeSet<String>>", into = "BTreeMap<String, BTreeSet<String>>")]
pub struct DataCenterMap(BTreeMap<String, BTreeSet<String>>);

/// What is wrong with a line of the map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDataCenterMap {
    /// Not two names.
    #[error("{0:?} maps no data center: write OLD=NEW")]
    Form(String),
    /// The same pair again.
    #[error("{0}={1} is there twice")]
    Twice(String, String),
    /// It would be left out, and with it perhaps the only copies.
    #[error("data center {0:?} is mapped to none")]
    Nowhere(String),
}

impl DataCenterMap {
    /// Adds `OLD=NEW`.
    pub fn add(&mut self, text: &str) -> Result<(), InvalidDataCenterMap> {
        let form = || InvalidDataCenterMap::Form(crate::text::excerpt(text));
        let (old, new) = text.split_once('=').ok_or_else(form)?;
        if !is_name(old) || !is_name(new) {
            return Err(form());
        }
        if !self.0.entry(old.to_owned()).or_default().insert(new.to_owned()) {
            return Err(InvalidDataCenterMap::Twice(old.to_owned(), new.to_owned()));
        }
        Ok(())
    }

    /// Whether every data center keeps its name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The data centers of the backup that are named.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What a keyspace that was replicated like this is replicated like on the target.
    #[must_use]
    pub fn replication(&self, was: &Replication) -> Replication {
        let Replication::NetworkTopology { factors } = was else { return was.clone() };
        let mut mapped = BTreeMap::new();
        for (dc, factor) in factors {
            let own = BTreeSet::from([dc.clone()]);
            for target in self.0.get(dc).unwrap_or(&own) {
                let most = mapped.entry(target.clone()).or_insert(*factor);
                *most = (*most).max(*factor);
            }
        }
        Replication::NetworkTopology { factors: mapped }
    }
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && !c.is_whitespace() && !"'\"{}=,".contains(c);
    !text.is_empty() && text.len() <= MAX_NAME && text.chars().all(is_plain)
}

impl TryFrom<BTreeMap<String, BTreeSet<String>>> for DataCenterMap {
    type Error = InvalidDataCenterMap;

    fn try_from(map: BTreeMap<String, BTreeSet<String>>) -> Result<Self, Self::Error> {
        let mut checked = Self::default();
        for (old, new) in map {
            if new.is_empty() {
                return Err(InvalidDataCenterMap::Nowhere(old));
            }
            for new in new {
                checked.add(&format!("{old}={new}"))?;
            }
        }
        Ok(checked)
    }
}

impl From<DataCenterMap> for BTreeMap<String, BTreeSet<String>> {
    fn from(map: DataCenterMap) -> Self {
        map.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[&str]) -> DataCenterMap {
        let mut map = DataCenterMap::default();
        for line in lines {
            map.add(line).unwrap();
        }
        map
    }

    fn factors(of: &[(&str, u32)]) -> Replication {
        let factors = of.iter().map(|(dc, factor)| ((*dc).to_owned(), *factor)).collect();
        Replication::NetworkTopology { factors }
    }

    #[test]
    fn one_becomes_several_and_several_become_one() {
        let was = factors(&[("a", 2), ("b", 3)]);
        let becomes = |lines: &[&str], is: &[(&str, u32)]| {
            assert_eq!(map(lines).replication(&was), factors(is), "{lines:?}");
        };
        becomes(&[], &[("a", 2), ("b", 3)]);
        becomes(&["a=c"], &[("b", 3), ("c", 2)]);
        becomes(&["b=a"], &[("a", 3)]);
        becomes(&["a=x", "b=x"], &[("x", 3)]);
        becomes(&["a=a", "a=c"], &[("a", 2), ("b", 3), ("c", 2)]);
        let simple = Replication::Simple { factor: 2 };
        assert_eq!(map(&["a=b"]).replication(&simple), simple);
    }

    #[test]
    fn what_maps_nothing_is_refused() {
        for bad in ["a", "=b", "a=", "a=b=c", "a={}", "a='", "a b=c"] {
            let error = DataCenterMap::default().add(bad).unwrap_err();
            assert_eq!(error, InvalidDataCenterMap::Form(bad.to_owned()));
        }
        assert!(matches!(map(&["a=b"]).add("a=b"), Err(InvalidDataCenterMap::Twice(..))));
        let read = |text| serde_json::from_str::<DataCenterMap>(text);
        assert_eq!(read(r#"{"a":["b","c"]}"#).unwrap(), map(&["a=b", "a=c"]));
        assert!(read(r#"{"a":[]}"#).unwrap_err().to_string().contains("\"a\" is mapped to none"));
        assert!(read(r#"{"a":["'"]}"#).is_err());
    }
}
