//! Queries that only read: what the HTTP API shows, built straight into its documents.
//!
//! Each function reads on one connection without locks, so it may be called inside a transaction
//! or on its own; a document made of several queries may see a job a moment further on in the
//! later ones, which no reader can tell from having asked a moment later.

pub mod backups;
pub mod calendar;
pub mod clusters;
pub mod evidence;
pub mod holds;
pub mod jobs;
pub mod measures;
pub mod nodes;
pub mod open_jobs;
pub mod policies;
pub mod progress;
mod stages;
pub mod status;
pub mod storage;
pub mod story;
