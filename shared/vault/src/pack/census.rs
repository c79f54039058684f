//! Which packs are still worth naming.

use std::collections::HashMap;

use crate::manifest::Place;

/// Whether at least half of a pack's bytes are alive. An empty pack wastes nothing.
pub const fn is_worth_reusing(alive: u64, size: u64) -> bool {
    alive >= size.div_ceil(2)
}

/// Counts the live bytes of every pack that one backup names.
///
/// It is taken over the whole backup, when it is sealed: a part may be named by several nodes, so no
/// node can judge a pack alone. Each distinct part must be counted once; parts that come from an index
/// by content are distinct by themselves. Memory: one short entry a pack.
#[derive(Debug, Default)]
pub struct PackCensus {
    packs: HashMap<String, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    alive: u64,
    size: u64,
}

impl PackCensus {
    /// A census that has counted nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a content of `size` bytes that is named at `place`, by what it takes there. Not for objects of their own.
    pub fn count(&mut self, place: &Place, size: u64) {
        let Some(slot) = place.pack else { return };
        let size = place.stored(size);
        if let Some(count) = self.packs.get_mut(&place.key) {
            count.alive = count.alive.saturating_add(size);
        } else {
            self.packs.insert(place.key.clone(), Count { alive: size, size: slot.size });
        }
    }

    /// The keys of the packs that the next backup must not reuse, in order.
    pub fn sparse(&self) -> Vec<String> {
        let mut keys: Vec<_> = self
            .packs
            .iter()
            .filter(|(_, count)| !is_worth_reusing(count.alive, count.size))
            .map(|(key, _)| key.clone())
            .collect();
        keys.sort_unstable();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::PackSlot;

    #[test]
    fn half_alive_is_enough() {
        assert!(is_worth_reusing(5, 10) && is_worth_reusing(6, 11) && is_worth_reusing(0, 0));
        assert!(!is_worth_reusing(4, 10) && !is_worth_reusing(5, 11));
    }

    #[test]
    fn a_pack_is_judged_by_all_that_name_it() {
        let place = |key: &str, offset| Place {
            key: key.into(),
            pack: Some(PackSlot { offset, size: 100 }),
            zstd: None,
        };
        let mut census = PackCensus::new();
        census.count(&place("shared", 0), 30);
        census.count(&place("shared", 30), 20);
        census.count(&place("thin", 0), 49);
        census.count(&Place { zstd: Some(50), ..place("compressed", 0) }, 400);
        census.count(&Place { key: "whole".into(), pack: None, zstd: None }, 1);
        assert_eq!(census.sparse(), ["thin"]);
    }
}
