//! The schema as captured with a backup: one object a content, however many nodes bring it.

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use ringvault_core::{BackupName, ClusterName, selection::is_system_keyspace};
use ringvault_fault::around;
use serde::{Deserialize, Serialize};

use uuid::Uuid;

use crate::{
    error::{VaultError, VaultResult},
    hash::Digest,
    identity::Vault,
    layout, lines,
};

/// Largest schema accepted, plain, in bytes: ten thousand tables of 10 KiB of CQL fit twice.
const MAX_SCHEMA: usize = 256 << 20;

/// Where a backup's schema is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaRef {
    /// The object.
    pub key: String,
    /// BLAKE3 of the plain text, keyed in an encrypted vault; the manifests name the schema by it.
    pub blake3: Digest,
}

/// What a captured schema says, as far as it is read without Cassandra: which tables there are, and the
/// statements that make them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CapturedSchema {
    objects: Vec<CapturedObject>,
}

/// An object of a captured schema.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CapturedObject {
    /// `keyspace`, `table`, `view`, `type`, …; empty in the first vaults.
    #[serde(default)]
    pub kind: String,
    /// Its keyspace.
    pub keyspace: String,
    /// Its name.
    pub name: String,
    #[serde(default)]
    base: Option<String>,
    #[serde(default)]
    statements: Vec<String>,
    #[serde(default)]
    table: Option<CapturedTable>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct CapturedTable {
    table_id: Uuid,
}

impl CapturedObject {
    /// The table that it is or stands on; for what is neither, its own name.
    pub fn table_name(&self) -> &str {
        self.base.as_deref().unwrap_or(&self.name)
    }
}

impl fmt::Display for CapturedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.as_str() {
            "keyspace" => write!(f, "keyspace {}", self.keyspace),
            kind => write!(f, "{kind} {}.{}", self.keyspace, self.name),
        }
    }
}

/// What became of an object from one schema to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaChange {
    /// Only the first has it.
    Gone,
    /// Only the second has it.
    New,
    /// It is made by other statements.
    Changed,
}

impl CapturedSchema {
    /// What differs in `other`, by kind, keyspace and name; of a changed object, as it is there.
    pub fn changes<'a>(&'a self, other: &'a Self) -> Vec<(SchemaChange, &'a CapturedObject)> {
        fn by_name(schema: &CapturedSchema) -> BTreeMap<(&str, &str, &str), &CapturedObject> {
            fn named(of: &CapturedObject) -> (&str, &str, &str) {
                (&of.kind, &of.keyspace, &of.name)
            }
            schema.objects.iter().map(|object| (named(object), object)).collect()
        }
        let (before, after) = (by_name(self), by_name(other));
        let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
        let mut changes: Vec<_> = gone.map(|(_, object)| (SchemaChange::Gone, *object)).collect();
        for (name, object) in &after {
            match before.get(name) {
                None => changes.push((SchemaChange::New, *object)),
                Some(former) if former.statements != object.statements => {
                    changes.push((SchemaChange::Changed, *object));
                }
                Some(_) => {}
            }
        }
        changes
    }

    /// Understands a schema's text.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// Tables and views: keyspace, name, table id.
    pub fn tables(&self) -> impl Iterator<Item = (&str, &str, Uuid)> {
        self.objects.iter().filter_map(|object| {
            let table = object.table.as_ref()?;
            Some((object.keyspace.as_str(), object.name.as_str(), table.table_id))
        })
    }

    /// The statements that make it, in the order in which `cqlsh` takes them. Cassandra's own keyspaces
    /// are left out: every cluster has them.
    pub fn cql(&self) -> String {
        let mut cql = String::new();
        for object in self.objects.iter().filter(|object| !is_system_keyspace(&object.keyspace)) {
            for statement in &object.statements {
                cql.push_str(statement.trim_end().trim_end_matches(';'));
                cql.push_str(";\n\n");
            }
        }
        cql
    }
}

impl Vault {
    /// Stores a captured schema. The same text from several nodes is one object.
    #[tracing::instrument(name = "put schema", level = "debug", skip_all)]
    pub async fn put_schema(
        &self,
        cluster: &ClusterName,
        backup: &BackupName,
        text: &[u8],
    ) -> VaultResult<SchemaRef> {
        let blake3 = self.store().hash_key().digest(text);
        let key = layout::schema(cluster, backup, &blake3.to_string());
        let body = zstd::encode_all(text, 3).map_err(|e| VaultError::malformed(&key, e))?;
        around!("vault.schema").run(self.store().put(&key, Bytes::from(body))).await?;
        Ok(SchemaRef { key, blake3 })
    }

    /// Reads a captured schema and checks it.
    pub async fn get_schema(&self, schema: &SchemaRef) -> VaultResult<Vec<u8>> {
        let SchemaRef { key, blake3 } = schema;
        layout::check_key(key)
            .map_err(|cause| VaultError::ForbiddenKey { inside: "the seal".to_owned(), cause })?;
        let body = self.store().get(key, MAX_SCHEMA as u64).await?;
        let text = decompress_schema(&body).map_err(|e| VaultError::malformed(key, e))?;
        if self.store().hash_key().digest(&text) == *blake3 {
            Ok(text)
        } else {
            Err(VaultError::malformed(key, "its content is not what the seal names"))
        }
    }
}

/// Decompresses up to the limit; longer is an error, so that a small object cannot fill the memory.
pub fn decompress_schema(body: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut text = Vec::new();
    let read = lines::decoder(body)?.take(MAX_SCHEMA as u64 + 1).read_to_end(&mut text)?;
    if read > MAX_SCHEMA { Err(std::io::Error::other("it is too large")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named_with_its_kind() {
        let schema =
            |objects: &str| CapturedSchema::parse(format!("{{\"objects\":[{objects}]}}").as_bytes()).unwrap();
        let object = |kind: &str, name: &str, statement: &str| {
            format!(r#"{{"kind":"{kind}","keyspace":"ks","name":"{name}","statements":["{statement}"]}}"#)
        };
        let before = schema(
            &[object("table", "a", "1"), object("type", "a", "1"), object("table", "b", "1")].join(","),
        );
        let after = schema(
            &[object("table", "a", "2"), object("type", "a", "1"), object("keyspace", "ks", "1")].join(","),
        );
        let told = |from: &CapturedSchema, to: &CapturedSchema| -> Vec<String> {
            from.changes(to).iter().map(|(change, object)| format!("{change:?} {object}")).collect()
        };
        assert_eq!(told(&before, &after), ["Gone table ks.b", "New keyspace ks", "Changed table ks.a"]);
        assert_eq!(told(&before, &before), Vec::<String>::new());
    }
}
