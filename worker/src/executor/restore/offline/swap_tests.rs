//! A swap that is cut off anywhere, any number of times, and whose Cassandra comes up or does not.
//!
//! Cassandra here is a check: whenever it is started, the directories hold all of one state and nothing of
//! another; while it runs it writes, as the real one does.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use ringvault_core::{HostId, JobId, TaskError};
use uuid::Uuid;

use super::swap::{Ended, Phase, Place, Server, Swap, With};

/// Files by path and content.
type Tree = BTreeMap<PathBuf, String>;

fn tree(root: &Path) -> Tree {
    let mut files = Tree::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let within = path.strip_prefix(root).unwrap().to_owned();
                files.insert(within, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

const OLD: [&[(&str, &str)]; 3] = [
    &[
        ("system/local-1/nb-1-big-Data.db", "old"),
        ("k/t-1/nb-1-big-Data.db", "old"),
        ("k/u-1/nb-1-big-Data.db", "old"),
    ],
    &[("k/t-1/nb-2-big-Data.db", "old"), ("dropped/x-1/nb-1-big-Data.db", "old")],
    &[("CommitLog-7-1.log", "old"), ("CommitLog-7-2.log", "old")],
];
const NEW: [&[(&str, &str)]; 2] = [
    &[("system/local-1/nb-9-big-Data.db", "new"), ("k/t-1/nb-1-big-Data.db", "new")],
    &[("k/t-1/nb-8-big-Data.db", "new"), ("fresh/y-1/nb-1-big-Data.db", "new")],
];

struct Node {
    root: tempfile::TempDir,
    is_empty: bool,
    runs: Mutex<bool>,
    comes_up: bool,
    stops: bool,
}

/// Every step is written through to the disk, and there are many.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

impl Node {
    fn new(is_empty: bool, comes_up: bool, stops: bool) -> Self {
        let node = Self { root: in_memory(), is_empty, runs: Mutex::new(!is_empty), comes_up, stops };
        for (number, files) in OLD.iter().enumerate().filter(|_| !is_empty) {
            write(&node.dir(number), files);
        }
        for (number, files) in NEW.iter().enumerate() {
            write(&node.at("new").join(number.to_string()), files);
        }
        // As at the top of a file system of its own.
        fs::create_dir_all(node.dir(0).join("lost+found")).unwrap();
        node
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn dir(&self, number: usize) -> PathBuf {
        self.at(&format!("dir{number}"))
    }

    fn file(&self) -> PathBuf {
        self.at("old/swap.json")
    }

    fn places(&self) -> Vec<Place> {
        (0..3)
            .map(|number| Place {
                dir: self.dir(number),
                old: self.at("old").join(number.to_string()),
                fresh: (number < 2).then(|| self.at("new").join(number.to_string())),
                rejected: self.at("rejected").join(number.to_string()),
            })
            .collect()
    }

    fn begin(&self, keep_old: bool) -> Swap {
        let ids = (JobId(Uuid::from_u128(1)), HostId(Uuid::from_u128(2)));
        Swap::begin(&self.file(), ids, !self.is_empty, keep_old, self.places()).unwrap()
    }

    fn holds(&self, with: With) {
        for (number, old) in OLD.iter().enumerate() {
            let expected: &[(&str, &str)] = match with {
                With::Old if self.is_empty => &[],
                With::Old => old,
                With::Restored => NEW.get(number).copied().unwrap_or_default(),
            };
            let expected: Tree =
                expected.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
            // What Cassandra wrote since it was started first is no part of the state.
            let mut found = tree(&self.dir(number));
            found.retain(|_, text| text != "written");
            assert_eq!(found, expected, "directory {number} with {with:?}");
        }
    }
}

impl Server for Node {
    fn still_mine(&self) -> Result<(), TaskError> {
        Ok(())
    }

    async fn stop(&self) -> Result<Result<(), String>, TaskError> {
        if !self.stops {
            return Ok(Err("no such unit".to_owned()));
        }
        *self.runs.lock().unwrap() = false;
        Ok(Ok(()))
    }

    async fn start(&self, with: With) -> Result<Result<(), String>, TaskError> {
        self.holds(with);
        if with == With::Restored {
            write(&self.dir(0), &[("k/t-1/nb-5-big-Data.db", "written")]);
            write(&self.dir(2), &[("CommitLog-7-3.log", "written")]);
        }
        let comes_up = with == With::Old || self.comes_up;
        *self.runs.lock().unwrap() = comes_up;
        Ok(if comes_up { Ok(()) } else { Err("no".to_owned()) })
    }
}

/// Drives the swap, cut off after each number of steps in turn, then to its end.
async fn drive(node: &Node, mut swap: Swap, cuts: &[u32]) -> (Swap, Ended) {
    for cut in cuts {
        swap = swap.cut_off_after(*cut);
        if let Ok(ended) = swap.drive(node).await {
            return (swap, ended);
        }
        swap = Swap::read(&node.file()).unwrap().expect("the record stays");
    }
    let ended = swap.drive(node).await.unwrap();
    (swap, ended)
}

/// More steps than any way through has.
const MOST: u32 = 60;

#[tokio::test]
async fn wherever_it_is_cut_off_it_ends_with_all_of_one_state() {
    for (is_empty, comes_up) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut ways = 0;
        for first in 0..MOST {
            for second in [None, Some(0), Some(1), Some(3), Some(7)] {
                let node = Node::new(is_empty, comes_up, true);
                let cuts: Vec<u32> = [first].into_iter().chain(second).collect();
                let (swap, ended) = drive(&node, node.begin(false), &cuts).await;
                assert_eq!(ended == Ended::Up, comes_up, "{cuts:?}");
                node.holds(if comes_up { With::Restored } else { With::Old });
                // A node that was never there is not started with nothing.
                assert_eq!(*node.runs.lock().unwrap(), comes_up || !is_empty, "{cuts:?}");
                let old: usize = (0..3).map(|n| tree(&node.at("old").join(n.to_string())).len()).sum();
                let kept: usize =
                    if comes_up && !is_empty { OLD.iter().map(|files| files.len()).sum() } else { 0 };
                assert_eq!(old, kept, "what the node held is there until it is forgotten");
                swap.forget().unwrap();
                assert!(!node.at("old").exists() && Swap::read(&node.file()).unwrap().is_none());
                ways += 1;
            }
        }
        assert!(ways > 200);
    }
}

#[tokio::test]
async fn a_swap_that_is_given_up_goes_back_from_wherever_it_is() {
    for cut in 0..MOST {
        let node = Node::new(false, true, true);
        let mut swap = node.begin(false).cut_off_after(cut);
        let was_done = swap.drive(&node).await.is_ok();
        let mut swap = Swap::read(&node.file()).unwrap().unwrap();
        assert!(!was_done || swap.record.phase == Phase::Up);
        let is_up = swap.record.phase == Phase::Up;
        swap.turn_back("given up".to_owned()).unwrap();
        let ended = swap.drive(&node).await.unwrap();
        if is_up {
            assert_eq!(ended, Ended::Up, "what is done stays");
            node.holds(With::Restored);
        } else {
            assert_eq!(ended, Ended::Back { why: "given up".to_owned() });
            node.holds(With::Old);
        }
        assert!(*node.runs.lock().unwrap());
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_stopped_is_left_as_it_is() {
    let node = Node::new(false, true, false);
    let mut swap = node.begin(false);
    assert_eq!(swap.drive(&node).await.unwrap(), Ended::Back { why: "no such unit".to_owned() });
    node.holds(With::Old);
    assert!(*node.runs.lock().unwrap());
}

#[tokio::test]
async fn what_is_to_be_kept_is_kept_and_never_mixed_with_another_swap_s() {
    let node = Node::new(false, true, true);
    let mut swap = node.begin(true);
    assert_eq!(swap.drive(&node).await.unwrap(), Ended::Up);
    swap.forget().unwrap();
    let kept: Tree = OLD[1].iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    assert_eq!(tree(&node.at("old/1")), kept);
    let ids = (JobId(Uuid::from_u128(1)), HostId(Uuid::from_u128(2)));
    let again = Swap::begin(&node.file(), ids, true, true, node.places());
    assert_eq!(again.unwrap_err().code, "RV-OLD-DATA");
}
