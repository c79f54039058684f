//! What goes to stdout: tables or one JSON document. Progress and errors go to stderr and are
//! written elsewhere ([`crate::watch`], `main`).
//!
//! With `--json` stdout gets exactly one document (a line each for `job watch`), also when the
//! command fails, so that a script can always parse what it reads. The documents are those of the
//! HTTP API: fields are only ever added.

mod facts;
pub(crate) mod human;
pub(crate) mod style;
pub(crate) mod table;

use std::{cell::Cell as Once, io::Write as _};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use ringvault_core::api::{Document, Page};
use serde::Serialize;
use serde_json::json;

pub(crate) use facts::Facts;
pub(crate) use style::{Style, Tone, tone_of_state};
pub(crate) use table::{Cell, Table};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// How a command answers.
#[derive(Debug)]
pub(crate) struct Output {
    /// One JSON document instead of text.
    pub(crate) json: bool,
    /// Escape sequences and live display.
    pub(crate) style: Style,
    /// The zone times are shown in; JSON is always UTC.
    pub(crate) zone: Tz,
    /// Something was written to stdout.
    printed: Once<bool>,
}

impl Output {
    pub(crate) fn new(json: bool, style: Style, zone: Tz) -> Self {
        Self { json, style, zone, printed: Once::new(false) }
    }

    /// `value` with its version beside its fields with `--json`, otherwise what `text` makes of it.
    pub(crate) fn document<T: Serialize>(&self, value: &T, text: impl FnOnce() -> String) -> Outcome<()> {
        if self.json {
            let text = serde_json::to_string_pretty(&Document::new(value)).map_err(unprintable)?;
            self.print(&format!("{text}\n"))
        } else {
            self.print(&text())
        }
    }

    /// Items under headings; with `--json` a page of them. An empty list is an empty stdout and a
    /// sentence on stderr.
    pub(crate) fn list<T: Serialize>(&self, page: &Page<T>, table: &Table, if_empty: &str) -> Outcome<()> {
        if self.json {
            let text = serde_json::to_string_pretty(page).map_err(unprintable)?;
            self.print(&format!("{text}\n"))
        } else if table.is_empty() {
            eprintln!("{if_empty}");
            Ok(())
        } else {
            self.print(&table.render(self.style.stdout))
        }
    }

    /// What people should know beside the answer: on stderr.
    #[allow(clippy::unused_self)] // as everything that a command says
    pub(crate) fn note(&self, text: &str) {
        eprintln!("note: {text}");
    }

    /// A document on one line, for streams of them.
    pub(crate) fn line<T: Serialize>(&self, value: &T) -> Outcome<()> {
        let text = serde_json::to_string(&Document::new(value)).map_err(unprintable)?;
        self.print(&format!("{text}\n"))
    }

    /// A failure: text on stderr; with `--json` also the document, if none was printed before.
    pub(crate) fn failure(&self, failure: &Failure, debug: bool) {
        eprintln!("{}", failure.render(debug));
        if self.json && !self.printed.get() {
            let error = json!({
                "error": {
                    "code": failure.code,
                    "message": failure.message,
                    "next": failure.next,
                    "exit": failure.exit as u8,
                }
            });
            // The failure itself is on stderr already; a second one here would say less.
            let _ = self.document(&error, String::new);
        }
    }

    /// Text as it is. A reader that went away (`| head`) ends the process quietly.
    pub(crate) fn print(&self, text: &str) -> Outcome<()> {
        self.printed.set(true);
        let mut stdout = std::io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => {
                let message = format!("writing to stdout: {error}");
                Err(Failure::new(Exit::Failed, "RV-STDOUT", message))
            }
            Ok(()) => Ok(()),
        }
    }

    /// An instant in the zone asked for.
    pub(crate) fn time(&self, at: DateTime<Utc>) -> String {
        human::time(at, self.zone)
    }

    /// An instant, or `-`.
    pub(crate) fn time_or_none(&self, at: Option<DateTime<Utc>>) -> String {
        at.map_or_else(|| human::NONE.to_owned(), |at| self.time(at))
    }
}

/// A cell with a state's word in the tone of that state.
pub(crate) fn state_cell(word: &str) -> Cell {
    Cell::toned(word, tone_of_state(word))
}

/// Anything printable, or `-`.
pub(crate) fn or_none(value: Option<impl ToString>) -> String {
    value.map_or_else(|| human::NONE.to_owned(), |value| value.to_string())
}

/// Text from outside on one line: control characters would move the cursor or fake a row.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn unprintable(error: serde_json::Error) -> Failure {
    let message = format!("this answer cannot be written as JSON: {error}");
    Failure::new(Exit::Failed, "RV-JSON", message).with_source(error)
}
