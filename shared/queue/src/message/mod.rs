//! Every message there is, by the queue it goes to.
//!
//! A family is an enum with a variant for each type that may stand in one queue, so a consumer
//! reads its queue as one type and the compiler lists what it has to handle. The name on the wire
//! is given once, beside the variant.

pub mod beat;
pub mod event;
mod job_spec;
pub mod report;
pub mod request;
pub mod task;

pub use beat::{Beat, DiskSpace, NodeGoodbye, NodeHello, NodeStill, TaskHeartbeat};
pub use event::{BackupEvent, Event, JobEvent, RequestRejected};
pub use report::{Report, TaskFailed, TaskStarted, TaskStopped, TaskSucceeded};
pub use request::{JobCancel, JobRetry, Request};
pub use task::{Control, NodeDescribe, StopReason, TaskControl, TaskGrant, TaskMessage, TaskOffer};

use ringvault_core::text;
use schemars::Schema;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A payload that is not of its type's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadError {
    /// Path of the field within the payload; `.` is the whole.
    pub field: String,
    /// What is wrong with it.
    pub cause: String,
}

/// A family of messages: what may stand in one queue.
pub trait Message: Sized {
    /// The types of the family, as they stand on the wire.
    const TYPES: &'static [&'static str];
    /// Whether a message without an idempotency key is refused.
    const NEEDS_IDEMPOTENCY_KEY: bool = false;

    /// This message's type.
    fn type_name(&self) -> &'static str;
    /// Reads the JSON text of a payload of `type_name`; `None` when the type is not of the family.
    fn from_payload(type_name: &str, json: &str) -> Option<Result<Self, PayloadError>>;
    /// The payload's JSON text.
    fn to_payload(&self) -> serde_json::Result<Box<RawValue>>;
    /// The JSON Schema of each type's payload.
    fn payload_schemas() -> Vec<(&'static str, Schema)>;
}

/// Reads JSON text, and says where it is wrong.
fn read_payload<T: DeserializeOwned>(json: &str) -> Result<T, PayloadError> {
    let mut json = serde_json::Deserializer::from_str(json);
    serde_path_to_error::deserialize(&mut json).map_err(PayloadError::from)
}

impl From<serde_path_to_error::Error<serde_json::Error>> for PayloadError {
    fn from(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        Self { field: text::excerpt(&error.path().to_string()), cause: text::cause(error.inner()) }
    }
}

/// Declares a family: `Variant(Payload) = "wire.name"`. `read` and `idempotent` are optional.
macro_rules! message_family {
    (
        $(#[$doc:meta])*
        $family:ident $(, needs_idempotency_key = $needs:literal)? {
            $( $(#[$variant_doc:meta])* $variant:ident($payload:ty) = $name:literal $(, read = $read:path)? ; )+
        }
    ) => {
        $(#[$doc])*
        #[allow(clippy::large_enum_variant, reason = "messages are handled one at a time")]
        #[derive(Debug, Clone, PartialEq)]
        pub enum $family {
            $( $(#[$variant_doc])* $variant($payload), )+
        }

        impl $crate::message::Message for $family {
            const TYPES: &'static [&'static str] = &[$($name),+];
            $( const NEEDS_IDEMPOTENCY_KEY: bool = $needs; )?

            fn type_name(&self) -> &'static str {
                match self {
                    $( Self::$variant(_) => $name, )+
                }
            }

            fn from_payload(
                type_name: &str,
                json: &str,
            ) -> Option<Result<Self, $crate::message::PayloadError>> {
                match type_name {
                    $( $name => Some(
                        $crate::message::message_family!(@read json $(, $read)?).map(Self::$variant),
                    ), )+
                    _ => None,
                }
            }

            fn to_payload(&self) -> serde_json::Result<Box<serde_json::value::RawValue>> {
                match self {
                    $( Self::$variant(payload) => serde_json::value::to_raw_value(payload), )+
                }
            }

            fn payload_schemas() -> Vec<(&'static str, schemars::Schema)> {
                vec![ $( ($name, schemars::schema_for!($payload)), )+ ]
            }
        }
    };
    (@read $json:ident) => { $crate::message::read_payload($json) };
    (@read $json:ident, $read:path) => { $read($json) };
}
use message_family;
