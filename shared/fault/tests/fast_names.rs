//! Every point of the product has a name of its own, that can be a file's.

use std::{collections::BTreeSet, path::Path};

use ringvault_fault::names_in;

#[test]
fn names_are_unique_and_plain() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seen = BTreeSet::new();
    for part in ["scheduler/src", "worker/src", "shared/queue/src", "shared/state/src", "shared/vault/src"] {
        for name in names_in(&root.join(part)).expect("the sources can be read") {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-".contains(c);
            assert!(name.chars().all(is_plain), "{name} cannot be a file's name");
            assert!(seen.insert(name.clone()), "{name} is given twice");
        }
    }
    assert!(seen.len() > 50, "only {} points were found: {seen:?}", seen.len());
}
