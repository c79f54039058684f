//! What an S3 store is asked for, where no server at hand shows it: encryption, classes, checksums, roles.

#[path = "support/recorder.rs"]
mod recorder;

use axum::{body::Body, http::Response};
use bytes::Bytes;
use recorder::{Asked, Recorder, s3};
use ringvault_core::ErrorClass;
use ringvault_vault::{
    Checksums, ConfigError, Store, StoreErrorKind, Vault, VaultConfig, VaultError,
    config::{Role, Sse},
    store::MIN_PART,
};
use tempfile::TempDir;
use url::Url;

const DATA: &str = "clusters/c/backups/b/data/h.1/x";
const ARN: &str = "arn:aws:iam::123456789012:role/backup";

fn config(endpoint: &Url) -> (VaultConfig, TempDir) {
    let files = tempfile::tempdir().unwrap();
    let mut config = VaultConfig::at(Url::parse("s3://bucket/p").unwrap());
    config.endpoint = Some(endpoint.clone());
    for (name, value) in [("access", "AKIASTATIC"), ("secret", "secret")] {
        std::fs::write(files.path().join(name), value).unwrap();
    }
    config.access_key_file = Some(files.path().join("access"));
    config.secret_key_file = Some(files.path().join("secret"));
    (config, files)
}

fn only(mut asked: Vec<Asked>) -> Asked {
    assert_eq!(asked.len(), 1, "{asked:?}");
    asked.remove(0)
}

#[tokio::test]
async fn encryption_and_class_are_asked_for_with_every_object_that_is_made() {
    const KMS: [(&str, &str); 2] = [
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "arn:aws:kms:eu-west-1:1:key/k-1"),
    ];
    let server = Recorder::start(|asked| s3(asked, &KMS)).await;
    let (mut config, _files) = config(&server.url);
    config.sse = Some(Sse::Kms { key_id: Some("k-1".into()) });
    config.storage_class = Some("STANDARD_IA".into());
    let store = Store::open(&config).await.unwrap();
    let encrypted = |asked: &Asked| {
        assert_eq!(asked.header(KMS[0].0), Some("aws:kms"), "{}", asked.line);
        assert_eq!(asked.header(KMS[1].0), Some("k-1"), "{}", asked.line);
    };
    let class = |asked: &Asked| asked.header("x-amz-storage-class").map(str::to_owned);

    store.put("vault.json", Bytes::from_static(b"record")).await.unwrap();
    let put = only(server.take());
    assert!(put.line.starts_with("PUT /bucket/p/vault.json"), "the bucket stands in the path: {}", put.line);
    encrypted(&put);
    assert_eq!(class(&put), None, "a record is of the bucket's own class");

    store.put_if_absent(DATA, Bytes::from_static(b"data")).await.unwrap();
    let put = only(server.take());
    encrypted(&put);
    assert_eq!(class(&put).as_deref(), Some("STANDARD_IA"));
    assert_eq!(put.header("if-none-match"), Some("*"));

    store.copy("vault.json", DATA).await.unwrap();
    let copy = server.take().pop().unwrap();
    assert_eq!(copy.header("x-amz-copy-source"), Some("bucket/p/vault.json"));
    encrypted(&copy);
    assert_eq!(class(&copy).as_deref(), Some("STANDARD_IA"));

    let upload = store.begin_multipart(DATA, MIN_PART, MIN_PART + 3).await.unwrap();
    let begun = only(server.take());
    encrypted(&begun);
    assert_eq!(class(&begun).as_deref(), Some("STANDARD_IA"));
    upload.part(1, Bytes::from_static(b"part")).await.unwrap();
    assert_eq!(only(server.take()).header(KMS[0].0), None, "a part is encrypted as its upload is");
}

#[tokio::test]
async fn a_store_that_encrypts_in_another_way_than_asked_is_refused_and_nothing_new_stays() {
    for (sse, answer) in [
        (Sse::S3, &[][..]),
        (Sse::S3, &[("x-amz-server-side-encryption", "aws:kms")][..]),
        (Sse::Kms { key_id: None }, &[("x-amz-server-side-encryption", "AES256")][..]),
    ] {
        let server = Recorder::start(move |asked| s3(asked, answer)).await;
        let (mut config, _files) = config(&server.url);
        config.sse = Some(sse);
        let store = Store::open(&config).await.unwrap();
        let error = store.put(DATA, Bytes::new()).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NotEncrypted, "{error}");
        server.take();

        let error = store.put_if_absent(DATA, Bytes::new()).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NotEncrypted, "{error}");
        let deleted = server.take().pop().unwrap();
        assert!(
            deleted.line.starts_with("POST /bucket?delete") || deleted.line.contains("?delete"),
            "{deleted:?}"
        );
        assert!(deleted.body.contains(DATA), "{deleted:?}");

        if answer.is_empty() {
            // Of parts a store may say nothing: the object is asked in the end, and goes again.
            let upload = store.begin_multipart(DATA, MIN_PART, 4).await.unwrap();
            upload.part(1, Bytes::from_static(b"part")).await.unwrap();
            let error = upload.finish(4).await.unwrap_err();
            assert_eq!(error.kind, StoreErrorKind::NotEncrypted, "{error}");
            let asked = server.take();
            assert!(asked.iter().any(|asked| asked.line.contains("?delete")), "{asked:?}");
            continue;
        }
        let error = store.begin_multipart(DATA, MIN_PART, MIN_PART + 3).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::NotEncrypted, "{error}");
        let aborted = server.take().pop().unwrap();
        assert!(aborted.line.starts_with("DELETE ") && aborted.line.contains("uploadId=u1"), "{aborted:?}");

        // So no vault is made there.
        let task = error.to_task_error();
        assert_eq!(task.code, "RV-STORE-SSE");
        let probes = Vault::check(&config).await.unwrap();
        assert!(probes.iter().any(|probe| !probe.ok && probe.detail.contains("not encrypted")), "{probes:?}");
    }
}

#[tokio::test]
async fn checksums_are_sent_unless_only_the_required_ones_are_wanted() {
    for checksums in [Checksums::WhenSupported, Checksums::WhenRequired] {
        let server = Recorder::start(|asked| s3(asked, &[])).await;
        let (mut config, _files) = config(&server.url);
        config.checksums = checksums;
        let store = Store::open(&config).await.unwrap();
        store.put(DATA, Bytes::from_static(b"data")).await.unwrap();
        let upload = store.begin_multipart(DATA, MIN_PART, MIN_PART + 3).await.unwrap();
        upload.part(1, Bytes::from_static(b"part")).await.unwrap();
        let asked = server.take();
        let sends = |asked: &Asked| {
            asked.headers.keys().any(|name| name.as_str().contains("checksum") || name == "x-amz-trailer")
        };
        assert_eq!(asked.len(), 3);
        for asked in &asked {
            assert_eq!(sends(asked), checksums == Checksums::WhenSupported, "{asked:?}");
        }
    }
}

/// A token service that gives credentials, whatever it is asked.
async fn token_service() -> Recorder {
    Recorder::start(|asked: &Asked| {
        let action = if asked.body.contains("WithWebIdentity") {
            "AssumeRoleWithWebIdentity"
        } else {
            "AssumeRole"
        };
        let body = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result><Credentials>\
             <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
             <SessionToken>session-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>\
             </Credentials></{action}Result></{action}Response>"
        );
        Response::builder().header("content-type", "text/xml").body(Body::from(body)).unwrap()
    })
    .await
}

#[tokio::test]
async fn a_role_is_taken_before_the_store_is_asked() {
    let (server, sts) = (Recorder::start(|asked| s3(asked, &[])).await, token_service().await);
    let (mut config, files) = config(&server.url);
    let mut role = Role {
        arn: ARN.into(),
        external_id: Some("agreed".into()),
        session_name: None,
        web_identity_token_file: None,
        sts_endpoint: Some(sts.url.clone()),
    };
    config.role = Some(role.clone());
    let store = Store::open(&config).await.unwrap();
    store.put("a", Bytes::new()).await.unwrap();
    store.put("b", Bytes::new()).await.unwrap();
    let taken = only(sts.take());
    for part in ["Action=AssumeRole&", "backup", "ExternalId=agreed", "RoleSessionName=ringvault"] {
        assert!(taken.body.contains(part), "{part}: {taken:?}");
    }
    assert!(
        taken.header("authorization").unwrap().contains("AKIASTATIC"),
        "the role is asked for with the keys"
    );
    for put in server.take() {
        assert!(put.header("authorization").unwrap().contains("Credential=ASIAROLE/"), "{put:?}");
        assert_eq!(put.header("x-amz-security-token"), Some("session-token"));
    }

    // With a token of another identity instead of keys.
    let token = files.path().join("token");
    std::fs::write(&token, "a.web.token\n").unwrap();
    role.external_id = None;
    role.web_identity_token_file = Some(token);
    config.role = Some(role);
    (config.access_key_file, config.secret_key_file) = (None, None);
    let store = Store::open(&config).await.unwrap();
    store.put("a", Bytes::new()).await.unwrap();
    let taken = only(sts.take());
    for part in ["Action=AssumeRoleWithWebIdentity", "WebIdentityToken=a.web.token&", "backup"] {
        assert!(format!("{}&", taken.body).contains(part), "{part}: {taken:?}");
    }
    assert_eq!(taken.header("authorization"), None, "the token is all there is");
    assert!(only(server.take()).header("authorization").unwrap().contains("Credential=ASIAROLE/"));
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_with_their_setting() {
    let (good, files) = config(&Url::parse("https://127.0.0.1:1").unwrap());
    let junk = files.path().join("junk");
    std::fs::write(&junk, "no key, no certificate").unwrap();
    let absent = files.path().join("absent");
    let fails = async |change: &dyn Fn(&mut VaultConfig), setting: &str| {
        let mut config = good.clone();
        change(&mut config);
        let error = Store::open(&config).await.unwrap_err();
        assert!(matches!(error, VaultError::Config(ConfigError::Unreadable { .. })), "{error:?}");
        assert!(error.to_string().starts_with(setting), "{error}");
        assert_eq!(error.to_task_error().code, "RV-VAULT-CONFIG");
    };
    for file in [&junk, &absent] {
        fails(&|config| config.ca_file = Some(file.clone()), "ca_file").await;
        fails(&|config| config.sse = Some(Sse::Customer { key_file: file.clone() }), "sse.key_file").await;
    }
    fails(&|config| config.access_key_file = Some(absent.clone()), "access_key_file").await;
    let role = Role {
        arn: ARN.into(),
        external_id: None,
        session_name: None,
        web_identity_token_file: Some(absent.clone()),
        sts_endpoint: None,
    };
    fails(&|config| config.role = Some(role.clone()), "role.web_identity_token_file").await;
}

/// A store in trouble says so in its own words; what may pass is tried again and then told as what it is.
#[tokio::test]
async fn a_store_in_trouble_is_told_as_what_it_is() {
    for (status, code, kind, class) in [
        (503, "SlowDown", StoreErrorKind::Throttled, ErrorClass::Transient),
        (500, "InternalError", StoreErrorKind::Server, ErrorClass::Transient),
        (507, "XMinioStorageFull", StoreErrorKind::Full, ErrorClass::Environment),
        (403, "AccessDenied", StoreErrorKind::AccessDenied, ErrorClass::Permanent),
        (400, "ExpiredToken", StoreErrorKind::InvalidCredentials, ErrorClass::Permanent),
    ] {
        let server = Recorder::start(move |_| {
            let body = format!("<Error><Code>{code}</Code><Message>Some words.</Message></Error>");
            Response::builder().status(status).body(Body::from(body)).unwrap()
        })
        .await;
        let (config, _files) = config(&server.url);
        let error = Store::open(&config).await.unwrap().put(DATA, Bytes::new()).await.unwrap_err();
        assert_eq!((error.kind, error.to_task_error().class), (kind, class), "{error}");
        assert!(error.to_string().contains(code) && error.to_string().contains(DATA), "{error}");
        let tries = server.take().len();
        assert_eq!(tries > 1, matches!(status, 500 | 503), "{code}: {tries} tries");
    }
}
