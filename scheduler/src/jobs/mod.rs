//! Jobs are accepted and controlled here, whoever asks: HTTP, queue or policy.

mod check;
mod control;
mod error;
mod rate;
mod submit;

pub use check::{NO_LOCKS, POLICY_SOURCE};
pub use control::{Action, Controlled, control, control_in, dry_control};
pub use error::{ControlError, SubmitError};
pub use rate::set_rate;
pub use submit::{Prepared, Submission, Submitted, dry_submit, insert, prepare, submit_job};
