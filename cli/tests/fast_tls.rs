//! `ringvault` over TLS: whom it trusts, whom it shows itself to, and what it says and ends with where that
//! does not fit. The server's TLS is real; what it answers is fixed.

#[path = "../../shared/tls/tests/support/mod.rs"]
mod authority;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener},
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use authority::{Authority, Files, GOOD, OVER};
use ringvault_tls::ServerTls;
use rustls::{ServerConnection, StreamOwned};

const LIST: &str = r#"{"schema_version":1,"as_of":"2026-11-26T00:00:00Z","items":[]}"#;

/// Answers every request with an empty list, for as long as the test runs. Its port.
fn serve(files: &Files, client_ca: Option<&Path>) -> u16 {
    let tls = ServerTls {
        certificate_file: files.certificate.clone(),
        key_file: files.key.clone(),
        client_ca_file: client_ca.map(Path::to_owned),
    };
    let (config, _) = tls.config().expect("good files");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = StreamOwned::new(connection, socket);
            let mut asked = [0; 4096];
            // Whom it does not let in is told so by the failing read.
            if stream.read(&mut asked).is_ok() {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
                let answer = format!("{head}content-length: {}\r\n\r\n{LIST}", LIST.len());
                let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            } else {
                // As a good server does, or the client would learn of a reset instead.
                let _ = stream.flush();
                let _ = stream.sock.shutdown(Shutdown::Write);
                let _ = stream.sock.set_read_timeout(Some(Duration::from_secs(2)));
                while matches!(stream.sock.read(&mut asked), Ok(count) if count > 0) {}
            }
        }
    });
    port
}

fn ringvault(
    home: &Path,
    port: u16,
    arguments: &[&str],
    environment: &[(&str, &Path)],
) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_ringvault"))
        .args(["cluster", "list", "--json", "--server", &format!("https://localhost:{port}")])
        .args(arguments)
        .env_clear()
        .env("HOME", home)
        .env("RINGVAULT_TOKEN", "rv_x")
        .envs(environment.iter().copied())
        .output()
        .expect("it runs");
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

#[test]
fn who_is_trusted_and_who_is_let_in() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (open, mutual) = {
        let files = ours.issue("localhost", GOOD);
        (serve(&files, None), serve(&files, Some(&ours.ca())))
    };
    let home = ours.folder();
    let text = |path: std::path::PathBuf| path.display().to_string();
    let (ca, wrong_ca) = (text(ours.ca()), text(theirs.ca()));
    let client = ours.issue("client", GOOD);
    let (certificate, key) = (text(client.certificate.clone()), text(client.key.clone()));

    let (exit, said) = ringvault(home, open, &["--ca", &ca], &[]);
    assert_eq!(exit, Some(0), "{said}");
    assert!(said.contains("\"items\""), "{said}");
    assert_eq!(ringvault(home, open, &[], &[("RINGVAULT_CA_FILE", &ours.ca())]).0, Some(0));
    let by_variables = [
        ("RINGVAULT_CA_FILE", ours.ca()),
        ("RINGVAULT_CLIENT_CERT_FILE", client.certificate.clone()),
        ("RINGVAULT_CLIENT_KEY_FILE", client.key.clone()),
    ];
    let by_variables: Vec<(&str, &Path)> =
        by_variables.iter().map(|(name, path)| (*name, path.as_path())).collect();
    let (exit, said) = ringvault(home, mutual, &[], &by_variables);
    assert_eq!(exit, Some(0), "{said}");
    let settings = home.join(".config/ringvault/config.toml");
    std::fs::create_dir_all(settings.parent().unwrap()).unwrap();
    let lines = format!("ca_file = {ca:?}\nclient_cert_file = {certificate:?}\nclient_key_file = {key:?}\n");
    std::fs::write(&settings, lines).unwrap();
    assert_eq!(ringvault(home, mutual, &[], &[]).0, Some(0), "by the configuration file");
    std::fs::remove_file(&settings).unwrap();

    let old = ours.issue("old", OVER);
    let (old, old_key) = (text(old.certificate), text(old.key));
    for (port, arguments, exit, code, says) in [
        (open, vec![], 9, "RV-SERVER-TLS", "signed by nobody that is trusted here"),
        (open, vec!["--ca", &wrong_ca], 9, "RV-SERVER-TLS", "Next: give --ca-file"),
        (mutual, vec!["--ca", &ca], 8, "RV-SERVER-TLS", "Next: give --client-cert-file"),
        (open, vec!["--ca", "/nowhere"], 2, "RV-USAGE", "ca_file /nowhere"),
        (open, vec!["--ca", &ca, "--client-cert-file", &certificate], 2, "RV-USAGE", "key_file is missing"),
        (
            open,
            vec!["--ca", &ca, "--client-cert-file", &old, "--client-key-file", &old_key],
            2,
            "RV-USAGE",
            "expired on 2021-01-01",
        ),
        (
            open,
            vec!["--ca", &ca, "--client-cert-file", &certificate, "--client-key-file", &old_key],
            2,
            "RV-USAGE",
            "old.key does not belong",
        ),
    ] {
        let (ended, said) = ringvault(home, port, &arguments, &[]);
        assert!(said.contains(code) && said.contains(says), "{says:?} is not in {said}");
        assert_eq!(ended, Some(exit), "{said}");
    }
}
