//! What a batch's confirms and returns say about each of its messages.

use std::collections::HashSet;

use lapin::{Confirmation, ErrorKind, message::BasicReturnMessage, types::ShortString};

use super::{
    PublishError,
    problem::{cause_of, reply_code},
};

/// What a return is matched by: message id, exchange, routing key.
pub(super) type Identity = (ShortString, ShortString, ShortString);

/// What a confirm means for its message, given all returns of the batch. `whole`: every confirm of
/// the batch came. When not, a confirm that carries another's return leaves open whether its own
/// was still to come.
pub(super) fn judge(
    identity: &Identity,
    confirmation: &lapin::Result<Confirmation>,
    returned: &HashSet<Identity>,
    whole: bool,
) -> Result<(), PublishError> {
    let (_, exchange, routing_key) = identity;
    let exchange = exchange.to_string();
    if returned.contains(identity) {
        return Err(PublishError::Unroutable { exchange, routing_key: routing_key.to_string() });
    }
    match confirmation {
        Ok(Confirmation::Ack(carried)) if whole || carried.is_none() => Ok(()),
        Ok(Confirmation::Nack(_)) => Err(PublishError::Nacked { exchange }),
        Ok(Confirmation::Ack(_) | Confirmation::NotRequested) => {
            Err(PublishError::Disconnected { state: "the channel ended".to_owned() })
        }
        Err(error) => Err(error_for(&exchange, error)),
    }
}

pub(super) fn returned_in(confirmation: &lapin::Result<Confirmation>) -> Option<&BasicReturnMessage> {
    match confirmation {
        Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))) => Some(message),
        _ => None,
    }
}

pub(super) fn identity_of(message: &BasicReturnMessage) -> Identity {
    let delivery = &message.delivery;
    let id = delivery.properties.message_id().clone().unwrap_or_default();
    (id, delivery.exchange.clone(), delivery.routing_key.clone())
}

/// A channel that the broker closed over one message takes its whole batch with it. Only the one
/// whose exchange is named was refused; the others may be sent again.
pub(super) fn error_for(exchange: &str, error: &lapin::Error) -> PublishError {
    let cause = cause_of(error);
    let refused = matches!(error.kind(), ErrorKind::ProtocolError(_))
        && matches!(reply_code(error), Some(403 | 404))
        && cause.contains(&format!("'{exchange}'"));
    if refused {
        PublishError::Refused { exchange: exchange.to_owned(), cause }
    } else {
        PublishError::Disconnected { state: cause }
    }
}

#[cfg(test)]
mod tests {
    use lapin::{BasicProperties, message::Delivery};

    use super::*;

    fn identity(id: &str) -> Identity {
        (id.into(), "exchange".into(), "key".into())
    }

    fn returned(id: &str) -> BasicReturnMessage {
        let mut delivery = Delivery::mock(0, "exchange".into(), "key".into(), false, Vec::new());
        delivery.properties = BasicProperties::default().with_message_id(id.into());
        BasicReturnMessage { delivery, reply_code: 312, reply_text: "NO_ROUTE".into() }
    }

    fn verdict(
        id: &str,
        carried: Option<BasicReturnMessage>,
        returns: &[&str],
        whole: bool,
    ) -> Result<(), PublishError> {
        let returns = returns.iter().map(|id| identity(id)).collect();
        judge(&identity(id), &Ok(Confirmation::Ack(carried)), &returns, whole)
    }

    #[test]
    fn a_return_counts_for_its_own_message_whichever_confirm_carries_it() {
        assert_eq!(verdict("a", Some(returned("b")), &["b"], true), Ok(()));
        assert!(matches!(verdict("b", None, &["b"], true), Err(PublishError::Unroutable { .. })));
    }

    #[test]
    fn in_a_broken_batch_a_confirm_with_another_s_return_proves_nothing() {
        assert_eq!(verdict("a", None, &["b"], false), Ok(()));
        let open = verdict("a", Some(returned("b")), &["b"], false);
        assert!(matches!(open, Err(PublishError::Disconnected { .. })), "{open:?}");
    }

    #[test]
    fn a_return_of_another_destination_is_not_this_message_s() {
        let elsewhere = HashSet::from([("a".into(), "exchange".into(), "other".into())]);
        assert_eq!(judge(&identity("a"), &Ok(Confirmation::Ack(None)), &elsewhere, true), Ok(()));
        let nacked = judge(&identity("a"), &Ok(Confirmation::Nack(None)), &elsewhere, true);
        assert!(matches!(nacked, Err(PublishError::Nacked { .. })));
    }
}
