//! Policies: what happens by itself, when, and what it keeps.

mod document;
mod limits;
mod retention;
mod schedule;
mod window;

pub use document::{
    Misfire, OnConflict, Policy, PolicyAction, PolicyDocument, PolicyProblem, parse_policies,
};
pub use limits::PolicyLimits;
pub use retention::{Expiry, Retention, select_expired};
pub use schedule::{InvalidSchedule, Schedule};
pub use window::{InvalidWindow, Window};
