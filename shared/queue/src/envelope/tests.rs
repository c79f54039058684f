use chrono::TimeZone;
use ringvault_core::{TaskError, TaskId, WorkerId};
use serde_json::{Value, json};

use super::*;
use crate::{Beat, Report, Request, TaskMessage, message::TaskFailed};

fn grant() -> Value {
    json!({
        "id": "0193511c-9e00-7000-8000-000000000001",
        "type": "task.grant",
        "version": 1,
        "source": "scheduler/sched-1",
        "created_at": "2026-11-22T02:00:00Z",
        "payload": {
            "task": "0193511c-9e00-7000-8000-000000000002",
            "epoch": 1, "dispatch_seq": 1, "lease_seconds": 60,
        },
    })
}

fn request(payload: &Value) -> Value {
    let mut request = grant();
    request["type"] = "job.create".into();
    request["idempotency_key"] = "key-1".into();
    request["payload"] = payload.clone();
    request
}

fn parse<M: Message>(message: &Value) -> Result<Envelope<M>, EnvelopeError> {
    Envelope::parse(message.to_string().as_bytes())
}

fn refusal<M: Message + std::fmt::Debug>(message: &Value) -> (&'static str, String) {
    let error = parse::<M>(message).expect_err("a refusal");
    (error.code(), error.to_string())
}

#[test]
fn what_is_written_is_read_back() {
    let mut envelope: Envelope<TaskMessage> = parse(&grant()).unwrap();
    envelope.idempotency_key = Some("k".to_owned());
    envelope.expires_at = Some(Utc.with_ymd_and_hms(2026, 11, 22, 3, 0, 0).unwrap());
    envelope.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    envelope.requested_by = Some("ana@example.com".to_owned());
    assert_eq!(Envelope::parse(&envelope.to_bytes().unwrap()), Ok(envelope));
}

#[test]
fn unknown_fields_are_ignored() {
    let mut message = grant();
    message["priority"] = json!({"new": true});
    message["payload"]["color"] = "blue".into();
    assert_eq!(parse::<TaskMessage>(&message), parse(&grant()));
}

#[test]
fn what_is_not_json_says_where() {
    for text in ["", "\u{feff}{}", "{\"version\": 1", "{\"version\":1} {}", "{\"version\": 1,, }"] {
        let error = Envelope::<Report>::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.code(), "RV-MSG-JSON", "{text:?}: {error}");
        assert!(error.to_string().contains("line 1 column"), "{error}");
    }
    let error = Envelope::<Report>::parse(b"{\"version\": 1, \"source\": \"\xff\"}").unwrap_err();
    assert_eq!(error.code(), "RV-MSG-JSON", "{error}");
    // Deeper than any message: refused, not a stack overflow.
    let deep = format!("{{\"version\":1,\"x\":{}", "[".repeat(100_000));
    assert_eq!(Envelope::<Report>::parse(deep.as_bytes()).unwrap_err().code(), "RV-MSG-JSON");
}

#[test]
fn a_later_version_is_called_so_whatever_else_it_has() {
    let (code, text) = refusal::<TaskMessage>(&json!({"version": 2, "kind": "task.grant"}));
    assert_eq!(code, "RV-MSG-VERSION");
    assert_eq!(text, "the envelope has version 2; only version 1 is known");
}

#[test]
fn a_missing_or_bad_field_of_the_envelope_is_named() {
    let without = |field: &str| {
        let mut message = grant();
        message.as_object_mut().unwrap().remove(field);
        refusal::<TaskMessage>(&message)
    };
    for field in ["id", "type", "version", "source", "created_at", "payload"] {
        let (code, text) = without(field);
        assert_eq!(code, "RV-MSG-ENVELOPE", "{field}");
        assert!(text.contains(field), "{text}");
    }
    let with = |field: &str, value: Value| {
        let mut message = grant();
        message[field] = value;
        refusal::<TaskMessage>(&message)
    };
    for (field, value) in [
        ("id", json!("x")),
        ("created_at", json!("yesterday")),
        ("version", json!("1")),
        ("source", json!("")),
        ("source", json!("x".repeat(256))),
        ("requested_by", json!("a\nb")),
        ("idempotency_key", json!("")),
    ] {
        let (code, text) = with(field, value.clone());
        assert_eq!(code, "RV-MSG-ENVELOPE", "{field} = {value}");
        assert!(text.contains(&format!("field {field:?}")), "{text}");
    }
    assert_eq!(refusal::<TaskMessage>(&json!([1])).0, "RV-MSG-ENVELOPE");
}

#[test]
fn a_type_of_another_queue_is_unknown_and_the_known_ones_are_listed() {
    let (code, text) = refusal::<Beat>(&grant());
    assert_eq!(code, "RV-MSG-TYPE");
    assert!(
        text.contains("\"task.grant\"; only task.heartbeat, node.hello, node.still, node.goodbye"),
        "{text}"
    );
}

#[test]
fn a_bad_payload_names_message_and_field() {
    let mut message = grant();
    message["payload"]["epoch"] = (-1).into();
    let (code, text) = refusal::<TaskMessage>(&message);
    assert_eq!(code, "RV-MSG-PAYLOAD");
    assert!(text.contains("0193511c-9e00-7000-8000-000000000001 cannot be read at \"epoch\""), "{text}");
}

#[test]
fn a_bad_job_specification_names_the_field_inside_it() {
    let refused = |payload: Value| refusal::<Request>(&request(&payload)).1;
    for (payload, field) in [
        (
            json!({"kind": "backup", "cluster": "c", "selection": {"tables": ["a.b", 7]}}),
            "at \"selection.tables[1]\"",
        ),
        (json!({"kind": "backup", "cluster": "../c"}), "at \"cluster\""),
        (json!({"kind": "backup", "cluster": "c", "ratelimit": 1}), "unknown field `ratelimit`"),
        (json!({"kind": "backup"}), "missing field `cluster`"),
        (json!({"kind": "burn", "cluster": "c"}), "at \"kind\": unknown variant `burn`"),
        (json!({"cluster": "c"}), "at \"kind\": missing"),
        (json!([]), "at \".\""),
    ] {
        let text = refused(payload);
        assert!(text.contains(field), "{field}: {text}");
    }
}

#[test]
fn a_job_specification_is_read_as_its_own_reader_reads_it() {
    let specs = [
        json!({"kind": "backup", "cluster": "c", "tags": {"a": "b"}}),
        json!({"kind": "verify", "cluster": "c", "backup": "b", "level": "digest"}),
        json!({"kind": "restore", "source": "c", "backup": "b", "target": "d", "rename": {"a.b": "a.c"}}),
        json!({"kind": "purge", "cluster": "c", "retention": {"max_age": "30d"}}),
    ];
    for spec in specs {
        let read: Envelope<Request> = parse(&request(&spec)).unwrap();
        assert_eq!(read.body, Request::CreateJob(serde_json::from_value(spec).unwrap()));
    }
}

#[test]
fn a_request_without_a_key_is_refused_and_can_still_be_answered() {
    let mut message = request(&json!({"kind": "backup", "cluster": "c"}));
    message.as_object_mut().unwrap().remove("idempotency_key");
    assert_eq!(refusal::<Request>(&message).0, "RV-MSG-KEY");
    let text = message.to_string();
    assert_eq!(RawEnvelope::parse(text.as_bytes()).unwrap().source, "scheduler/sched-1");
}

#[test]
fn a_nul_is_refused_before_it_reaches_a_database() {
    let mut message = request(&json!({"kind": "backup", "cluster": "c", "tags": {"a": "x\u{0}"}}));
    assert_eq!(refusal::<Request>(&message).0, "RV-MSG-NUL");
    message["payload"]["tags"]["a"] = "x\\u0000".into();
    assert!(parse::<Request>(&message).is_ok(), "a backslash before u0000 is only text");
}

fn failed(message: &str) -> Envelope<Report> {
    let failed = TaskFailed {
        task: TaskId::generate(),
        epoch: 1,
        worker: WorkerId::generate(),
        error: TaskError::permanent("RV-X", message),
    };
    Envelope::new("worker/w", Utc::now(), Report::Failed(failed))
}

#[test]
fn a_report_that_quotes_a_nul_can_still_be_sent_and_read() {
    let bytes = failed("it printed \0 and \\u0000").to_bytes().unwrap();
    let read: Envelope<Report> = Envelope::parse(&bytes).unwrap();
    let Report::Failed(failed) = read.body else { panic!("another report") };
    assert_eq!(failed.error.message, "it printed \u{fffd} and \\u0000");
}

#[test]
fn size_is_bounded_both_ways() {
    let padded = |bytes: usize| {
        let mut text = grant().to_string().into_bytes();
        text.resize(bytes, b' ');
        Envelope::<TaskMessage>::parse(&text)
    };
    assert!(padded(MAX_BYTES).is_ok());
    let refused = padded(MAX_BYTES + 1).unwrap_err();
    assert_eq!(refused, EnvelopeError::TooLarge { size: MAX_BYTES + 1, limit: MAX_BYTES });

    let mut envelope: Envelope<TaskMessage> = parse(&grant()).unwrap();
    envelope.source = "x".repeat(MAX_TEXT + 1);
    assert_eq!(envelope.to_bytes().unwrap_err().code(), "RV-MSG-ENVELOPE");
    let huge = failed(&"x".repeat(MAX_BYTES));
    assert_eq!(huge.to_bytes().unwrap_err().code(), "RV-MSG-SIZE");
}

#[test]
fn a_message_expires_at_its_time() {
    let at = Utc.with_ymd_and_hms(2026, 11, 22, 3, 0, 0).unwrap();
    let mut envelope: Envelope<TaskMessage> = parse(&grant()).unwrap();
    assert!(!envelope.is_expired(at), "without a time it never does");
    envelope.expires_at = Some(at);
    assert!(envelope.is_expired(at) && !envelope.is_expired(at - chrono::Duration::seconds(1)));
}
