//! What is wrong with a file is said by its name, before anything connects; and what a handshake failed
//! of is found in the errors that libraries make of it.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use ringvault_tls::{
    ClientConfig, ClientTls, Identity, PeerName, ServerTls, Trouble, explain, read_certificates,
};
use rustls::{ClientConnection, ServerConnection, StreamOwned, pki_types::ServerName};
use support::{Authority, Files, GOOD, OVER};

fn refusal(certificate: &Path, key: &Path) -> String {
    Identity::read(certificate, key).unwrap_err().to_string()
}

#[test]
fn a_wrong_file_is_named_with_what_is_wrong_with_it() {
    let authority = Authority::new();
    let Files { certificate, key } = authority.issue("a.example", GOOD);
    let other_key = authority.issue("b.example", GOOD).key;
    assert_eq!(
        Identity::read(&certificate, &key).unwrap().not_after.to_rfc3339(),
        "2099-01-01T00:00:00+00:00"
    );

    let text = refusal(&certificate, &other_key);
    assert!(text.contains("b.example.key does not belong to") && text.contains("a.example.pem"), "{text}");
    let old = authority.issue("old.example", OVER);
    assert!(refusal(&old.certificate, &old.key).ends_with("old.example.pem expired on 2021-01-01T00:00:00Z"));
    let young = authority.issue("young.example", (2090, 2099));
    assert!(refusal(&young.certificate, &young.key).ends_with("is not valid before 2090-01-01T00:00:00Z"));

    let none = authority.file("none.pem");
    assert!(refusal(&none, &key).contains("certificate_file") && refusal(&none, &key).contains("none.pem"));
    assert!(refusal(&certificate, &none).starts_with("key_file"));
    assert!(refusal(&key, &key).ends_with("it holds no certificate in PEM form"));
    assert!(refusal(&certificate, &certificate).ends_with("it holds no private key in PEM form"));
    let broken = authority.file("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    assert!(refusal(&broken, &key).contains("damaged"), "{}", refusal(&broken, &key));
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").unwrap();
    assert!(read_certificates("ca_file", &broken).unwrap_err().to_string().contains("not PEM"));
    let sealed = authority.file("sealed.key");
    let text = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    std::fs::write(&sealed, text).unwrap();
    assert!(refusal(&certificate, &sealed).contains("encrypted"), "{}", refusal(&certificate, &sealed));

    let half = ClientTls { certificate_file: Some(certificate), ..ClientTls::default() };
    assert!(half.check().unwrap_err().to_string().ends_with("key_file is missing"));
    let misspelt = toml::from_str::<ClientTls>("ca = '/x'").unwrap_err().to_string();
    assert!(misspelt.contains("ca_file"), "{misspelt}");
}

fn meet(server: &ServerTls, client: &ClientTls, name: &str) -> Result<(), std::io::Error> {
    meet_with(server, client.config().unwrap(), name)
}

/// One handshake over a real socket, and a byte each way: what the client met.
fn meet_with(server: &ServerTls, client: Arc<ClientConfig>, name: &str) -> Result<(), std::io::Error> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (config, _) = server.config().unwrap();
    let serving = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        let mut byte = [0];
        // What fails here is what the client is told.
        let _ =
            stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte)).and_then(|()| stream.flush());
        // Or a reset would overtake what the client is told.
        let _ = stream.sock.shutdown(Shutdown::Write);
        let _ = stream.sock.set_read_timeout(Some(Duration::from_secs(2)));
        while matches!(stream.sock.read(&mut byte), Ok(count) if count > 0) {}
    });
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connection = ClientConnection::new(client, name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address).unwrap());
    let mut byte = [7];
    let met = stream.write_all(&byte).and_then(|()| stream.read_exact(&mut byte));
    drop(stream);
    serving.join().unwrap();
    met
}

/// What a library would hand on: the error, wrapped.
fn trouble(met: Result<(), std::io::Error>) -> Trouble {
    #[derive(Debug, thiserror::Error)]
    #[error("could not connect")]
    struct Wrapped(#[source] std::io::Error);
    explain(&Wrapped(met.unwrap_err())).expect("TLS's own error is found")
}

#[test]
fn what_a_handshake_failed_of_is_said() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let Files { certificate, key } = ours.issue("localhost", GOOD);
    let open = ServerTls { certificate_file: certificate, key_file: key, client_ca_file: None };
    let mutual = ServerTls { client_ca_file: Some(ours.ca()), ..open.clone() };
    let trusting =
        |authority: &Authority| ClientTls { ca_file: Some(authority.ca()), ..ClientTls::default() };
    let known = |authority: &Authority| {
        let Files { certificate, key } = authority.issue("client", GOOD);
        ClientTls { certificate_file: Some(certificate), key_file: Some(key), ..trusting(&ours) }
    };

    meet(&open, &trusting(&ours), "localhost").unwrap();
    meet(&mutual, &known(&ours), "localhost").unwrap();
    let wrong_ca = trouble(meet(&open, &trusting(&theirs), "localhost"));
    assert!(matches!(&wrong_ca, Trouble::Untrusted(why) if why.contains("signed by nobody")), "{wrong_ca:?}");
    // One that was made anew under the old name is as much a stranger.
    let namesake = trouble(meet(&open, &trusting(&Authority::named(&ours.name())), "localhost"));
    assert_eq!(namesake, wrong_ca);
    let wrong_name = trouble(meet(&open, &trusting(&ours), "other.example"));
    let says = "its certificate is for DnsName(\"localhost\"), not for \"other.example\"";
    assert_eq!(wrong_name.words(), says);
    let bare = trouble(meet(&mutual, &trusting(&ours), "localhost"));
    assert!(
        matches!(&bare, Trouble::Refused(why) if why.contains("without a client certificate")),
        "{bare:?}"
    );
    let stranger = trouble(meet(&mutual, &known(&theirs), "localhost"));
    assert!(matches!(&stranger, Trouble::Refused(_)), "{stranger:?}");
}

#[test]
fn a_peer_that_is_reached_at_an_address_is_known_by_its_name() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = |files: Files| ServerTls {
        certificate_file: files.certificate,
        key_file: files.key,
        client_ca_file: None,
    };
    let node = server(ours.issue("node-7.example", GOOD));
    let nameless = server(ours.issue_for("nobody", &[], GOOD));
    let trusting = |authority: &Authority, name: PeerName| {
        let tls = ClientTls { ca_file: Some(authority.ca()), ..ClientTls::default() };
        tls.config_for(name).unwrap()
    };
    let named = |name: &str| PeerName::named(name).unwrap();
    // The library says 127.0.0.1, which is in none of the certificates.
    meet_with(&node, trusting(&ours, named("node-7.example")), "127.0.0.1").unwrap();
    let other = trouble(meet_with(&node, trusting(&ours, named("node-8.example")), "127.0.0.1"));
    assert!(other.words().contains("not for \"node-8.example\""), "{other:?}");
    for server in [&node, &nameless] {
        meet_with(server, trusting(&ours, PeerName::Any), "127.0.0.1").unwrap();
        let stranger = trouble(meet_with(server, trusting(&theirs, PeerName::Any), "127.0.0.1"));
        assert!(stranger.words().contains("signed by nobody"), "{stranger:?}");
    }
    assert!(PeerName::named("no name").unwrap_err().contains("no name"));
}
