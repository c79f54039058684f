//! Faults at named points: a program dies or fails at one, is started again, and the work must end
//! as it would have.

mod ground;
mod points;
mod supervisor;

pub use ground::{Ground, Kind, LATE_VIEW};
pub use points::{Points, every_point};
pub use supervisor::Supervisor;
