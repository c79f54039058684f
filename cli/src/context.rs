//! What every command is given: how to answer, whom to ask.

use crate::{
    args::Global,
    client::Client,
    config::Settings,
    failure::Outcome,
    output::{Output, Style},
};

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where answers go.
    pub(crate) out: Output,
    /// Whether `--yes` was given.
    pub(crate) yes: bool,
    settings: Settings,
}

impl Context {
    pub(crate) fn new(global: &Global, settings: Settings, style: Style) -> Self {
        Self { out: Output::new(global.json, style, settings.zone), yes: global.yes, settings }
    }

    /// A client of the scheduler; fails when no server is known. Contacts nobody.
    pub(crate) fn client(&self) -> Outcome<Client> {
        Client::new(&self.settings)
    }
}
