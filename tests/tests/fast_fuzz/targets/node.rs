//! What a Cassandra node says of itself: nodetool's texts, the agent's answers, statements of its schema.

use std::collections::BTreeMap;

use ringvault_cassandra::{
    control::{jolokia_answer as answer, output},
    schema::{quote_name, statements, unquote_name},
};
use ringvault_core::{cluster::Replication, selection::TableName};
use serde_json::Value;

use super::{JSON, SOME, Target};
use crate::{harness::told, mutate, seeds};

super::targets! {
    nodetool => Target {
        name: "nodetool",
        seeds: seeds::texts(&[INFO, CLUSTER, "ReleaseVersion: 5.0.4\n", "Mode: NORMAL\nNot sending any streams.\n", SNAPSHOTS, STATUS, STATS, TRACE]),
        mutate: mutate::text,
        base: SOME,
        factor: JSON,
        parse: try_nodetool,
    };
    jolokia => Target {
        name: "jolokia",
        seeds: seeds::texts(&[SERVICE, PLACE, MEMBERS, REFUSED]),
        mutate: mutate::json,
        base: SOME,
        factor: JSON,
        parse: try_jolokia,
    };
    cql => Target {
        name: "cql",
        seeds: seeds::texts(&[TABLE, KEYSPACE, FUNCTION]),
        mutate: mutate::text,
        base: SOME,
        factor: 96,
        parse: try_cql,
    };
    replication => Target {
        name: "replication",
        seeds: seeds::texts(&[
            r#"{"class":"org.apache.cassandra.locator.NetworkTopologyStrategy","dc1":"3/1","dc2":"2"}"#,
            r#"{"class":"SimpleStrategy","replication_factor":"3"}"#,
            r#"{"class":"LocalStrategy"}"#,
        ]),
        mutate: mutate::json,
        base: SOME,
        factor: JSON,
        parse: |input| {
            if let Ok(options) = serde_json::from_slice::<BTreeMap<String, String>>(input) {
                let _ = Replication::from_options(&options);
            }
        },
    };
}

const INFO: &str = "ID                     : 63cf81ee-701f-4651-8e8f-3b225aa0fee2\nData Center            : dc1\nRack                   : r1\nToken                  : 5519017926943561699\nToken                  : -867192810305586101\n";
const CLUSTER: &str = "Cluster Information:\n\tName: dev: one\n\tPartitioner: org.apache.cassandra.dht.Murmur3Partitioner\nStats for all nodes:\n\tLive: 1\n\tJoining: 1\n\tMoving: 0\n\tLeaving: 2\nDatabase versions:\n\t5.0.4: [127.0.9.1:7000]\n";
const SNAPSHOTS: &str = "Snapshot Details: \nSnapshot name Keyspace name Column family name True size Size on disk Creation time\nt2            system_auth   roles              156 bytes 5.29 KiB     2026-11-23T08\nt1            system_auth   role_members       110 bytes 110 bytes    2026-11-23T08\n\nTotal TrueDiskSpaceUsed: 0 bytes\n";
const STATUS: &str = "Datacenter: dc1\n===============\nStatus=Up/Down\n|/ State=Normal/Leaving/Joining/Moving\n--  Address     Load       Tokens  Owns (effective)  Host ID                               Rack\nUN  127.0.9.1   85.13 KiB  16      100.0%            63cf81ee-701f-4651-8e8f-3b225aa0fee2  r1\nDN  127.0.9.2   ?          16      100.0%            73cf81ee-701f-4651-8e8f-3b225aa0fee2  r1\n\n";
const STATS: &str = r#"{"total_number_of_tables":1,"k":{"tables":{"t":{"sstable_count":3,"number_of_partitions_estimate":"7"}}}}"#;
const TRACE: &str = "error: Some directories failed to import, check server logs for details:\n\t/s/10\n\t/s/2\n-- StackTrace --\njava.lang.RuntimeException: x\n\tat a.b.c(D.java:1)\nSee 'nodetool help' or 'nodetool help <command>'.\n";
const SERVICE: &str = r#"{"status":200,"value":{"LocalHostId":"63cf81ee-701f-4651-8e8f-3b225aa0fee2","ClusterName":"dev","PartitionerName":"org.apache.cassandra.dht.Murmur3Partitioner","ReleaseVersion":"5.0.4","OperationMode":"NORMAL","Tokens":["-5","7"],"AllDataFileLocations":["/d1","/d2"],"JoiningNodes":[],"LeavingNodes":["x"],"MovingNodes":[]}}"#;
const PLACE: &str = r#"{"status":200,"value":{"Datacenter":"dc1","Rack":"r1"}}"#;
const MEMBERS: &str = r#"{"status":200,"value":{"LiveNodesWithPort":["127.0.9.1:7000"],"EndpointWithPortToHostId":{"127.0.9.1:7000":"63cf81ee-701f-4651-8e8f-3b225aa0fee2"}}}"#;
const REFUSED: &str = r#"{"status":404,"error":"javax.management.InstanceNotFoundException : org.apache.cassandra.db:type=StorageService","error_type":"javax.management.InstanceNotFoundException","stacktrace":"x"}"#;
const TABLE: &str = "CREATE TABLE k.t (\n    k int PRIMARY KEY,\n    gone int,\n    \"A \"\"b\" text static,\n    re int\n) WITH comment = 'it''s; odd';\nALTER TABLE k.t DROP gone USING TIMESTAMP 3000;\nALTER TABLE k.t DROP \"A \"\"b\" USING TIMESTAMP 2000;\nALTER TABLE k.t DROP re USING TIMESTAMP 1001;\nALTER TABLE k.t ADD re int;";
const KEYSPACE: &str = "CREATE KEYSPACE k WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '1'}  AND durable_writes = true;";
const FUNCTION: &str =
    "CREATE FUNCTION k.f (a int) CALLED ON NULL INPUT RETURNS int LANGUAGE java AS $$ return '; \"; $$;";

fn try_nodetool(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for (info, cluster) in [(&*text, CLUSTER), (INFO, &*text), (&*text, &*text)] {
        if let Err(missing) = output::node_info(info, cluster, &text, &text) {
            told(missing);
        }
    }
    let _ = output::node_info(INFO, &text, "ReleaseVersion: 5.0.4", "Mode: NORMAL");
    let lines = text.lines().count();
    assert!(output::live_members(&text).len() <= lines && output::snapshot_tags(&text).len() <= lines);
    let _ = output::table_stat(&text, &TableName::new("k", "t"), "sstable_count");
    let given = ["/s/1", "/s/10", "/s/2/"].map(std::path::PathBuf::from);
    assert!(output::failed_import_dirs(&text, &given).len() <= given.len());
    assert!(output::without_stack_trace(&text).len() <= text.len());
}

fn try_jolokia(input: &[u8]) {
    let mbean = "org.apache.cassandra.db:type=StorageService";
    match answer::value(200, mbean, input) {
        Ok(value) => {
            let place: Value = serde_json::json!({"Datacenter": "dc1", "Rack": "r1"});
            for (service, place) in [(&value, &place), (&value, &value)] {
                if let Err(kind) = answer::node_info(service, place) {
                    told(kind);
                }
            }
            let _ = answer::live_members(&value);
        }
        Err(kind) => told(kind),
    }
    told(answer::value(403, mbean, input).expect_err("it was refused"));
}

fn try_cql(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let statements = statements::split(&text);
    let ordered = statements::in_one_order(&statements);
    assert_eq!(ordered.len(), statements.len());
    assert_eq!(statements::in_one_order(&ordered), ordered, "what is in order stays so");
    for statement in &statements {
        if let Some((_, column)) = statements::read_change(statement) {
            assert_eq!(unquote_name(&quote_name(&column)), column);
        }
        let _ = statements::with_replication(statement, "{}");
    }
}
