//! What comes over the queue.

use std::{fmt::Debug, path::Path};

use ringvault_queue::{
    Beat, Envelope, EnvelopeError, Event, KeyRing, Message, RawEnvelope, Report, Request, TaskMessage,
};

use super::{JSON, SOME, Target};
use crate::{harness::told, mutate, seeds};

super::targets! {
    messages => Target {
        name: "messages",
        seeds: seeds::files("shared/queue/fixtures/v1", |_| true),
        mutate: mutate::json,
        base: SOME,
        factor: JSON,
        parse: try_messages,
    };
    signatures => Target {
        name: "signatures",
        seeds: seeds::texts(&[
            "# keys\n00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\n",
            "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n\
             ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100aabb\n",
        ]),
        mutate: mutate::text,
        base: SOME,
        factor: 8,
        parse: try_signatures,
    };
}

fn try_messages(input: &[u8]) {
    let raw = match RawEnvelope::parse(input) {
        Ok(raw) => raw,
        Err(error) => return told(error),
    };
    open::<Request>(&raw);
    open::<TaskMessage>(&raw);
    open::<Report>(&raw);
    open::<Beat>(&raw);
    open::<Event>(&raw);
}

/// What was read is written so that it is read again as the same.
fn open<M: Message + Debug + PartialEq>(raw: &RawEnvelope<'_>) {
    let message: Envelope<M> = match raw.open() {
        Ok(message) => message,
        Err(error) => return told(error),
    };
    match message.to_bytes() {
        Ok(bytes) => assert_eq!(Envelope::parse(&bytes).as_ref(), Ok(&message)),
        Err(EnvelopeError::TooLarge { .. }) => {}
        Err(error) => panic!("it is read and cannot be written: {error}"),
    }
}

/// The input is a key file, and a body with headers: its first lines.
fn try_signatures(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.lines();
    let ring = match KeyRing::parse(&text, Path::new("key")) {
        Ok(ring) => ring,
        Err(error) => {
            told(error);
            KeyRing::from_secret(vec![7; 32])
        }
    };
    let good = ring.sign(input);
    assert_eq!(ring.verify(input, Some(&good.key), Some(&good.mac)), Ok(()));
    let (key, mac) = (lines.next(), lines.next());
    for (key, mac) in [(key, mac), (Some(good.key.as_str()), mac), (key, Some(good.mac.as_str()))] {
        if (key, mac) != (Some(&good.key), Some(&good.mac)) {
            told(ring.verify(input, key, mac).expect_err("it is not the signature"));
        }
    }
}
