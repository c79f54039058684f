//! Failures in a pass over many jobs, tasks or messages: one's failure is told of and keeps none of
//! the others from being looked at.

use std::fmt::Display;

use crate::workflow::DriveError;

/// Passing failures after which a pass is given up: the database is away, or everybody waits for
/// the same lock, and the rest would fail one by one, slowly.
const MOST: u32 = 3;

/// The failures of one pass.
#[derive(Debug, Default)]
pub(crate) struct Isolated {
    passing: u32,
}

impl Isolated {
    /// Tells of the failure of one (`what` and its id); it comes again in the next pass. An error:
    /// the pass should end here.
    pub(crate) fn note(&mut self, what: &str, id: impl Display, error: DriveError) -> Result<(), DriveError> {
        tracing::error!(%id, %error, "{what} is left alone until the next pass");
        if error.is_passing() {
            self.passing += 1;
            if self.passing >= MOST {
                return Err(error);
            }
        }
        Ok(())
    }
}
