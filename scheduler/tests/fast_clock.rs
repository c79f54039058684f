//! What time decides, the database's clock decides: leases, deadlines, fires, retention. A scheduler whose
//! own clock is minutes off does the same as one whose clock is right, since it never asks its own.

use std::{fs, path::Path};

/// Ways to ask the machine's clock for the time of day (not how long something took: that is fine).
const ASKED: [&str; 4] = ["Utc::now(", "Local::now(", "SystemTime::now(", "OffsetDateTime::now"];

/// Who may, and why nothing hangs on it.
const MAY: &[(&str, &str)] = &[
    ("scheduler/src/api/auth/mod.rs", "since when the administrator's token is there, as shown"),
    ("scheduler/src/api/status/mod.rs", "the status that is answered without a database"),
    ("scheduler/src/heartbeats.rs", "when a message was written, for who reads it in the dead queue"),
];

fn look(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            look(&path, root, found);
            continue;
        }
        let name = path.strip_prefix(root).expect("below it").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a source");
        // Tests stand at the end of a file.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| ASKED.iter().any(|asked| line.contains(asked))) {
            found.push((name.clone(), line.trim().to_owned()));
        }
    }
}

#[test]
fn no_scheduler_asks_its_own_clock_what_time_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    for folder in ["scheduler/src", "shared/state/src", "shared/core/src"] {
        look(&root.join(folder), &root, &mut found);
    }
    let wrong: Vec<_> = found.iter().filter(|(file, _)| !MAY.iter().any(|(may, _)| may == file)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (file, _) in MAY {
        assert!(found.iter().any(|(other, _)| other == file), "{file} asks no more: take it off the list");
    }
}
