//! Exit codes. Scripts branch on these numbers, so they never change their meaning.

/// What the process tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// Failed.
    Failed = 1,
    /// The command line, a file it names or a request makes no sense.
    Usage = 2,
    /// Done in part: a backup that does not hold the whole ring.
    Partial = 3,
    /// It ran, and what it looked at has problems.
    Problems = 4,
    /// What was named does not exist.
    NotFound = 5,
    /// It exists already, or its state forbids this.
    Conflict = 6,
    /// A guard refused it: a confirmation is missing, a plan has blockers.
    Refused = 7,
    /// Who asks may not do this.
    NotAuthorised = 8,
    /// A server that is needed cannot be reached.
    Unreachable = 9,
    /// `--timeout` is over; the job goes on.
    TimedOut = 10,
    /// Ctrl-C while following a job; the job goes on.
    Detached = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The code for an HTTP answer that is not a success.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            400 | 405 | 411 | 413 | 415 => Self::Usage,
            401 | 403 => Self::NotAuthorised,
            404 | 410 => Self::NotFound,
            409 => Self::Conflict,
            412 | 422 | 423 | 428 => Self::Refused,
            502..=504 => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_the_published_ones() {
        let published = [
            (Exit::Ok, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::Partial, 3),
            (Exit::Problems, 4),
            (Exit::NotFound, 5),
            (Exit::Conflict, 6),
            (Exit::Refused, 7),
            (Exit::NotAuthorised, 8),
            (Exit::Unreachable, 9),
            (Exit::TimedOut, 10),
            (Exit::Detached, 130),
        ];
        for (exit, number) in published {
            assert_eq!(exit as u8, number, "{exit:?}");
        }
    }

    #[test]
    fn an_http_status_has_one_code() {
        let table = [
            (400, Exit::Usage),
            (401, Exit::NotAuthorised),
            (403, Exit::NotAuthorised),
            (404, Exit::NotFound),
            (409, Exit::Conflict),
            (412, Exit::Refused),
            (422, Exit::Refused),
            (500, Exit::Failed),
            (503, Exit::Unreachable),
        ];
        for (status, exit) in table {
            assert_eq!(Exit::of_status(status), exit, "{status}");
        }
    }
}
