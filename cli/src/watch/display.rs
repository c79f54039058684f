//! Progress for people: a picture that is drawn again on a terminal, lines otherwise.

use ringvault_core::api::JobProgress;

use super::{frame, lines::Lines, screen::Screen};
use crate::output::Style;

pub(super) enum Display {
    Picture(Screen),
    Lines(Lines),
    Nothing,
}

impl Display {
    pub(super) fn new(style: Style, wanted: bool) -> Self {
        match wanted {
            false => Self::Nothing,
            true if style.live => Self::Picture(Screen::new(style.stderr)),
            true => Self::Lines(Lines::default()),
        }
    }

    /// Something new is known.
    pub(super) fn show(&mut self, progress: &JobProgress) {
        match self {
            Self::Picture(screen) => draw(screen, progress),
            Self::Lines(lines) => lines.show(progress),
            Self::Nothing => {}
        }
    }

    /// A second has gone by.
    pub(super) fn tick(&mut self, progress: &JobProgress) {
        match self {
            Self::Picture(screen) => draw(screen, progress),
            Self::Lines(lines) => lines.tick(progress),
            Self::Nothing => {}
        }
    }

    /// The end: the picture goes if a summary follows, and stays as it is otherwise.
    pub(super) fn finish(&mut self, summary_follows: bool) {
        if let Self::Picture(screen) = self {
            screen.finish(summary_follows);
        }
    }
}

fn draw(screen: &mut Screen, progress: &JobProgress) {
    let (width, height) = screen.size();
    let now = chrono::Utc::now();
    screen.draw(&frame::frame(progress, now, width, height));
}
