//! Tasks and their attempts.

pub mod attempts;
pub mod due;
pub mod lease;
mod row;

pub use row::{
    Tally, TaskRow, failures, insert, is_any_open, job_of, jobs_of, lock, lock_open, lock_some, outcomes,
    save, still_open, tally,
};
