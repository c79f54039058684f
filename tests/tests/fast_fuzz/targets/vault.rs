//! What lies in a vault.

use std::io::BufReader;

use ringvault_cassandra::schema::{SchemaDump, compare_table, compare_types};
use ringvault_core::{BackupName, ClusterName, selection::TableName};
use ringvault_vault::{
    BadRecord, VaultResult,
    backup::{
        AbortRecord, CapturedSchema, PurgeIntent, SealPlace, StartRecord, decompress_schema,
        parse_index_shard,
    },
    crypt::KeysRecord,
    identity::{ClusterRecord, OwnerRecord, VaultRecord},
    journal::count_journal,
    manifest::{ManifestError, ManifestReader},
    parse_record,
    purge::{PurgeRecord, check_condemned},
    verify::{VerificationRecord, parse_findings},
};
use serde::de::DeserializeOwned;

use super::{JSON, SOME, Target};
use crate::{harness::told, mutate, seeds};

const FIXTURES: &str = "shared/vault/fixtures";
/// What a list that is compressed may take: lines, none longer than 8 MiB, and buffers. What the plain
/// text of these inputs is worth is far less.
const PACKED: u64 = 64 << 20;

super::targets! {
    manifests => Target {
        name: "manifests",
        seeds: {
            let packed = seeds::files(FIXTURES, |path| path.contains("/nodes/") || path.contains("node-manifest-v1.jsonl.zst"));
            seeds::plain(packed)
        },
        mutate: mutate::lines,
        base: SOME,
        factor: JSON,
        parse: |input| manifest(ManifestReader::from_plain(input, "m")),
    };
    manifests_packed => Target {
        name: "manifests_packed",
        seeds: seeds::plain(seeds::files(FIXTURES, |path| path.contains("/nodes/"))),
        mutate: mutate::packed_lines,
        base: PACKED,
        factor: 0,
        parse: |input| manifest(ManifestReader::open(input, "m")),
    };
    records => Target {
        name: "records",
        seeds: {
            let mut seeds = seeds::files(FIXTURES, |path| path.contains(".json") && !path.contains(".jsonl"));
            seeds.extend(seeds::texts(&[CLUSTER]));
            seeds
        },
        mutate: mutate::json,
        base: SOME,
        factor: JSON,
        parse: try_records,
    };
    condemned => Target {
        name: "condemned",
        seeds: seeds::plain(seeds::files(FIXTURES, |path| path.contains("condemned"))),
        mutate: mutate::packed_lines,
        base: PACKED,
        factor: 0,
        parse: |input| tell(check_condemned(input, "list", &orders(), 1)),
    };
    index_shards => Target {
        name: "index_shards",
        seeds: seeds::plain(seeds::files(FIXTURES, |path| path.contains("/index/"))),
        mutate: mutate::packed_lines,
        base: PACKED,
        factor: 0,
        parse: |input| tell(parse_index_shard("shard", input, &orders())),
    };
    findings => Target {
        name: "findings",
        seeds: seeds::plain(seeds::files(FIXTURES, |path| path.contains(".shards/"))),
        mutate: mutate::packed_lines,
        base: PACKED,
        factor: 0,
        parse: |input| tell(parse_findings("list", input, 1_000)),
    };
    schemas => Target {
        name: "schemas",
        seeds: {
            let mut seeds = seeds::plain(seeds::files(FIXTURES, |path| path.contains("/schema/")));
            seeds.extend(seeds::texts(&[SCHEMA]));
            seeds
        },
        mutate: mutate::json,
        base: SOME,
        factor: JSON,
        parse: try_schemas,
    };
    schemas_packed => Target {
        name: "schemas_packed",
        seeds: seeds::plain(seeds::files(FIXTURES, |path| path.contains("/schema/"))),
        mutate: mutate::packed_json,
        base: PACKED,
        factor: 0,
        parse: |input| {
            if let Err(error) = decompress_schema(input) {
                told(error);
            }
        },
    };
    journals => Target {
        name: "journals",
        seeds: seeds::texts(&[JOURNAL]),
        mutate: mutate::lines,
        base: 2 * SOME,
        factor: JSON,
        parse: |input| {
            let read = count_journal(BufReader::new(input), &orders(), &BackupName::new("b1").expect("a name"));
            assert!(read.expect("memory does not fail") <= Some(input.len()));
        },
    };
}

const CLUSTER: &str = r#"{"version":1,"cluster":"orders","ring":{"cluster_name":"Orders","partitioner":"org.apache.cassandra.dht.Murmur3Partitioner"},"bound_at":"2026-11-23T10:07:23Z"}"#;
const SCHEMA: &str = r#"{"version":1,"release_version":"5.0.4","objects":[
    {"kind":"type","keyspace":"k","name":"Outer","statements":["CREATE TYPE k.\"Outer\" (\n    x frozen<inner>,\n    y int\n)"]},
    {"kind":"type","keyspace":"k","name":"inner","statements":["CREATE TYPE k.inner (\n    a text,\n    b int\n)"]},
    {"kind":"function","keyspace":"k","name":"\"Mask\"(of_mask)","statements":["CREATE FUNCTION k.\"Mask\" (v inner) AS $$ x $$"]},
    {"kind":"table","keyspace":"k","name":"t","statements":["CREATE TABLE k.t (\n    v int MASKED WITH k.\"Mask\"(1)\n)","ALTER TABLE k.t DROP gone USING TIMESTAMP 3000"],
     "table":{"table_id":"7cda51e8-4823-e8ab-d27c-b1079912b965","is_counter":false,"dropped":[{"name":"gone","dropped_at":3}],
     "columns":[{"name":"v","type":"map<text, frozen<list<frozen<\"Outer\">>>>","kind":"regular","position":-1,"order":"none"}]}}]}"#;
const JOURNAL: &str = concat!(
    r#"{"journal":1,"cluster":"orders","backup":"b1"}"#,
    "\n",
    r#"{"fs":"ffffffffffffffff","inode":1,"mtime_ns":7,"size":3,"name":"nb-1-big-Data.db","blake3":"a1060b6ed1b79a8a4a0fc5ca78cb76949c239dc6361e68e189a05cd4d7ab070a","key":"clusters/orders/backups/b1/data/x"}"#,
    "\n",
    r#"{"begun":{"key":"clusters/orders/backups/b1/data/y","upload_id":"1"}}"#,
    "\n",
    r#"{"ended":{"key":"clusters/orders/backups/b1/data/y","upload_id":"1"}}"#,
    "\n",
);

fn orders() -> ClusterName {
    ClusterName::new("orders").expect("a name")
}

fn tell<T>(result: VaultResult<T>) {
    if let Err(error) = result {
        told(error);
    }
}

fn manifest<R: std::io::BufRead>(reader: Result<ManifestReader<R>, ManifestError>) {
    let mut reader = match reader {
        Ok(reader) => reader,
        Err(error) => return told(error),
    };
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => {
                for component in entry.components() {
                    let name = entry.file_name(component);
                    assert!(
                        !name.contains(['/', '\0']) && !name.starts_with("..") && name.len() <= 512,
                        "{name}"
                    );
                }
            }
            Ok(None) => return assert!(reader.trailer().is_some()),
            Err(error) => return told(error),
        }
    }
}

fn try_records(input: &[u8]) {
    let names = [("orders", "b0"), ("orders", "b1"), ("orders", "dead")];
    for (cluster, backup) in names {
        let names = (ClusterName::new(cluster).expect("a name"), BackupName::new(backup).expect("a name"));
        match SealPlace::parse(input, &names.0, &names.1) {
            Ok(SealPlace::Sealed(seal)) => assert_eq!((seal.start.cluster, seal.start.backup), names),
            Ok(_) => {}
            Err(error) => told(error),
        }
    }
    record::<VaultRecord>(input);
    record::<OwnerRecord>(input);
    if let Ok(keys) = serde_json::from_slice::<KeysRecord>(input) {
        assert!(keys.wrapped_by().len() <= input.len());
    }
    record::<ClusterRecord>(input);
    record::<StartRecord>(input);
    record::<AbortRecord>(input);
    record::<PurgeIntent>(input);
    record::<PurgeRecord>(input);
    record::<BadRecord>(input);
    record::<VerificationRecord>(input);
}

fn record<T: DeserializeOwned>(input: &[u8]) {
    tell(parse_record::<T>("record", input));
}

fn try_schemas(input: &[u8]) {
    match CapturedSchema::parse(input) {
        Ok(schema) => {
            let statements = schema.cql();
            assert!(statements.len() <= 8 * input.len() && schema.tables().count() <= input.len());
        }
        Err(error) => told(ringvault_core::text::cause(error)),
    }
    let Ok(dump) = serde_json::from_slice::<SchemaDump>(input) else { return };
    let tables: Vec<TableName> =
        dump.tables().map(|(keyspace, name, _)| TableName::new(keyspace, name)).collect();
    // Not none: of two types of one name, the first is the one.
    assert!(compare_types(&dump, &dump, &tables).len() <= dump.objects.len());
    for shape in dump.objects.iter().filter_map(|object| object.table.as_ref()).take(8) {
        let _ = compare_table(shape, shape);
    }
    assert_eq!(dump.objects_hash().len() + dump.schema_hash().len(), 128);
}
