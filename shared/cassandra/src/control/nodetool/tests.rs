//! nodetool played by a shell script: how it is called and how its ends are understood.

use super::*;
use ringvault_core::ErrorClass;

fn tool(script: &str, timeout: Duration) -> Nodetool {
    Nodetool::new(NodetoolConfig {
        argv: ["/bin/sh", "-c", script, "nodetool"].map(str::to_owned).to_vec(),
        node: "10.0.0.9".to_owned(),
        timeouts: ControlTimeouts { connect: timeout, question: timeout, work: timeout },
    })
}

const PATIENT: Duration = Duration::from_mins(1);

#[tokio::test]
async fn failures_are_told_apart() {
    let cases = [
        (
            "echo \"nodetool: Failed to connect to '127.0.0.1:7199' - ConnectException\" >&2; exit 1",
            ErrorClass::Environment,
        ),
        ("echo 'nodetool: Keyspace [x] does not exist.'; exit 1", ErrorClass::Permanent),
        ("echo 'error: Snapshot t already exists.' >&2; exit 2", ErrorClass::Permanent),
        ("echo 'error: something odd' >&2; exit 2", ErrorClass::Transient),
        ("exit 3", ErrorClass::Transient),
    ];
    for (script, class) in cases {
        let error = tool(script, PATIENT).flush(&["x".into()]).await.unwrap_err();
        assert_eq!(error.class(), class, "{script}: {error}");
        assert!(error.to_string().starts_with("flush x on node 10.0.0.9: "), "{error}");
    }
}

#[tokio::test]
async fn a_nodetool_that_is_not_there_is_the_environments_fault() {
    let mut tool = tool("", PATIENT);
    tool.config.argv = vec!["/nonexistent/nodetool".to_owned()];
    let error = tool.clear_snapshot("t").await.unwrap_err();
    assert!(matches!(error.kind, NodeErrorKind::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_silent_nodetool_is_given_up() {
    let error = tool("sleep 60", Duration::from_millis(50)).clear_snapshot("t").await;
    assert!(matches!(error.unwrap_err().kind, NodeErrorKind::Timeout(_)));
}

#[tokio::test]
async fn a_nodetool_that_never_stops_talking_is_cut_short() {
    let error = tool("yes", PATIENT).flush(&["x".into()]).await.unwrap_err();
    assert!(error.to_string().contains("printed more than"), "{error}");
}

#[tokio::test]
async fn a_tag_cannot_be_an_option() {
    let error = tool("exit 0", PATIENT).clear_snapshot("--all").await.unwrap_err();
    assert!(matches!(error.kind, NodeErrorKind::Refused(_)), "{error}");
}

#[tokio::test]
async fn scopes_become_arguments() {
    let root = tempfile::tempdir().unwrap();
    let seen = root.path().join("seen");
    let tool = tool(&format!("echo \"$@\" >> {}", seen.display()), PATIENT);
    let tables = vec![TableName::new("a", "b"), TableName::new("c", "d")];
    tool.take_snapshot("t", &SnapshotScope::Tables(tables), true).await.unwrap();
    tool.take_snapshot("t", &SnapshotScope::Keyspaces(vec!["a".into(), "c".into()]), false).await.unwrap();
    tool.take_snapshot("t", &SnapshotScope::Keyspaces(vec![]), false).await.unwrap();
    let seen = std::fs::read_to_string(seen).unwrap();
    assert_eq!(seen, "snapshot -t t -sf -kt a.b,c.d\nsnapshot -t t -- a c\n");
}
