//! A few lines at the bottom of the terminal that are drawn over themselves. No line is ever wider
//! than the terminal, so a line drawn is a line on screen and going up by their number is exact.

use std::{fmt::Write as _, io::Write as _};

use crate::output::{
    Tone,
    style::{paint, tone_of_state},
};

/// A piece of a line.
pub(super) type Piece = (String, Tone);

/// A line of a picture.
pub(super) type Line = Vec<Piece>;

/// A piece that does not stand out.
pub(super) fn plain(text: impl Into<String>) -> Piece {
    (text.into(), Tone::Plain)
}

/// A state's word in its tone.
pub(super) fn state(word: &str) -> Piece {
    (word.to_owned(), tone_of_state(word))
}

pub(super) struct Screen {
    colour: bool,
    drawn: usize,
}

impl Screen {
    pub(super) fn new(colour: bool) -> Self {
        Self { colour, drawn: 0 }
    }

    /// Columns and rows of the terminal on stderr.
    #[allow(clippy::unused_self)] // the screen is what has a size
    pub(super) fn size(&self) -> (usize, usize) {
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
    }

    pub(super) fn draw(&mut self, lines: &[Line]) {
        let (width, height) = self.size();
        let mut text = String::new();
        if self.drawn > 0 {
            // A terminal made smaller may have fewer rows than were drawn.
            let _ = write!(text, "\x1b[{}A", self.drawn.min(height.saturating_sub(1)));
        }
        text += "\r\x1b[J";
        for line in lines {
            text += &fit(line, width, self.colour);
            text.push('\n');
        }
        self.drawn = lines.len();
        write(&text);
    }

    /// Takes the picture away, or leaves it standing above what comes next.
    pub(super) fn finish(&mut self, clear: bool) {
        if clear {
            self.draw(&[]);
        }
        self.drawn = 0;
    }
}

/// A terminal that went away is no reason to stop following.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// The line cut to `width` columns, painted.
fn fit(line: &Line, width: usize, colour: bool) -> String {
    let mut left = width.saturating_sub(1);
    let mut text = String::new();
    for (piece, tone) in line {
        let shown: String = crate::output::one_line(piece).chars().take(left).collect();
        left -= shown.chars().count();
        text += &paint(&shown, *tone, colour);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_before_the_terminals_edge_and_stays_one_line() {
        let line = vec![plain("ab\ncd"), ("efgh".to_owned(), Tone::Bad)];
        assert_eq!(fit(&line, 80, false), "ab cdefgh");
        assert_eq!(fit(&line, 8, true), "ab cd\x1b[31mef\x1b[0m");
        assert_eq!(fit(&line, 3, false), "ab");
    }
}
