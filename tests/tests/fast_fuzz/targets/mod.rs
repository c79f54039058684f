//! What is tried, by where it comes from. Each target is a test, so that they run side by side.

mod config;
mod messages;
mod node;
mod policies;
mod requests;
mod rows;
mod sstables;
mod vault;
mod words;

use crate::harness::Target;

/// A test for each target, named after it.
macro_rules! targets {
    ($($name:ident => $target:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let target: crate::harness::Target = $target;
                assert_eq!(target.name, stringify!($name));
                target.run();
            }
        )+
    };
}
use targets;

/// What most parsers are allowed, beside some bytes for each byte of the input.
const SOME: u64 = 64 << 10;

/// A value of JSON in memory: `[{"":[]},…]` takes the most, nine bytes of text for a node of a map.
const JSON: u64 = 192;
