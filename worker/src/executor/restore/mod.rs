//! The stages of a restore on the worker's side.
//!
//! `plan` decides once and writes its decision to the vault; every later stage derives its share
//! from that record and the backup's manifests, so a retry does the same thing again and a task's
//! message stays small. Nothing is truncated before every node has its files, checked by hash;
//! every later step can be done again with the same outcome.

mod apply;
mod auth;
mod batch;
mod cutter;
mod download;
mod drill;
mod fence;
mod offline;
mod plan;
mod plan_checks;
mod plan_shares;
mod preflight;
mod record;
mod ring;
mod room;
mod schema;
mod settle;
mod share;
mod sliced_files;
mod slices;
mod staged;
mod stream;
mod taken;
mod truncate;
mod validate;
mod view_rows;
mod views;
