//! A node's small files: token map, server version, manifest.

use std::collections::BTreeMap;

use ringvault_core::{
    ClusterName, HostId,
    cluster::{Node, Token},
};
use serde::Deserialize;
use uuid::Builder;

use crate::{
    error::{VaultError, VaultResult},
    hash::Digest,
    identity::Vault,
    layout,
};

/// Largest file read, in bytes: the manifest of a node with two million files.
const MAX_FILE: u64 = 512 << 20;

/// A member of a data center, in `tokenmap.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Member {
    pub(super) tokens: Vec<i64>,
    #[serde(default)]
    pub(super) dc: Option<String>,
    #[serde(default)]
    pub(super) rack: Option<String>,
}

/// `tokenmap.json`: the members of the node's own data center.
pub(super) type Tokenmap = BTreeMap<String, Member>;

/// `server_version.json`, which older releases did not write.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ServerVersion {
    pub(super) server_type: String,
    pub(super) release_version: String,
}

/// A table's folder in `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Section {
    pub(super) keyspace: String,
    /// The folder's name: table and id.
    pub(super) columnfamily: String,
    pub(super) objects: Vec<Object>,
}

/// An object in `manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Object {
    pub(super) path: String,
    pub(super) size: u64,
    /// An `ETag`, an MD5 in hex or Base64, or nothing: as the store told.
    #[serde(rename = "MD5", default)]
    pub(super) md5: Option<String>,
}

/// All of a node.
#[derive(Debug)]
pub(super) struct NodeFiles {
    pub(super) tokenmap: Tokenmap,
    pub(super) schema: String,
    pub(super) version: ServerVersion,
    pub(super) manifest: Vec<Section>,
}

/// A piece that is missing or damaged, and nothing else's fault.
#[derive(Debug)]
pub(super) enum Piece<T> {
    There(T),
    Damaged(String),
}

impl Vault {
    /// Reads a node's files of a backup. What is missing or damaged is told; what the store cannot answer is
    /// an error.
    pub(super) async fn medusa_node(
        &self,
        store: &str,
        node: &str,
        backup: &str,
    ) -> VaultResult<Piece<NodeFiles>> {
        let key = |file: &str| layout::medusa(store, &format!("{node}/{backup}/meta/{file}"));
        let (tokenmap, schema, version, manifest) = futures::try_join!(
            self.medusa_file(key("tokenmap.json")),
            self.medusa_file(key("schema.cql")),
            self.medusa_file(key("server_version.json")),
            self.medusa_file(key("manifest.json"))
        )?;
        let parsed = (|| {
            Ok(NodeFiles {
                tokenmap: parse(&key("tokenmap.json"), &tokenmap?)?,
                schema: String::from_utf8(schema?)
                    .map_err(|error| format!("{} is no text: {error}", key("schema.cql")))?,
                version: match version {
                    Ok(body) => parse(&key("server_version.json"), &body)?,
                    Err(_) => ServerVersion {
                        server_type: "cassandra".to_owned(),
                        release_version: "unknown".to_owned(),
                    },
                },
                manifest: parse(&key("manifest.json"), &manifest?)?,
            })
        })();
        Ok(parsed.map_or_else(Piece::Damaged, Piece::There))
    }

    /// A file, or why there is none, in words.
    async fn medusa_file(&self, key: String) -> VaultResult<Result<Vec<u8>, String>> {
        match self.store().get(&key, MAX_FILE).await {
            Ok(body) => Ok(Ok(body.to_vec())),
            Err(error) if error.is_not_found() => Ok(Err(format!("{key} is missing"))),
            Err(error) if error.is_damage() => Ok(Err(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

fn parse<T: for<'de> Deserialize<'de>>(key: &str, body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("{key} is damaged or not Medusa's: {error}"))
}

/// The id that stands for a node of which Medusa says only a name: the same at every import.
pub(super) fn host_id(cluster: &ClusterName, node: &str) -> HostId {
    HostId(derived(&format!("medusa node\0{cluster}\0{node}")))
}

/// A UUID of version 8 made from a text.
pub(super) fn derived(text: &str) -> uuid::Uuid {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// The members of a token map as the ring's.
pub(super) fn members(cluster: &ClusterName, tokenmap: &Tokenmap) -> Vec<Node> {
    let node = |(name, member): (&String, &Member)| {
        let mut tokens: Vec<Token> = member.tokens.iter().copied().map(Token).collect();
        tokens.sort_unstable();
        tokens.dedup();
        Node {
            host_id: host_id(cluster, name),
            address: name.clone(),
            dc: member.dc.clone().unwrap_or_else(|| "unknown".to_owned()),
            rack: member.rack.clone().unwrap_or_else(|| "unknown".to_owned()),
            tokens,
        }
    };
    tokenmap.iter().map(node).collect()
}

/// Refuses what only looks like Cassandra's.
pub(super) fn check_server(version: &ServerVersion) -> Result<(), String> {
    if version.server_type == "cassandra" {
        return Ok(());
    }
    Err(format!(
        "it is of {} {}, and only Apache Cassandra's can be restored",
        version.server_type, version.release_version
    ))
}

impl From<Piece<NodeFiles>> for Result<NodeFiles, String> {
    fn from(piece: Piece<NodeFiles>) -> Self {
        match piece {
            Piece::There(files) => Ok(files),
            Piece::Damaged(why) => Err(why),
        }
    }
}

/// A store's failure that ends an import.
pub(super) fn malformed(key: &str, why: impl std::fmt::Display) -> VaultError {
    VaultError::malformed(key, why)
}
