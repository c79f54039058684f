//! Whatever comes from outside, damaged in every way that can be thought of: no parser panics, takes more
//! memory than its input warrants, or more time than a stated limit; and what it says is short enough to
//! be logged.
//!
//! A target is a parser (or several of one kind) with real inputs to begin with. Each input that is tried
//! is made of these by a number, its *case*: the same case gives the same input, so a failure is replayed
//! by its number. What was found once lies in `tests/fuzz/<target>/` and is tried first in every run.
//!
//! `RINGVAULT_FUZZ_SECONDS` says how long each target goes on (1), `RINGVAULT_FUZZ_SEED` where it
//! begins (anywhere). `dev/fuzz` runs them for long.

mod bombs;
mod harness;
mod mutate;
mod random;
mod seeds;
mod targets;
