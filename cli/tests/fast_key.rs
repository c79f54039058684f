//! An encrypted vault from the command line: made, refused to the wrong key, given another.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

struct Ground {
    folder: PathBuf,
}

impl Ground {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("store")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// A settings file of this name for the vault in `store`, with these lines about its keys.
    fn config(&self, name: &str, encryption: &str) -> String {
        let text = format!("[vault]\nurl = 'file://{}'\n{encryption}", self.path("store"));
        fs::write(self.folder.join(name), text).unwrap();
        self.path(name)
    }

    fn with_key(&self, name: &str, key: &str, others: &[&str]) -> String {
        let others: Vec<_> = others.iter().map(|key| self.path(key)).collect();
        let key = self.path(key);
        self.config(name, &format!("[vault.encryption]\nkey_file = '{key}'\nother_key_files = {others:?}\n"))
    }

    fn key(&self, name: &str) -> String {
        let made = self.run(&["key", "create", &self.path(name), "--json"]);
        code(&made, 0);
        document(&made)["id"].as_str().unwrap().to_owned()
    }

    #[allow(clippy::unused_self)] // what is run belongs to this ground
    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringvault"));
        command.current_dir(&self.folder).args(arguments).stdin(Stdio::null());
        command.env_clear().env("HOME", "/nonexistent");
        command.env("KEY_OF_NOBODY", "xyz").output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[track_caller]
fn code(output: &Output, expected: i32) {
    assert_eq!(output.status.code(), Some(expected), "{}", said(output));
}

fn document(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_key_is_made_once_for_its_owner_alone_and_is_never_shown() {
    let ground = Ground::new("key-create");
    let id = ground.key("key");
    let file = ground.folder.join("key");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!((text.trim().len(), id.len()), (64, 16));
    let again = ground.run(&["key", "create", &ground.path("key")]);
    code(&again, 6);
    assert!(!said(&again).contains(text.trim()));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn an_encrypted_vault_is_made_opened_and_refused() {
    let ground = Ground::new("key-vault");
    let id = ground.key("key");
    let other = ground.key("other");
    let config = ground.with_key("config.toml", "key", &[]);
    let plain = ground.config("plain.toml", "");

    // One says encryption, the other does not: nothing is made.
    code(&ground.run(&["vault", "init", "--config", &config]), 2);
    code(&ground.run(&["vault", "init", "--encrypt", "--config", &plain]), 2);
    assert!(!ground.folder.join("store/vault.json").exists());
    code(&ground.run(&["vault", "init", "--encrypt", "--dry-run", "--config", &config]), 0);
    assert!(!ground.folder.join("store/vault.json").exists());

    let made = ground.run(&["vault", "init", "--encrypt", "--config", &config, "--json"]);
    code(&made, 0);
    assert_eq!(document(&made)["vault"]["encryption"]["cipher"], "AES-256-GCM");
    code(&ground.run(&["vault", "init", "--encrypt", "--config", &config]), 6);
    code(&ground.run(&["vault", "check", "--config", &config]), 0);
    code(&ground.run(&["catalog", "list", "--config", &config]), 0);
    // Without a settings file, and the other way round in an environment.
    let url = format!("file://{}", ground.path("store"));
    code(&ground.run(&["catalog", "list", "--url", &url, "--key-file", &ground.path("key")]), 0);

    for command in [["catalog", "list"], ["vault", "takeover"], ["key", "list"]] {
        let missing = ground.run(&[&command[..], &["--config", &plain]].concat());
        code(&missing, 8);
        assert!(
            said(&missing).contains("RV-KEY-MISSING") && said(&missing).contains(&id),
            "{}",
            said(&missing)
        );
        let wrong =
            ground.run(&[&command[..], &["--url", &url, "--key-file", &ground.path("other")]].concat());
        code(&wrong, 8);
        let text = said(&wrong);
        assert!(text.contains("RV-KEY-WRONG") && text.contains(&id) && text.contains(&other), "{text}");
    }
    let check = ground.run(&["vault", "check", "--config", &plain]);
    code(&check, 4);
    assert!(said(&check).contains(&id), "{}", said(&check));

    fs::set_permissions(ground.folder.join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let open = ground.run(&["catalog", "list", "--config", &config]);
    code(&open, 2);
    assert!(said(&open).contains("0644"), "{}", said(&open));
    let variable = ground.config("env.toml", "[vault.encryption]\nkey_env = 'KEY_OF_NOBODY'\n");
    let bad = ground.run(&["catalog", "list", "--config", &variable]);
    code(&bad, 2);
    assert!(said(&bad).contains("KEY_OF_NOBODY") && !said(&bad).contains("xyz"), "{}", said(&bad));
}

#[test]
fn a_plain_vault_is_not_opened_as_an_encrypted_one() {
    let ground = Ground::new("key-plain");
    ground.key("key");
    let (plain, config) = (ground.config("plain.toml", ""), ground.with_key("config.toml", "key", &[]));
    code(&ground.run(&["vault", "init", "--config", &plain]), 0);
    let list = ground.run(&["key", "list", "--config", &plain, "--json"]);
    code(&list, 0);
    assert_eq!(document(&list)["encrypted"], false);
    let needless = ground.run(&["catalog", "list", "--config", &config]);
    code(&needless, 7);
    assert!(said(&needless).contains("RV-VAULT-PLAIN"), "{}", said(&needless));
    code(&ground.run(&["key", "rotate", "--config", &plain]), 7);
}

#[test]
fn keys_are_listed_and_rotated() {
    let ground = Ground::new("key-rotate");
    let (first, second) = (ground.key("key"), ground.key("key2"));
    let old = ground.with_key("old.toml", "key", &[]);
    let both = ground.with_key("both.toml", "key2", &["key"]);
    let new = ground.with_key("new.toml", "key2", &[]);
    code(&ground.run(&["vault", "init", "--encrypt", "--config", &old]), 0);

    let listed = |config: &str| {
        let list = ground.run(&["key", "list", "--config", config, "--json"]);
        code(&list, 0);
        document(&list)
    };
    let before = listed(&both);
    assert_eq!((&before["opened_by"], &before["configured"]), (&json!([first]), &json!([second, first])));
    assert_eq!((before["generation"].as_u64(), before["keys"].as_array().unwrap().len()), (Some(1), 2));
    let text = said(&ground.run(&["key", "list", "--config", &both]));
    assert!(text.contains(&first) && text.contains("does not open it"), "{text}");

    // It closes the vault to somebody, so it asks.
    let plan = ground.run(&["key", "rotate", "--config", &both, "--dry-run"]);
    code(&plan, 0);
    assert!(said(&plan).contains("closed to") && said(&plan).contains(&first), "{}", said(&plan));
    code(&ground.run(&["key", "rotate", "--config", &both]), 7);
    assert_eq!(listed(&both), before, "nothing was changed");

    code(&ground.run(&["key", "rotate", "--config", &both, "--keep-former"]), 0);
    assert_eq!(listed(&old)["opened_by"], json!([second, first]));
    code(&ground.run(&["key", "rotate", "--config", &both, "--yes"]), 0);
    assert_eq!(listed(&new)["opened_by"], json!([second]));
    code(&ground.run(&["key", "list", "--config", &old]), 8);

    let rotated = ground.run(&["key", "rotate", "--config", &new, "--data-key", "--json"]);
    code(&rotated, 0);
    let after = listed(&new);
    assert_eq!((after["generation"].as_u64(), after["keys"].as_array().unwrap().len()), (Some(4), 3));
    let active = after["keys"].as_array().unwrap().iter().find(|key| key["active"] == true).unwrap();
    assert_eq!(active["id"], document(&rotated)["rotation"]["active"]);
    let again = ground.run(&["key", "rotate", "--config", &new]);
    code(&again, 0);
    assert!(said(&again).contains("nothing to change"), "{}", said(&again));
}
