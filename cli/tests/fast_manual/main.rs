//! The manual is true as far as a program can tell: every command line, configuration, message and link in `docs/` and
//! in the pages at the top is held to the parsers and files that it is about. Nothing is contacted and nothing changed.
//!
//! A fault is told with page and line. What is looked at and what is passed over stands in [`commands`], [`settings`]
//! and [`links`]; each of them tries itself on a page that is wrong.

mod commands;
mod links;
mod pages;
mod settings;

use std::path::{Path, PathBuf};

use pages::Page;

/// The repository's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every page of the manual, and those at the top of the repository.
fn all_pages() -> Vec<Page> {
    let pages = pages::read_all(&root());
    assert!(pages.len() > 30, "the manual was not found: {} pages", pages.len());
    pages
}

fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_command_is_one_that_the_programs_take() {
    let lines: Vec<_> = all_pages().iter().flat_map(commands::of).collect();
    assert!(lines.len() > 200, "the commands were not found: {}", lines.len());
    assert_none(&commands::faults(&root(), &lines));
}

#[test]
fn every_configuration_and_message_is_one_that_the_programs_read() {
    assert_none(&all_pages().iter().flat_map(settings::faults).collect::<Vec<_>>());
}

#[test]
fn every_link_leads_somewhere() {
    assert_none(&links::faults(&root(), &all_pages()));
}

#[test]
fn every_page_is_in_the_book() {
    assert_none(&links::orphans(&all_pages()));
}
