//! The envelope's short texts, held to the same rules when written and when read, so that what was
//! written can always be read.

use super::{EnvelopeError, MAX_TEXT};

/// Refuses the first text that is empty, too long or holds a control character.
pub(super) fn check_texts<const N: usize>(
    texts: [(&'static str, Option<&str>); N],
) -> Result<(), EnvelopeError> {
    for (field, text) in texts {
        let Some(text) = text else { continue };
        let cause = if text.is_empty() {
            "it is empty".to_owned()
        } else if text.len() > MAX_TEXT {
            format!("it has {} bytes; at most {MAX_TEXT} are accepted", text.len())
        } else if text.chars().any(char::is_control) {
            "it holds a control character".to_owned()
        } else {
            continue;
        };
        return Err(EnvelopeError::BadEnvelope { field: field.to_owned(), cause });
    }
    Ok(())
}
