//! A bucket of Medusa's on a real S3 server: its tags are compared, its MD5s computed, and damage is named.

#[path = "support/medusa.rs"]
mod medusa;
#[path = "support/s3.rs"]
mod s3;
mod support;
#[path = "support/world.rs"]
mod world;

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    primitives::ByteStream,
};
use medusa::{ORDERS, PREFIX, files, import, unpack, word};
use ringvault_core::{
    job::VerifyLevel::{Digest, Presence},
    task::FindingKind,
};
use ringvault_vault::VaultConfig;
use url::Url;
use world::World;

/// A client that, unlike a vault's, writes whatever keys Medusa does.
fn client(config: &VaultConfig) -> Client {
    let secret = |file: &Option<std::path::PathBuf>| std::fs::read_to_string(file.as_ref().unwrap()).unwrap();
    let (access, key) = (secret(&config.access_key_file), secret(&config.secret_key_file));
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(config.endpoint.as_ref().unwrap().as_str())
        .region(Region::new("us-east-1"))
        .force_path_style(true)
        .credentials_provider(Credentials::new(access, key, None, None, "tests"))
        .build();
    Client::from_conf(config)
}

#[tokio::test]
async fn tags_tell_at_once_what_digests_tell_after_reading() {
    let (mut config, local) = s3::config().await;
    let bucket = config.url.host_str().unwrap().to_owned();
    let root = format!("{}-medusa/{PREFIX}", config.url.path().trim_matches('/'));
    let (s3, folder) = (client(&config), local.path().join("medusa"));
    unpack(&folder);
    let put = async |path: &str, body: Vec<u8>| {
        let key = format!("{root}/{path}");
        s3.put_object().bucket(&bucket).key(key).body(ByteStream::from(body)).send().await.unwrap();
    };
    let objects = files(&folder.join(PREFIX));
    for (path, body) in &objects {
        put(path.to_str().unwrap(), body.clone()).await;
    }
    let mut old = config.clone();
    old.url = Url::parse(&format!("s3://{bucket}/{root}")).unwrap();
    config.medusa = [("old".to_owned(), old)].into();
    let world = World::new(&config, local, 0).await;
    for name in ["diff1", "diff2", "full1", "onlyone"] {
        assert_eq!(word(&import(&world.vault, &world.cluster, name).await), "new", "{name}");
        assert_eq!(world.verify(name, Presence, 2).await.findings, [], "{name}");
        world.assert_whole(name).await;
    }
    let object = format!("{ORDERS}/nb-1-big-Data.db");
    let mut flipped = objects[std::path::Path::new(&object)].clone();
    flipped[100] ^= 1;
    put(&object, flipped).await;
    let presence = world.verify("diff1", Presence, 2).await.findings;
    assert_eq!((presence.len(), presence[0].kind), (1, FindingKind::Corrupt), "{presence:?}");
    assert!(presence[0].detail.contains("its tag is"), "{presence:?}");
    assert_eq!(presence[0].table.as_ref().unwrap().to_string(), "shop.orders");
    let digest = world.verify("diff2", Digest, 2).await.findings;
    assert_eq!((digest.len(), digest[0].kind), (1, FindingKind::Corrupt), "{digest:?}");
    assert_eq!(world.verify("full1", Digest, 2).await.findings, []);
    let keys: Vec<String> = objects.keys().map(|path| format!("{root}/{}", path.display())).collect();
    for key in keys {
        s3.delete_object().bucket(&bucket).key(key).send().await.unwrap();
    }
    s3::clean(&world.lab).await;
}
