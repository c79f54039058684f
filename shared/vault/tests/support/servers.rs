//! Stores that a test starts for itself, by the programs that `dev/lab tool` finds or fetches.

#![allow(dead_code, unreachable_pub)] // a module of several test binaries, each uses its part

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

#[path = "google_xml.rs"]
mod google_xml;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use ringvault_vault::{
    VaultConfig,
    config::{Azure, Gcs},
};
use sha2::Sha256;
use tempfile::TempDir;
use url::Url;

/// How long a server may take until it answers; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
pub const BUCKET: &str = "ringvault-tests";
/// Account and key of the tests' Azurite.
const ACCOUNT: &str = "ringvault";

/// A server and its data; both go when dropped.
pub struct Server {
    child: Child,
    pub url: Url,
    pub folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program is, installed if need be.
pub fn tool(name: &str) -> PathBuf {
    let lab = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dev/lab");
    let found = Command::new(lab).args(["tool", name]).stderr(Stdio::inherit()).output().unwrap();
    assert!(found.status.success(), "dev/lab tool {name}: {}", found.status);
    PathBuf::from(String::from_utf8(found.stdout).unwrap().trim())
}

/// A port of this machine that nothing listens on: bound, and let go at once.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(name: &str, scheme: &str, command: impl FnOnce(&mut Command, u16, &Path)) -> Server {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let mut program = Command::new(tool(name));
    command(&mut program, port, folder.path());
    let child = program.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let url = Url::parse(&format!("{scheme}://127.0.0.1:{port}")).unwrap();
    let mut server = Server { child, url, folder };
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert_eq!(server.child.try_wait().unwrap(), None, "{name} ended");
        assert!(began.elapsed() < PATIENCE, "{name} does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    server
}

/// Google's emulator with a bucket, and a vault's settings for a prefix in it. What the emulator does not
/// know of the API that is used here, `google_xml` translates.
pub async fn google() -> (Server, VaultConfig) {
    let server = start("fake-gcs-server", "http", |program, port, _| {
        let address = format!("127.0.0.1:{port}");
        program.args(["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory", "-log-level", "error"]);
        program.args(["-port", &port.to_string(), "-public-host", &address]);
        program.args(["-external-url", &format!("http://{address}")]);
    });
    let made = reqwest::Client::new()
        .post(server.url.join("storage/v1/b?project=tests").unwrap())
        .header("content-type", "application/json")
        .body(format!("{{\"name\":\"{BUCKET}\"}}"))
        .send()
        .await
        .unwrap();
    assert!(made.status().is_success(), "{made:?}");
    let mut config = VaultConfig::at(Url::parse(&format!("gs://{BUCKET}/a/prefix")).unwrap());
    config.endpoint = Some(google_xml::before(server.url.clone()).await);
    config.gcs = Some(Gcs { credentials_file: None, anonymous: true });
    (server, config)
}

/// Azurite with a container, and a vault's settings for a prefix in it.
pub async fn azure() -> (Server, VaultConfig) {
    let key = BASE64.encode([7u8; 64]);
    let server = start("azurite-blob", "http", |program, port, _| {
        program.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{key}"));
        program.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--silent"]);
        program.args([
            "--skipApiVersionCheck",
            "--disableProductStyleUrl",
            "--disableTelemetry",
            "--inMemoryPersistence",
        ]);
    });
    let endpoint = server.url.join(ACCOUNT).unwrap();
    create_container(&endpoint, &key).await;
    let key_file = server.folder.path().join("account-key");
    std::fs::write(&key_file, key).unwrap();
    let mut config = VaultConfig::at(Url::parse(&format!("az://{BUCKET}/a/prefix")).unwrap());
    config.endpoint = Some(endpoint);
    config.azure =
        Some(Azure { account: ACCOUNT.into(), account_key_file: Some(key_file), sas_token_file: None });
    (server, config)
}

/// Signed as <https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key> has it.
async fn create_container(endpoint: &Url, key: &str) {
    let date = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let version = "2021-08-06";
    let text = format!(
        "PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n\
         /{ACCOUNT}/{ACCOUNT}/{BUCKET}\nrestype:container"
    );
    let mut signature = Hmac::<Sha256>::new_from_slice(&BASE64.decode(key).unwrap()).unwrap();
    signature.update(text.as_bytes());
    let signature = BASE64.encode(signature.finalize().into_bytes());
    let made = reqwest::Client::new()
        .put(format!("{endpoint}/{BUCKET}?restype=container"))
        .header("x-ms-date", date)
        .header("x-ms-version", version)
        .header("content-length", "0")
        .header("authorization", format!("SharedKey {ACCOUNT}:{signature}"))
        .send()
        .await
        .unwrap();
    let status = made.status();
    assert!(status.is_success(), "{status}: {}", made.text().await.unwrap());
}

/// The key of `MinIO`'s own key management.
pub const MINIO_KEY: &str = "ringvault-key";

/// `MinIO` over TLS with keys to encrypt by and a bucket, and a vault's settings for a prefix in it.
pub async fn minio() -> (Server, VaultConfig) {
    let (access, secret) = ("ringvault-access", "ringvault-secret");
    let server = start("minio", "https", |program, port, folder| {
        let certificates = folder.join("certificates");
        std::fs::create_dir(&certificates).unwrap();
        certify(&certificates, folder);
        program.env("MINIO_ROOT_USER", access).env("MINIO_ROOT_PASSWORD", secret);
        program.env("MINIO_KMS_SECRET_KEY", format!("{MINIO_KEY}:{}", BASE64.encode([5u8; 32])));
        program.envs([("MINIO_UPDATE", "off"), ("MINIO_BROWSER", "off")]).env("HOME", folder);
        program.args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}"), "--certs-dir"]);
        program.arg(certificates).arg(folder.join("data"));
    });
    let file = |name: &str, content: &str| {
        let path = server.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let mut config = VaultConfig::at(Url::parse(&format!("s3://{BUCKET}/a/prefix")).unwrap());
    config.endpoint = Some(server.url.clone());
    config.access_key_file = Some(file("access", access));
    config.secret_key_file = Some(file("secret", secret));
    let authority = server.folder.path().join("authority.pem");
    create_bucket(&server.url, access, secret, &std::fs::read(&authority).unwrap()).await;
    config.ca_file = Some(authority);
    (server, config)
}

/// A certificate for this machine, and the authority that signed it.
fn certify(certificates: &Path, folder: &Path) {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    std::fs::write(folder.join("authority.pem"), authority.pem()).unwrap();
    std::fs::write(certificates.join("public.crt"), certificate.pem()).unwrap();
    std::fs::write(certificates.join("private.key"), key.serialize_pem()).unwrap();
}

async fn create_bucket(endpoint: &Url, access: &str, secret: &str, authority: &[u8]) {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    use aws_smithy_http_client::{
        Builder,
        tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
    };
    let trust = TrustStore::empty().with_pem_certificate(authority);
    let tls = TlsContext::builder().with_trust_store(trust).build().unwrap();
    let http =
        Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(tls).build_https();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint.as_str())
        .region(Region::new("us-east-1"))
        .force_path_style(true)
        .http_client(http)
        .credentials_provider(Credentials::new(access, secret, None, None, "tests"))
        .build();
    let client = aws_sdk_s3::Client::from_conf(config);
    let began = Instant::now();
    // Its port is open before it is ready.
    while let Err(error) = client.create_bucket().bucket(BUCKET).send().await {
        assert!(began.elapsed() < PATIENCE, "{error:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
