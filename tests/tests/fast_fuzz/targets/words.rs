//! Single words: names that become keys and paths, keys themselves, sizes, times.

use std::path::{Component, Path};

use ringvault_core::{
    BackupName, ClusterName, HostId, PolicyName,
    policy::Window,
    selection::TableName,
    size::{format_size, parse_size},
};
use ringvault_vault::{hash::Digest, layout, manifest::is_file_name};

use super::{SOME, Target};
use crate::{harness::told, mutate, seeds};

super::targets! {
    names => Target {
        name: "names",
        seeds: seeds::texts(&[
            "orders-prod",
            "A.b_c-1",
            "orders.events",
            "nb-1-big-SAI+aa+idx+Meta.db",
            "clusters/orders/backups/b1/data/01a207df.1/packs/f7.pack",
            "clusters/orders/purges/00000001.json",
            "63cf81ee-701f-4651-8e8f-3b225aa0fee2",
            "a1060b6ed1b79a8a4a0fc5ca78cb76949c239dc6361e68e189a05cd4d7ab070a",
        ]),
        mutate: mutate::text,
        base: SOME,
        factor: 16,
        parse: try_names,
    };
    amounts => Target {
        name: "amounts",
        seeds: seeds::texts(&["100MiB", "1.5 GiB", "4096", "22:00-06:00", "2h 30m", "35d", "2026-11-22T02:00:00Z"]),
        mutate: mutate::text,
        base: SOME,
        factor: 16,
        parse: try_amounts,
    };
}

fn try_names(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let name = |given: Result<String, _>| match given {
        Ok(name) => {
            assert_eq!(name, text);
            stays_inside(&name, 1);
        }
        Err(error) => told(error),
    };
    name(ClusterName::new(&*text).map(String::from));
    name(BackupName::new(&*text).map(String::from));
    name(PolicyName::new(&*text).map(String::from));
    match text.parse::<TableName>() {
        Ok(table) => {
            assert_eq!(table.to_string(), text);
            stays_inside(&text, 1);
        }
        Err(error) => told(error),
    }
    if is_file_name(&text) {
        stays_inside(&text, 1);
    }
    match layout::check_key(&text) {
        Ok(()) => stays_inside(&text, usize::MAX),
        Err(error) => told(error),
    }
    match layout::owner_of(&text) {
        Ok((cluster, backup)) => assert!(text.starts_with(&layout::data_folder(&cluster, &backup))),
        Err(error) => told(error),
    }
    if let Some(number) = layout::purge_number(&text) {
        let cluster = ClusterName::new("c").expect("a name");
        assert_eq!(layout::purge_number(&layout::purge_intent(&cluster, number)), Some(number));
    }
    let _ = text.parse::<HostId>();
    match text.parse::<Digest>() {
        Ok(digest) => assert_eq!(digest.to_string(), text),
        Err(error) => told(error),
    }
}

/// A path of it leads down, and by at most so many folders.
fn stays_inside(text: &str, most: usize) {
    let parts: Vec<_> = Path::new(text).components().collect();
    let is_plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    assert!(is_plain && parts.len() <= most && !text.contains('\0') && text.len() <= 900, "{text:?}");
}

fn try_amounts(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match parse_size(&text) {
        Ok(bytes) => assert!(parse_size(&format_size(bytes)).is_ok() || bytes >= 9_000_000_000_000_000_000),
        Err(error) => told(error),
    }
    match text.parse::<Window>() {
        Ok(window) => assert_eq!(window.to_string(), text),
        Err(error) => told(error),
    }
    if let Ok(duration) = humantime::parse_duration(&text) {
        let written = humantime::format_duration(duration).to_string();
        assert_eq!(humantime::parse_duration(&written).ok(), Some(duration), "{written}");
    }
}
