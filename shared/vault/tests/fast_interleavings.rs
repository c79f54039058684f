//! Backups and purges step by step in random order, as many at a time as come: whatever the order,
//! every sealed backup that has not expired is whole, and in the end nothing is left behind.

mod support;
#[path = "support/world.rs"]
mod world;

use std::collections::BTreeMap;

use ringvault_core::{job::VerifyLevel, task::NodeManifestRef};
use ringvault_vault::{VaultError, purge::MarkOutcome};
use support::content;
use world::{World, job, name};

/// A sequence that is the same for the same seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(drawn).unwrap() % n
    }
}

enum Backup {
    Begun,
    Brought(Vec<NodeManifestRef>),
    Sealed,
    Over,
}

enum Purge {
    Marking(Vec<String>),
    Sweeping { number: u64, shard: u32 },
    Over,
}

#[derive(Default)]
struct Course {
    backups: BTreeMap<String, Backup>,
    purges: BTreeMap<String, Purge>,
    /// Steps taken, for the message of a failure.
    log: Vec<String>,
}

const SHARDS: u32 = 2;

impl Course {
    fn pick(&self, dice: &mut Dice, wanted: fn(&Backup) -> bool) -> Option<String> {
        let fitting: Vec<_> = self.backups.iter().filter(|(_, b)| wanted(b)).map(|(name, _)| name).collect();
        (!fitting.is_empty()).then(|| fitting[dice.below(fitting.len())].clone())
    }

    async fn step(&mut self, world: &mut World, dice: &mut Dice) {
        match dice.below(16) {
            0 | 1 => {
                let version = dice.below(5);
                self.log.push(format!("write version {version}"));
                let new = content(&format!("version {version}"), 12_000 + version);
                world.nodes[0].rewrite("ks", "t", "0", "Data.db", &new);
            }
            2 | 3 => {
                let backup = format!("b{}", self.backups.len());
                self.log.push(format!("begin {backup}"));
                world.begin(&backup).await;
                self.backups.insert(backup, Backup::Begun);
            }
            4 | 5 => {
                let Some(backup) = self.pick(dice, |b| matches!(b, Backup::Begun | Backup::Brought(_)))
                else {
                    return;
                };
                self.log.push(format!("bring {backup}"));
                let (manifests, _) = world.bring_all(&backup).await;
                self.backups.insert(backup, Backup::Brought(manifests));
            }
            6 | 7 => {
                let Some(backup) = self.pick(dice, |b| matches!(b, Backup::Brought(_))) else { return };
                self.seal(world, backup).await;
            }
            8 => {
                let Some(backup) = self.pick(dice, |b| matches!(b, Backup::Begun | Backup::Brought(_)))
                else {
                    return;
                };
                self.log.push(format!("abort {backup}"));
                world.vault.abort(&world.cluster, &name(&backup), job(&backup), "dice").await.unwrap();
                // It is not taken off here: its worker goes on until the abort marker stops it.
            }
            9 | 10 => {
                let Some(backup) = self.pick(dice, |b| matches!(b, Backup::Sealed)) else { return };
                let purge = format!("p{}", self.purges.len());
                self.backups.insert(backup.clone(), Backup::Over);
                self.purges.insert(purge, Purge::Marking(vec![backup]));
            }
            _ => self.purge_step(world, dice).await,
        }
    }

    async fn seal(&mut self, world: &World, backup: String) {
        let Some(Backup::Brought(manifests)) = self.backups.get(&backup) else { return };
        self.log.push(format!("seal {backup}"));
        let now = match world.seal(&backup, manifests.clone()).await {
            Ok(_) => Backup::Sealed,
            Err(VaultError::Aborted { .. }) => Backup::Over,
            // Its manifest went with its folder: it was dead.
            Err(VaultError::Store(error)) if error.is_not_found() => Backup::Over,
            Err(error) => panic!("{error}\n{}", self.log.join("\n")),
        };
        self.backups.insert(backup, now);
    }

    async fn purge_step(&mut self, world: &World, dice: &mut Dice) {
        let open: Vec<_> = self
            .purges
            .iter()
            .filter(|(_, p)| !matches!(p, Purge::Over))
            .map(|(name, _)| name.clone())
            .collect();
        if open.is_empty() {
            return;
        }
        let purge = open[dice.below(open.len())].clone();
        let next = match &self.purges[&purge] {
            Purge::Marking(expire) => {
                let names: Vec<&str> = expire.iter().map(String::as_str).collect();
                match world.mark(&purge, &names, &[]).await {
                    MarkOutcome::Waiting { .. } => {
                        self.log.push(format!("mark {purge} {expire:?}: waits"));
                        return;
                    }
                    MarkOutcome::Condemned(marked) => {
                        self.log.push(format!("mark {purge} {expire:?}: {} objects", marked.objects));
                        Purge::Sweeping { number: marked.purge, shard: 0 }
                    }
                }
            }
            Purge::Sweeping { number, shard } if *shard < SHARDS => {
                self.log.push(format!("sweep {purge} {shard}"));
                world.sweep(*number, *shard, SHARDS).await.unwrap();
                Purge::Sweeping { number: *number, shard: shard + 1 }
            }
            Purge::Sweeping { number, .. } => {
                self.log.push(format!("finish {purge}"));
                world.finish(*number).await;
                Purge::Over
            }
            Purge::Over => return,
        };
        self.purges.insert(purge, next);
    }

    async fn assert_whole(&self, world: &World) {
        for (backup, state) in &self.backups {
            if matches!(state, Backup::Sealed) {
                let result = world.verify(backup, VerifyLevel::Presence, 1).await;
                assert_eq!(result.findings, [], "{backup}\n{}", self.log.join("\n"));
            }
        }
    }
}

async fn run(seed: u64) {
    let mut world = World::on_folder(1).await;
    let mut dice = Dice(seed);
    let mut course = Course::default();
    for _ in 0..60 {
        course.step(&mut world, &mut dice).await;
        course.assert_whole(&world).await;
    }
    // Everything comes to its end, and goes.
    let in_state = |wanted: fn(&Backup) -> bool| -> Vec<String> {
        course.backups.iter().filter(|(_, state)| wanted(state)).map(|(backup, _)| backup.clone()).collect()
    };
    let unsealed = in_state(|state| matches!(state, Backup::Begun | Backup::Brought(_)));
    let mut left = in_state(|state| matches!(state, Backup::Sealed));
    let marking = course.purges.values().filter_map(|p| match p {
        Purge::Marking(expire) => Some(expire.clone()),
        _ => None,
    });
    left.extend(marking.flatten());
    let left: Vec<&str> = left.iter().map(String::as_str).collect();
    let unsealed: Vec<&str> = unsealed.iter().map(String::as_str).collect();
    world.purge("the last", &left, &unsealed).await;
    for backup in course.backups.keys() {
        assert_eq!(world.data_of(backup).await, [""; 0], "{backup}, seed {seed}\n{}", course.log.join("\n"));
    }
}

#[tokio::test]
async fn no_order_of_steps_loses_anything_or_leaves_anything() {
    for seed in 1..=12 {
        run(seed * 0x9E37_79B9).await;
    }
}
