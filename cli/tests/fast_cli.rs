//! The program as a script meets it, as far as that needs no server: the commands there are, their
//! help word for word, exit codes, and what goes to which stream.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// Every command, as published.
const COMMANDS: &[&str] = &[
    "status",
    "doctor",
    "vault init",
    "vault takeover",
    "vault check",
    "vault recover",
    "cluster list",
    "cluster show",
    "cluster topology",
    "cluster rebind",
    "node list",
    "node show",
    "node forget",
    "notify list",
    "notify test",
    "policy apply",
    "policy list",
    "policy show",
    "policy delete",
    "policy pause",
    "policy resume",
    "policy next",
    "backup create",
    "backup list",
    "backup show",
    "backup diff",
    "backup delete",
    "backup export",
    "verify run",
    "restore plan",
    "restore run",
    "rows digest",
    "rows show",
    "rows compare",
    "purge plan",
    "purge run",
    "job list",
    "job show",
    "job watch",
    "job logs",
    "job cancel",
    "job pause",
    "job resume",
    "job retry",
    "job abandon",
    "job limit",
    "hold set",
    "hold release",
    "hold list",
    "storage show",
    "evidence list",
    "key create",
    "key list",
    "key rotate",
    "token create",
    "token list",
    "token revoke",
    "session list",
    "session end",
    "audit list",
    "audit export",
    "audit verify",
    "catalog list",
    "catalog rebuild",
    "generate completions",
    "generate man",
];

/// Options that must exist, by command.
const OPTIONS: &[(&str, &[&str])] = &[
    (
        "backup create",
        &[
            "--cluster",
            "--name",
            "--mode",
            "--keyspace",
            "--table",
            "--exclude",
            "--dc",
            "--tag",
            "--max-parallel-nodes",
            "--rate-limit",
            "--request-limit",
            "--max-parallel-scope",
            "--wait",
            "--timeout",
            "--dry-run",
        ],
    ),
    (
        "restore run",
        &[
            "--from",
            "--to",
            "--keyspace",
            "--table",
            "--method",
            "--truncate",
            "--skip-schema",
            "--with-auth",
            "--online",
            "--offline",
            "--node",
            "--keep-old",
            "--rate-limit",
            "--confirm",
            "--wait",
            "--timeout",
            "--dry-run",
        ],
    ),
    ("backup export", &["--to", "--keyspace", "--table", "--node"]),
    ("cluster rebind", &["--confirm", "--dry-run"]),
    ("node forget", &["--cluster", "--dry-run"]),
    ("verify run", &["--level", "--wait", "--timeout", "--dry-run"]),
    ("purge run", &["--policy", "--keep-last", "--max-age", "--min-restorable", "--confirm", "--dry-run"]),
    (
        "vault init",
        &[
            "--config",
            "--url",
            "--endpoint",
            "--region",
            "--path-style",
            "--access-key-file",
            "--secret-key-file",
            "--key-file",
            "--encrypt",
        ],
    ),
    ("key rotate", &["--config", "--data-key", "--keep-former", "--dry-run"]),
    ("status", &["--server", "--token-file", "--json", "--yes", "--no-color", "--tz", "--debug"]),
];

/// The program in an empty home, with nothing of the tester's environment but the path.
fn ringvault(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringvault"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    ringvault(arguments).output().unwrap()
}

fn words(command: &str) -> Vec<&str> {
    command.split(' ').collect()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// `RINGVAULT_ACCEPT=1` writes the file anew.
#[test]
fn help_is_as_it_is_written_down() {
    let mut found = stdout(&run(&["--help"]));
    for command in COMMANDS {
        let output = run(&[words(command).as_slice(), &["-h"]].concat());
        assert!(output.status.success(), "{command}: {}", stderr(&output));
        write!(found, "\n$ ringvault {command} -h\n{}", stdout(&output)).unwrap();
    }
    let lines: Vec<&str> = found.lines().map(str::trim_end).collect();
    let found = lines.join(
        "
",
    ) + "
";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.txt");
    if std::env::var_os("RINGVAULT_ACCEPT").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(
        found == expected,
        "the help has changed; if that is meant: RINGVAULT_ACCEPT=1 cargo test -p ringvault-cli --test fast_cli, and look at the difference"
    );
}

#[test]
fn every_published_option_exists() {
    for (command, options) in OPTIONS {
        let help = stdout(&run(&[words(command).as_slice(), &["--help"]].concat()));
        for option in *options {
            let there = help.split_whitespace().any(|word| word.trim_end_matches(',') == *option);
            assert!(there, "{command} has no {option}");
        }
    }
}

#[test]
fn no_option_is_taken_that_does_nothing() {
    let restore = ["restore", "run", "--from", "b", "--to", "c"];
    for option in [["--node", "x"], ["--at", "2026-01-01T00:00:00Z"]] {
        let output = run(&[restore.as_slice(), &option].concat());
        assert_eq!(output.status.code(), Some(2), "{option:?}");
    }
}

#[test]
fn what_makes_no_sense_ends_with_2() {
    for command in [
        "backup create",
        "backup create -c a/b",
        "backup create -c c --rate-limit 0",
        "backup create -c c --rate-limit 10MB",
        "backup create -c c --keyspace a.b",
        "backup create -c c --table noperiod",
        "backup create -c c --tag novalue",
        "backup create -c c --timeout 5m",
        "backup create -c c --max-parallel-nodes 0",
        "backup create -c c --max-parallel-scope rack",
        "backup create -c c --max-parallel-nodes 1 --max-parallel-scope row",
        "backup create -c c --request-limit 0",
        "job limit 1",
        "job limit 1 --dc dc1",
        "job limit 1 --requests 0",
        "job limit 1 5MB",
        "restore plan --from b --to c --rename a.b=c",
        "restore plan --from b --to c --rename a.b=a.b",
        "restore plan --from b --to c --rename a.b=x.y --rename c.d=x.y",
        "restore plan --from b --to c --keyspace k --rename a.b=a.c",
        "verify run b --level deep",
        "purge run -c c b --keep-last 3",
        "purge run -c c --policy p --keep-last 3",
        "job list --state done",
        "vault check",
        "frobnicate",
    ] {
        let output = run(&words(command));
        assert_eq!(output.status.code(), Some(2), "{command}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{command}");
        let text = stderr(&output);
        assert!(text.starts_with("error[RV-USAGE]: ") && text.contains("\nNext: "), "{command}: {text}");
        let output = run(&words(&format!("{command} --json")));
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&document["error"]["code"], &document["error"]["exit"]), (&"RV-USAGE".into(), &2.into()));
    }
    let help = run(&["backup"]);
    assert_eq!(help.status.code(), Some(2));
    assert!(stderr(&help).contains("Usage: ringvault backup"), "{}", stderr(&help));
}

#[test]
fn without_a_server_it_says_how_to_name_one() {
    let output = run(&["status"]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.starts_with("error[RV-USAGE]: ") && text.contains("\nNext: give --server"), "{text}");
}

#[test]
fn a_server_that_is_not_there_ends_with_9_and_json_is_still_json() {
    let arguments = ["status", "--server", "http://127.0.0.1:1", "--json"];
    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(9), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error[RV-SERVER-UNREACHABLE]: "));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["schema_version"], 1);
    assert_eq!(document["error"]["code"], "RV-SERVER-UNREACHABLE");
    assert_eq!(document["error"]["exit"], 9);
    assert!(stdout(&run(&arguments[..3])).is_empty(), "text goes to stderr alone");
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let home = folder("config");
    fs::create_dir_all(home.join("ringvault")).unwrap();
    fs::write(home.join("ringvault/config.toml"), "server = 'http://127.0.0.3:1'\n").unwrap();
    let asked = |set: &dyn Fn(&mut Command)| {
        let mut command = ringvault(&["status"]);
        command.env("XDG_CONFIG_HOME", &home);
        set(&mut command);
        stderr(&command.output().unwrap())
    };
    assert!(asked(&|_| {}).contains("127.0.0.3"));
    let environment = |command: &mut Command| {
        command.env("RINGVAULT_SERVER", "http://127.0.0.2:1");
    };
    assert!(asked(&environment).contains("127.0.0.2"));
    let flag = |command: &mut Command| {
        environment(command);
        command.args(["--server", "http://127.0.0.1:1"]);
    };
    assert!(asked(&flag).contains("127.0.0.1"));
    fs::write(home.join("ringvault/config.toml"), "sevrer = 'x'\n").unwrap();
    let text = asked(&|_| {});
    assert!(text.contains("config.toml") && text.contains("sevrer"), "{text}");
}

#[test]
fn a_policy_file_with_a_misspelt_field_is_refused_with_its_line() {
    let file = folder("policy").join("p.toml");
    let text = "[policy.nightly]\ncluster = 'c'\nschedule = '0 2 * * *'\naction = 'backup'\nretries = 3\nkeyspace = ['k']\n";
    fs::write(&file, text).unwrap();
    let output = run(&["policy", "apply", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.starts_with("error[RV-POLICY]: "), "{text}");
    assert!(
        text.contains("line 6") && text.contains("keyspace") && text.contains("nothing of it was applied"),
        "{text}"
    );
}

#[test]
fn a_vault_in_a_folder_is_made_once_checked_and_listed() {
    let place = folder("vault").join("store");
    let url = format!("file://{}", place.display());
    let vault = |verb: &[&str]| run(&[verb, &["--url", &url, "--json"]].concat());
    let json = |output: &Output| -> serde_json::Value { serde_json::from_slice(&output.stdout).unwrap() };

    let missing = vault(&["catalog", "list"]);
    assert_eq!(missing.status.code(), Some(5), "{}", stderr(&missing));

    let first = vault(&["vault", "init"]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let id = json(&first)["vault"]["vault_id"].clone();
    assert!(id.is_string());

    let second = vault(&["vault", "init"]);
    assert_eq!(second.status.code(), Some(6), "{}", stderr(&second));
    assert!(stderr(&second).contains(id.as_str().unwrap()));
    let third = vault(&["vault", "init", "--if-missing"]);
    assert_eq!(third.status.code(), Some(0), "{}", stderr(&third));
    assert_eq!(json(&third)["vault"]["vault_id"], id);
    let stranger = vault(&["vault", "init", "--if-missing", "--deployment", "stranger"]);
    assert_eq!(stranger.status.code(), Some(7), "{}", stderr(&stranger));
    assert!(stderr(&stranger).contains("RV-VAULT-OWNER"));

    let check = vault(&["vault", "check"]);
    assert_eq!(check.status.code(), Some(0), "{}", stdout(&check));
    assert!(json(&check)["probes"].as_array().unwrap().iter().all(|probe| probe["ok"] == true));

    let catalog = vault(&["catalog", "list"]);
    assert_eq!(catalog.status.code(), Some(0), "{}", stderr(&catalog));
    assert_eq!(json(&catalog)["items"], serde_json::json!([]));

    let export = vault(&["backup", "export", "none", "--to", "/nonexistent/x"]);
    assert_eq!(export.status.code(), Some(5), "{}", stderr(&export));

    let unsure = vault(&["vault", "takeover", "--deployment", "successor"]);
    assert_eq!(unsure.status.code(), Some(2), "{}", stderr(&unsure));
    let taken = vault(&["vault", "takeover", "--deployment", "successor", "--confirm"]);
    assert_eq!(taken.status.code(), Some(0), "{}", stderr(&taken));
    let taken = json(&taken);
    assert_eq!((&taken["former"], &taken["owner"]), (&"ringvault".into(), &"successor".into()));
    let owner = fs::read_to_string(place.join("owner.json")).unwrap();
    assert!(owner.contains("successor"), "{owner}");
}

#[test]
fn a_backup_is_exported_from_the_vault_alone() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vault/fixtures/vault-v1");
    let url = format!("file://{}", fixture.canonicalize().unwrap().display());
    let to = folder("export").join("b2");
    let to_text = to.to_str().unwrap();
    let export = run(&["backup", "export", "b2", "--to", to_text, "--url", &url, "--json"]);
    assert_eq!(export.status.code(), Some(0), "{}", stderr(&export));
    let answer: serde_json::Value = serde_json::from_slice(&export.stdout).unwrap();
    assert_eq!((&answer["files"], &answer["bytes"]), (&4.into(), &(12_000 + 11_000 + 2 * 92).into()));
    let schema = fs::read_to_string(to.join("schema.cql")).unwrap();
    assert!(schema.starts_with("CREATE TABLE ks.t"), "{schema}");
}

#[test]
fn two_backups_are_compared_from_the_vault_alone() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vault/fixtures/vault-v1");
    let url = format!("file://{}", fixture.canonicalize().unwrap().display());
    let diff = |from, to, more: &[&str]| run(&[&["backup", "diff", from, to, "--url", &url], more].concat());
    let json = |from, to| {
        let output = diff(from, to, &["--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let same = json("b2", "b2");
    assert_eq!(same["total"]["bytes_same"], 12_000 + 11_000 + 2 * 92);
    assert_eq!((&same["total"]["files_new"], &same["total"]["files_gone"]), (&0.into(), &0.into()));
    assert_eq!(same["schema"], serde_json::json!({"gone": [], "new": [], "changed": []}));
    // The same rows, in part brought anew.
    let other = json("b1", "b2");
    assert_eq!((&other["total"], &other["tables"][0]["table"]), (&same["total"], &"t".into()));
    let text = stdout(&diff("b1", "b2", &[]));
    assert!(text.starts_with("TABLE") && text.contains("1 table as before"), "{text}");
    assert_eq!(diff("b1", "b9", &[]).status.code(), Some(5));
}

#[test]
fn completions_and_manual_pages_are_made_from_the_same_tree() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["generate", "completions", shell]));
        assert!(script.contains("ringvault") && script.contains("max-parallel-nodes"), "{shell}");
    }
    let pages = folder("man");
    let output = run(&["generate", "man", "--to", pages.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(pages.join("ringvault-backup-create.1").exists());
    assert!(stdout(&run(&["generate", "man"])).contains(".TH"));
}

#[test]
fn the_version_is_told() {
    let text = stdout(&run(&["--version"]));
    assert_eq!(text, format!("ringvault {}\n", env!("CARGO_PKG_VERSION")));
}
