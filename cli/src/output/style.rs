//! Colour as a help to the eye. Nothing is ever said by colour alone.

use std::io::IsTerminal;

/// How a piece of text stands out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Not at all.
    #[default]
    Plain,
    /// Headings.
    Bold,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
}

/// Whether escape sequences may be written, per stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// To stdout.
    pub(crate) stdout: bool,
    /// To stderr.
    pub(crate) stderr: bool,
    /// Whether stderr is a terminal that can be drawn on.
    pub(crate) live: bool,
}

impl Style {
    /// Asks the environment: `NO_COLOR`, `TERM=dumb`, `--no-color`, and whether the streams are
    /// terminals. A terminal without colour can still be drawn on, a dumb one cannot.
    pub(crate) fn detect(no_color: bool) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
        let colour = !no_color && !set("NO_COLOR") && !dumb;
        let stderr = std::io::stderr().is_terminal();
        Self {
            stdout: colour && std::io::stdout().is_terminal(),
            stderr: colour && stderr,
            live: stderr && !dumb,
        }
    }
}

/// Wraps `text` in the tone's escape sequence, if these are wanted.
pub(crate) fn paint(text: &str, tone: Tone, wanted: bool) -> String {
    let code = match tone {
        Tone::Plain => return text.to_owned(),
        Tone::Bold => "1",
        Tone::Good => "32",
        Tone::Warn => "33",
        Tone::Bad => "31",
    };
    if wanted { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// The tone of a state's word, whatever it is the state of.
pub(crate) fn tone_of_state(word: &str) -> Tone {
    match word {
        "complete" | "succeeded" | "ok" | "live" => Tone::Good,
        "covering" | "paused" | "cancelling" | "abandoning" | "queued" | "late" | "silent" | "warn" => {
            Tone::Warn
        }
        "incomplete" | "failed" | "dead" | "unreachable" | "abandoned" => Tone::Bad,
        _ => Tone::Plain,
    }
}
