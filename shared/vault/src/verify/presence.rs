//! Presence and size, by listing the folders concerned: one request for a thousand objects.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures::TryStreamExt;
use ringvault_core::task::FindingKind;
use tokio_util::sync::CancellationToken;

use super::{damage::Damage, target::Target, unless_stopped};
use crate::{checksum::EntityTag, error::VaultResult, identity::Vault, layout};

impl Vault {
    /// The targets that are not there, or of another size.
    pub(super) async fn check_presence(
        &self,
        folders: &BTreeSet<String>,
        targets: &mut BTreeMap<String, Target>,
        stop: &CancellationToken,
    ) -> VaultResult<HashMap<String, Damage>> {
        let mut sizes: HashMap<String, u64> = HashMap::with_capacity(targets.len());
        let mut tags: HashMap<String, EntityTag> = HashMap::new();
        let foreign: BTreeSet<String> =
            targets.keys().filter_map(|key| layout::medusa_data_folder(key)).collect();
        for folder in folders.union(&foreign) {
            let mut objects = self.store().list(folder);
            while let Some(object) = objects.try_next().await? {
                unless_stopped(stop)?;
                if targets.contains_key(&object.key) {
                    if foreign.contains(folder)
                        && let Some(tag) = object.etag.as_deref().and_then(|tag| tag.parse().ok())
                    {
                        tags.insert(object.key.clone(), tag);
                    }
                    sizes.insert(object.key, object.size);
                }
            }
        }
        let mut damaged = HashMap::new();
        for (key, target) in targets.iter() {
            let expected = self.store().stored_size(key, target.size);
            match sizes.get(key) {
                Some(_) if !target.fixes_size() => {}
                Some(size) if *size == expected => {
                    let known = target.tag().zip(tags.get(key));
                    if let Some((tag, found)) = known.filter(|(tag, found)| tag != *found) {
                        let detail = format!("its tag is {found}, and was {tag} when it was brought");
                        damaged.insert(key.clone(), Damage::whole(FindingKind::Corrupt, detail));
                    }
                }
                Some(size) => {
                    let detail = format!("the object has {size} bytes, {expected} are expected");
                    damaged.insert(key.clone(), Damage::whole(FindingKind::Truncated, detail));
                }
                None => {
                    let detail = "the object is not there".to_owned();
                    damaged.insert(key.clone(), Damage::whole(FindingKind::Missing, detail));
                }
            }
        }
        Ok(damaged)
    }
}
