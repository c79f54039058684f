//! Reading what nodetool prints. Pure, and tested on texts printed by Cassandra 5.0.4.

use std::{collections::BTreeSet, path::PathBuf};

use ringvault_core::{HostId, cluster::Token, selection::TableName};
use serde_json::Value;
use uuid::Uuid;

use super::NodeInfo;

/// Puts `info -T`, `describecluster`, `version` and `netstats` together, or says what is missing.
pub fn node_info(info: &str, cluster: &str, version: &str, netstats: &str) -> Result<NodeInfo, &'static str> {
    let host_id = host_id(info);
    let mut tokens = values_of(info, "Token")
        .map(|token| token.parse().map(Token))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "Murmur3 tokens")?;
    tokens.sort_unstable();
    let text = |from: &str, key: &str, name: &'static str| value_of(from, key).map(str::to_owned).ok_or(name);
    Ok(NodeInfo {
        host_id: host_id.ok_or("a host id")?,
        cluster_name: text(cluster, "Name", "a cluster name")?,
        partitioner: text(cluster, "Partitioner", "a partitioner")?,
        dc: text(info, "Data Center", "a data center")?,
        rack: text(info, "Rack", "a rack")?,
        release_version: text(version, "ReleaseVersion", "a release version")?,
        operation_mode: text(netstats, "Mode", "an operation mode")?,
        in_motion: ["Joining", "Leaving", "Moving"]
            .iter()
            .filter_map(|state| value_of(cluster, state)?.parse().ok())
            .fold(0, u64::saturating_add),
        tokens,
        data_dirs: None,
    })
}

/// The host id in the answer to `info`.
pub fn host_id(info: &str) -> Option<HostId> {
    value_of(info, "ID")?.parse().ok()
}

/// Values of the lines `key : value`, whatever the white space.
fn values_of<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn value_of<'a>(text: &'a str, key: &'a str) -> Option<&'a str> {
    values_of(text, key).next()
}

/// Host ids in the rows of `status` whose first word says that the node is up (`UN`, `UJ`, …).
pub fn live_members(text: &str) -> BTreeSet<HostId> {
    let is_up = |word: &str| word.len() == 2 && word.starts_with('U');
    let rows = text.lines().filter(|line| line.split_whitespace().next().is_some_and(is_up));
    rows.filter_map(|line| line.split_whitespace().find_map(|word| word.parse().ok())).collect()
}

/// Tags in the table of `listsnapshots`, ascending. A tag holds no blank, so it is a row's first
/// word; rows stand between the heading and the first empty line.
pub fn snapshot_tags(text: &str) -> Vec<String> {
    let mut tags: Vec<String> = text
        .lines()
        .skip_while(|line| !line.starts_with("Snapshot name"))
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

/// A number out of `tablestats -F json`, which prints some of its numbers as texts.
pub fn table_stat(text: &str, table: &TableName, name: &str) -> Option<u64> {
    let stats: Value = serde_json::from_str(text).ok()?;
    let value = &stats[&table.keyspace]["tables"][&table.table][name];
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// The id in the answer to a call that begins a stream: a line of its own.
pub fn stream_plan(text: &str) -> Option<Uuid> {
    text.lines().find_map(|line| line.trim().parse().ok())
}

/// The directories of `given` that nodetool names as failed: each on a line of its own.
pub fn failed_import_dirs(text: &str, given: &[PathBuf]) -> Vec<PathBuf> {
    let Some((_, list)) = text.split_once("failed to import") else {
        return Vec::new();
    };
    let named: Vec<&str> = list.lines().map(|line| line.trim().trim_end_matches('/')).collect();
    let is_named =
        |dir: &&PathBuf| dir.to_str().is_some_and(|dir| named.contains(&dir.trim_end_matches('/')));
    given.iter().filter(is_named).cloned().collect()
}

/// The text without Java's stack trace and nodetool's advice.
pub fn without_stack_trace(text: &str) -> String {
    let is_noise = |line: &&str| {
        let line = line.trim_start();
        !(line.starts_with("at ")
            || line.starts_with("-- StackTrace --")
            || line.starts_with("See 'nodetool help'")
            || line.starts_with("Requested creating snapshot"))
    };
    text.lines().filter(is_noise).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_read_from_four_answers() {
        let info = "ID                     : 63cf81ee-701f-4651-8e8f-3b225aa0fee2\n\
                    Data Center            : dc1\nRack                   : r1\n\
                    Token                  : 5519017926943561699\n\
                    Token                  : -867192810305586101\n";
        let cluster = "Cluster Information:\n\tName: dev: one\n\
                       \tPartitioner: org.apache.cassandra.dht.Murmur3Partitioner\n\
                       Stats for all nodes:\n\tLive: 1\n\tJoining: 1\n\tMoving: 0\n\tLeaving: 2\n\
                       Database versions:\n\t5.0.4: [127.0.9.1:7000]\n";
        let netstats = "Mode: NORMAL\nNot sending any streams.\n";
        let read = node_info(info, cluster, "ReleaseVersion: 5.0.4\n", netstats).unwrap();
        assert_eq!(read.cluster_name, "dev: one");
        assert_eq!((read.operation_mode.as_str(), read.in_motion), ("NORMAL", 3));
        assert_eq!(read.tokens, vec![Token(-867_192_810_305_586_101), Token(5_519_017_926_943_561_699)]);
        assert_eq!(node_info(info, cluster, "", netstats), Err("a release version"));
        let absurd = cluster.replace("Joining: 1", &format!("Joining: {}", u64::MAX));
        let read = node_info(info, &absurd, "ReleaseVersion: 5.0.4\n", netstats).unwrap();
        assert_eq!(read.in_motion, u64::MAX, "more than can be counted is not none");
    }

    #[test]
    fn tags_are_the_first_words_of_the_rows() {
        let text = "Snapshot Details: \n\
            Snapshot name Keyspace name Column family name True size Size on disk Creation time\n\
            t2            system_auth   roles              156 bytes 5.29 KiB     2026-11-23T08\n\
            t1            system_auth   role_members       110 bytes 110 bytes    2026-11-23T08\n\
            t1            system_auth   cidr_groups        110 bytes 110 bytes    2026-11-23T08\n\
            \nTotal TrueDiskSpaceUsed: 0 bytes\n";
        assert_eq!(snapshot_tags(text), vec!["t1", "t2"]);
        assert!(snapshot_tags("Snapshot Details: \nThere are no snapshots\n").is_empty());
    }

    #[test]
    fn members_that_are_up_are_told_from_those_that_are_down() {
        let text = "Datacenter: dc1\n===============\nStatus=Up/Down\n|/ State=Normal/Leaving/Joining/Moving\n\
            --  Address     Load       Tokens  Owns (effective)  Host ID                               Rack\n\
            UN  127.0.9.1   85.13 KiB  16      100.0%            63cf81ee-701f-4651-8e8f-3b225aa0fee2  r1\n\
            DN  127.0.9.2   ?          16      100.0%            73cf81ee-701f-4651-8e8f-3b225aa0fee2  r1\n\n";
        let up: HostId = "63cf81ee-701f-4651-8e8f-3b225aa0fee2".parse().unwrap();
        assert_eq!(live_members(text), [up].into());
    }

    #[test]
    fn stats_are_found_as_numbers_or_texts() {
        let table = TableName::new("k", "t");
        let text = r#"{"total_number_of_tables":1,"k":{"tables":{"t":{"sstable_count":3,"x":"7"}}}}"#;
        assert_eq!(table_stat(text, &table, "sstable_count"), Some(3));
        assert_eq!(table_stat(text, &table, "x"), Some(7));
        assert_eq!(table_stat(text, &table, "y"), None);
        assert_eq!(table_stat("no json", &table, "x"), None);
    }

    #[test]
    fn failed_directories_are_matched_whole() {
        let given: Vec<PathBuf> = ["/s/1", "/s/10", "/s/2/"].map(PathBuf::from).to_vec();
        let text = "Some directories failed to import, check server logs for details:\n\t/s/10\n\t/s/2";
        assert_eq!(failed_import_dirs(text, &given), vec![given[1].clone(), given[2].clone()]);
        assert!(failed_import_dirs("", &given).is_empty());
    }
}
