//! The program itself: where it shall tell of itself and cannot, it says so before it does anything.

use std::{net::TcpListener, path::Path, process::Command};

/// Runs the worker with this `[metrics]`; its exit code and what it said.
fn run(folder: &Path, metrics: &str) -> (Option<i32>, String) {
    let file = folder.join("worker.toml");
    let text = format!(
        "cluster = \"c\"\nstate_dir = \"{state}\"\n[rabbitmq]\nurl_file = \"/nowhere/amqp\"\n\
         [vault]\nurl = \"file:///nowhere\"\n[signing]\nkey_file = \"/nowhere/key\"\n\
         [cassandra]\ncql = \"127.0.0.1:1\"\ncontrol = \"jolokia\"\n\
         jolokia_url = \"http://127.0.0.1:1/jolokia/\"\n[metrics]\n{metrics}\n",
        state = folder.join("state").display(),
    );
    std::fs::write(&file, text).unwrap();
    let program = env!("CARGO_BIN_EXE_ringvault-worker");
    let done = Command::new(program).arg("--config").arg(file).env_remove("RUST_LOG").output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[test]
fn a_port_that_another_has_is_a_conflict_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (code, said) = run(folder.path(), &format!("listen = \"{address}\""));
    assert_eq!(code, Some(6), "{said}");
    assert!(
        said.contains(&format!("error[RV-LISTEN]: metrics.listen: cannot listen on {address}: ")),
        "{said}"
    );
    assert!(said.contains("Next: "), "{said}");
    drop(taken);
    // It gets as far as the next thing that is wrong.
    let (code, said) = run(folder.path(), &format!("listen = \"{address}\""));
    assert!(code == Some(2) && said.contains("/nowhere/key"), "{code:?} {said}");
}

#[test]
fn an_address_that_is_none_is_a_mistake_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (code, said) = run(folder.path(), "listen = \"localhost\"");
    assert!(
        code == Some(2) && said.contains("error[RV-CONFIG]") && said.contains("line 14"),
        "{code:?} {said}"
    );
}
