//! Jobs are accepted and controlled here, whoever asks: HTTP, queue or policy.

mod ability;
mod check;
mod control;
mod data_centers;
mod error;
mod limits;
mod submit;

pub use ability::Ability;
pub use check::{NO_LOCKS, POLICY_SOURCE};
pub use control::{Action, Controlled, control, control_in, dry_control};
pub(crate) use data_centers::have_nodes;
pub use error::{ControlError, SubmitError};
pub use limits::set_limits;
pub use submit::{Prepared, Submission, Submitted, dry_submit, insert, prepare, submit_job};
