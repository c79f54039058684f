//! What the agent's answers mean. Pure; what an answer lacks is said by the name of its attribute.

use std::{collections::BTreeSet, path::PathBuf};

use ringvault_core::{HostId, cluster::Token, text};
use serde_json::Value;

use super::{super::NodeInfo, SNITCH, STORAGE_SERVICE};
use crate::{
    NodeErrorKind,
    error::{kind_of_message, quote},
};

/// Longest answer that is read, in bytes. The longest that is asked for names every member of a ring.
pub const MAX_BYTES: usize = 16 << 20;

/// The value that an answer carries, which came with the HTTP status `http` to a question about `mbean`.
pub fn value(http: u16, mbean: &str, body: &[u8]) -> Result<Value, NodeErrorKind> {
    if matches!(http, 401 | 403) {
        return Err(NodeErrorKind::Refused(format!("the agent answers HTTP {http}")));
    }
    let mut answer: Value = serde_json::from_slice(body).map_err(|error| {
        let words = quote(&String::from_utf8_lossy(body));
        NodeErrorKind::Failed(format!("HTTP {http}, not JSON ({error}): {words}"))
    })?;
    match answer["status"].as_u64() {
        Some(200) => Ok(answer["value"].take()),
        status => Err(kind_of_answer(status, mbean, &answer)),
    }
}

/// A node's identity from attributes of its storage service and of its snitch.
pub fn node_info(service: &Value, place: &Value) -> Result<NodeInfo, NodeErrorKind> {
    let failed = |what: String| NodeErrorKind::Failed(what);
    let text = |from: &Value, name: &str| {
        let text = from[name].as_str().map(str::to_owned);
        text.ok_or_else(|| failed(format!("attribute {name} is not a text")))
    };
    let list = |name: &str| -> Result<Vec<&str>, NodeErrorKind> {
        service[name]
            .as_array()
            .and_then(|items| items.iter().map(Value::as_str).collect())
            .ok_or_else(|| failed(format!("attribute {name} is not a list of texts")))
    };
    let mut tokens = list("Tokens")?
        .into_iter()
        .map(|token| token.parse().map(Token))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| NodeErrorKind::Unsupported("tokens that are not Murmur3 tokens".to_owned()))?;
    tokens.sort_unstable();
    let host_id = text(service, "LocalHostId")?
        .parse::<HostId>()
        .map_err(|error| failed(format!("LocalHostId: {}", text::cause(error))))?;
    Ok(NodeInfo {
        host_id,
        cluster_name: text(service, "ClusterName")?,
        partitioner: text(service, "PartitionerName")?,
        dc: text(place, "Datacenter")?,
        rack: text(place, "Rack")?,
        release_version: text(service, "ReleaseVersion")?,
        operation_mode: text(service, "OperationMode")?,
        in_motion: (list("JoiningNodes")?.len() + list("LeavingNodes")?.len() + list("MovingNodes")?.len())
            as u64,
        tokens,
        data_dirs: Some(list("AllDataFileLocations")?.into_iter().map(PathBuf::from).collect()),
    })
}

/// Host ids of the endpoints that are live.
pub fn live_members(answer: &Value) -> Option<BTreeSet<HostId>> {
    let hosts = answer["EndpointWithPortToHostId"].as_object()?;
    let live = answer["LiveNodesWithPort"].as_array()?;
    let known = live.iter().filter_map(|endpoint| hosts.get(endpoint.as_str()?)?.as_str()?.parse().ok());
    Some(known.collect())
}

/// Jolokia's statuses follow HTTP: 400 for arguments that the operation refused, 403 for what its
/// policy forbids, 404 for an `MBean` that is not there, 500 for anything thrown inside. The agent
/// answers before Cassandra has set up its own: then the node is not there yet.
fn kind_of_answer(status: Option<u64>, mbean: &str, answer: &Value) -> NodeErrorKind {
    let message = answer["error"].as_str().unwrap_or("no message");
    let is_without_mbean = message.contains("InstanceNotFoundException")
        || answer["error_type"].as_str().is_some_and(|class| class.ends_with("InstanceNotFoundException"));
    if status == Some(404) && is_without_mbean && [STORAGE_SERVICE, SNITCH].contains(&mbean) {
        return NodeErrorKind::Unreachable(format!("it is still starting: {}", quote(message)));
    }
    match (status, kind_of_message(message)) {
        (Some(403), _) => NodeErrorKind::Refused(quote(message)),
        (Some(404), _) => NodeErrorKind::NotFound(quote(message)),
        (Some(400), NodeErrorKind::Failed(words)) => NodeErrorKind::Refused(words),
        (_, kind) => kind,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_classed_by_status_and_words() {
        let answer = json!({"error": "java.lang.IllegalArgumentException : Odd argument"});
        let kind = |status, answer| kind_of_answer(status, STORAGE_SERVICE, answer);
        assert!(matches!(kind(Some(400), &answer), NodeErrorKind::Refused(_)));
        assert!(matches!(kind(Some(500), &answer), NodeErrorKind::Failed(_)));
        assert!(matches!(kind(Some(404), &answer), NodeErrorKind::NotFound(_)));
        assert!(matches!(kind(None, &json!({})), NodeErrorKind::Failed(_)));
    }

    #[test]
    fn a_node_whose_own_beans_are_not_there_yet_is_waited_for() {
        let answer = json!({
            "error": "javax.management.InstanceNotFoundException : org.apache.cassandra.db:type=StorageService",
            "error_type": "javax.management.InstanceNotFoundException",
        });
        let starting = kind_of_answer(Some(404), STORAGE_SERVICE, &answer);
        assert_eq!(starting.class(), ringvault_core::ErrorClass::Environment);
        let table = "org.apache.cassandra.metrics:type=Table,keyspace=k,scope=t,name=LiveSSTableCount";
        assert!(matches!(kind_of_answer(Some(404), table, &answer), NodeErrorKind::NotFound(_)));
    }

    #[test]
    fn live_endpoints_are_known_by_host_id() {
        let (up, down) = (HostId::generate(), HostId::generate());
        let answer = json!({
            "LiveNodesWithPort": ["127.0.9.1:7000", "127.0.9.9:7000"],
            "EndpointWithPortToHostId": {"127.0.9.1:7000": up, "127.0.9.2:7000": down},
        });
        assert_eq!(live_members(&answer), Some([up].into()));
        assert_eq!(live_members(&json!({"LiveNodesWithPort": null})), None);
    }
}
