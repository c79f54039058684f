//! A command line that makes no sense, told as every other failure is: one `error[RV-USAGE]` with the
//! next command, and a document on stdout where `--json` was given.

use std::process::ExitCode;

use chrono_tz::Tz;
use clap::error::ErrorKind;

use crate::{
    exit::Exit,
    failure::Failure,
    output::{Output, Style},
};

/// Says what is wrong with the command line.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    let given =
        |flag: &str| std::env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == flag);
    let out = Output::new(given("--json"), Style::detect(given("--no-color")), Tz::UTC);
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !out.json {
        // What there is to choose from says more than that something is missing.
        eprint!("{}", error.render());
    } else {
        out.failure(&failure(error), false);
    }
    Exit::Usage.into()
}

fn failure(error: &clap::Error) -> Failure {
    let text = error.render().to_string();
    let next = next(&text);
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("a command is missing").with_next(next);
    }
    let told = text.split("\n\nUsage:").next().unwrap_or_default();
    let told = told.split("\n\nFor more information").next().unwrap_or_default();
    let lines: Vec<&str> = told.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let message = lines.join(" ").replace(" tip: ", "; ");
    Failure::usage(message.trim_start_matches("error: ")).with_next(next)
}

/// The help of the command that was meant, from the usage that clap tells.
fn next(text: &str) -> String {
    let usage = text.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("ringvault");
    let is_word = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    let words: Vec<&str> = usage.split_whitespace().take_while(is_word).collect();
    format!("{} --help", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::Parser as _;

    #[test]
    fn what_clap_says_is_one_line_with_the_help_of_the_command_that_was_meant() {
        for (line, told, next) in [
            (
                "backup create",
                "the following required arguments were not provided: --cluster <CLUSTER>",
                "ringvault backup create --help",
            ),
            ("frobnicate", "unrecognized subcommand 'frobnicate'", "ringvault --help"),
            (
                "job list --stat open",
                "unexpected argument '--stat' found; a similar argument exists: '--state'",
                "ringvault job list --help",
            ),
            ("backup", "a command is missing", "ringvault backup --help"),
        ] {
            let words = std::iter::once("ringvault").chain(line.split(' '));
            let failure = failure(&Cli::try_parse_from(words).unwrap_err());
            assert!(failure.message.starts_with(told), "{line}: {}", failure.message);
            assert!(
                !failure.message.contains('\n') && !failure.message.contains("Usage"),
                "{}",
                failure.message
            );
            assert_eq!(failure.next.as_deref(), Some(next), "{line}");
        }
    }
}
