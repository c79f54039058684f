//! The schemas and the frozen messages of every version ever written.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::schemas;
use crate::{Beat, Envelope, EnvelopeError, Event, Message, Report, Request, TaskMessage};

fn schema_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas")
}

/// Fixtures of envelope version 1: file name → text. Named `<type>.json` or `<type>+<what>.json`.
fn fixtures() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1");
    fs::read_dir(folder)
        .expect("the fixtures' folder")
        .map(|entry| {
            let path = entry.expect("a file").path();
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("text"))
        })
        .collect()
}

/// Reads a message of any family; what comes back is what this version would write of it.
fn reread(text: &str) -> Result<Value, EnvelopeError> {
    fn through<M: Message + PartialEq + std::fmt::Debug>(text: &str) -> Result<Value, EnvelopeError> {
        let envelope = Envelope::<M>::parse(text.as_bytes())?;
        let bytes = envelope.to_bytes()?;
        assert_eq!(Envelope::parse(&bytes).as_ref(), Ok(&envelope), "read, written and read again");
        Ok(serde_json::from_slice(&bytes).expect("what was written is JSON"))
    }
    let families =
        [through::<TaskMessage>, through::<Report>, through::<Beat>, through::<Request>, through::<Event>];
    let unknown =
        |result: &Result<Value, EnvelopeError>| matches!(result, Err(EnvelopeError::UnknownType { .. }));
    let read = families.into_iter().map(|read| read(text));
    read.into_iter().find(|result| !unknown(result)).expect("a type of some family")
}

/// Every field of `frozen` must still be there with its value, unless it is null.
fn assert_kept(frozen: &Value, now: &Value, path: &str) {
    match (frozen, now) {
        (Value::Object(frozen), Value::Object(now)) => {
            for (field, value) in frozen.iter().filter(|(_, value)| !value.is_null()) {
                let path = format!("{path}.{field}");
                let now = now.get(field).or_else(|| is_empty(value).then_some(value));
                assert_kept(value, now.unwrap_or_else(|| panic!("{path} is lost")), &path);
            }
        }
        (Value::Array(frozen), Value::Array(now)) if frozen.len() == now.len() => {
            for (index, (frozen, now)) in frozen.iter().zip(now).enumerate() {
                assert_kept(frozen, now, &format!("{path}[{index}]"));
            }
        }
        _ => assert_eq!(frozen, now, "{path}"),
    }
}

/// Left out when written.
fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
}

#[test]
fn every_frozen_message_is_read_in_full() {
    for (name, text) in fixtures() {
        let frozen: Value = serde_json::from_str(&text).expect("fixtures are JSON");
        assert_eq!(frozen["type"], name.split('+').next().expect("a type"), "{name}");
        match reread(&text) {
            Ok(now) => assert_kept(&frozen, &without_equivalents(now, &frozen), &name),
            Err(error) => panic!("{name} was readable once and must be for ever: {error}"),
        }
    }
}

/// `30d` and `1month` are the same duration in other words.
fn without_equivalents(mut now: Value, frozen: &Value) -> Value {
    let age = "/payload/retention/max_age";
    if let (Some(now), Some(frozen)) = (now.pointer_mut(age), frozen.pointer(age)) {
        *now = frozen.clone();
    }
    now
}

#[test]
fn every_type_has_a_frozen_message() {
    let fixtures = fixtures();
    for (name, _) in schemas() {
        let has = fixtures.keys().any(|file| file.split('+').next() == Some(name));
        assert!(has, "no fixture of {name}: add fixtures/v1/{name}.json and never change it");
    }
}

#[test]
fn every_variant_of_the_large_payloads_has_a_frozen_message() {
    let fixtures = fixtures();
    let covered = |type_name: &str, pointer: &str| -> Vec<String> {
        let of_type = fixtures.iter().filter(|(name, _)| name.split('+').next() == Some(type_name));
        of_type
            .map(|(_, text)| {
                let message: Value = serde_json::from_str(text).expect("fixtures are JSON");
                message.pointer(pointer).and_then(Value::as_str).expect("a tag").to_owned()
            })
            .collect()
    };
    for (type_name, definition, tag, pointer) in [
        ("task.offer", "TaskPayload", "kind", "/payload/payload/kind"),
        ("task.succeeded", "TaskResult", "kind", "/payload/result/kind"),
        ("task.control", "Control", "do", "/payload/action/do"),
    ] {
        let all = schemas();
        let (_, schema) = all.iter().find(|(name, _)| *name == type_name).expect("a schema");
        let variants = schema["$defs"][definition]["oneOf"].as_array().expect("an enum's variants");
        assert!(variants.len() > 3, "{definition} has variants");
        let covered = covered(type_name, pointer);
        for variant in variants {
            let variant = variant["properties"][tag]["const"].as_str().expect("a tag");
            assert!(covered.iter().any(|has| has == variant), "no fixture of {type_name} {variant}");
        }
    }
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let folder = schema_folder();
    let update = std::env::var_os("RINGVAULT_UPDATE_SCHEMAS").is_some();
    let mut expected: Vec<String> = Vec::new();
    for (name, schema) in schemas() {
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).expect("a schema is JSON"));
        let path = folder.join(format!("{name}.schema.json"));
        if update {
            fs::create_dir_all(&folder).expect("docs/schemas");
            fs::write(&path, &text).expect("docs/schemas is writable");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "{} is not what the types say: RINGVAULT_UPDATE_SCHEMAS=1 cargo test -p ringvault-queue schemas",
            path.display(),
        );
        expected.push(format!("{name}.schema.json"));
    }
    let mut present: Vec<String> = fs::read_dir(folder)
        .expect("docs/schemas")
        .map(|entry| entry.expect("a file").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".schema.json"))
        .collect();
    present.sort();
    expected.sort();
    assert_eq!(present, expected, "schemas of types that are gone must go");
}

#[test]
fn the_committed_asyncapi_document_is_that_of_the_types() {
    let document = super::asyncapi();
    let text = format!("{}\n", serde_json::to_string_pretty(&document).expect("a document is JSON"));
    let path = schema_folder().join("../asyncapi.json");
    if std::env::var_os("RINGVAULT_UPDATE_SCHEMAS").is_some() {
        fs::write(&path, &text).expect("docs is writable");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "docs/asyncapi.json is not what the types say: RINGVAULT_UPDATE_SCHEMAS=1 cargo test -p ringvault-queue schemas"
    );
    // Everything that other systems may say or hear is in it, and nothing of the workers.
    let said: Vec<&str> = Request::TYPES.iter().chain(Event::TYPES).copied().collect();
    let mut described: Vec<&String> =
        document["components"]["messages"].as_object().expect("messages").keys().collect();
    described.sort();
    let mut wanted = said.clone();
    wanted.sort_unstable();
    assert_eq!(described, wanted);
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > said.len() * 3, "channels, operations and schemas refer to each other");
    for target in found {
        let pointer = target.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{target} points nowhere");
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(target)) = fields.get("$ref") {
                found.push(target.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// Every `$ref` must point to something in its own document, or readers cannot use it.
#[test]
fn references_within_schemas_hold() {
    for (name, schema) in schemas() {
        let mut found = Vec::new();
        references(&schema, &mut found);
        for target in found {
            let pointer = target.strip_prefix('#').expect("a reference within the document");
            assert!(schema.pointer(pointer).is_some(), "{name}: {target} points nowhere");
        }
    }
}
