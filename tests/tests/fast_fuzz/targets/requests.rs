//! What is asked over HTTP.

use std::fmt::Debug;

use ringvault_core::{
    api::{ClusterRebind, HoldRelease, HoldSet, Problem, SessionCreate, TokenCreate},
    job::{BackupSpec, JobSpec, PurgeSpec, RestoreSpec, VerifySpec},
    policy::PolicyDocument,
};
use ringvault_scheduler::api::{parse_body, parse_job_spec};
use serde::{Serialize, de::DeserializeOwned};

use super::{JSON, SOME, Target};
use crate::{mutate, seeds};

super::targets! {
    requests => Target {
        name: "requests",
        seeds: specs(),
        mutate: mutate::json,
        base: SOME,
        factor: JSON,
        parse: try_requests,
    };
}

/// The payloads of the messages that ask for a job, and the other bodies.
fn specs() -> Vec<Vec<u8>> {
    let messages = seeds::files("shared/queue/fixtures/v1", |path| path.contains("job.create"));
    let payload = |message: &Vec<u8>| {
        let message: serde_json::Value = serde_json::from_slice(message).expect("a fixture is JSON");
        message["payload"].to_string().into_bytes()
    };
    let mut specs: Vec<_> = messages.iter().map(payload).collect();
    specs.extend(seeds::texts(&[
        r#"{"token":"rv_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#,
        r#"{"name":"ci","role":"viewer","expires_in":"30d"}"#,
        r#"{"cluster":"orders","backup":"b1","reason":"audit","until":"2027-01-01T00:00:00Z"}"#,
        r#"{"confirm":"orders","reason":"all machines were lost"}"#,
        r#"{"policy":{"nightly":{"cluster":"orders","schedule":"0 2 * * *","action":"backup",
            "retention":{"keep_last":14,"max_age":"35d"},"rate_limit":"100MiB","window":"22:00-06:00"}}}"#,
    ]));
    specs
}

fn try_requests(input: &[u8]) {
    match parse_job_spec(input) {
        Ok(spec) => again(&spec, parse_job_spec),
        Err(problem) => check(&problem),
    }
    body::<BackupSpec>(input);
    body::<VerifySpec>(input);
    body::<RestoreSpec>(input);
    body::<PurgeSpec>(input);
    body::<TokenCreate>(input);
    body::<SessionCreate>(input);
    body::<HoldSet>(input);
    body::<HoldRelease>(input);
    body::<ClusterRebind>(input);
    body::<PolicyDocument>(input);
    let _ = serde_json::from_slice::<JobSpec>(input);
}

fn body<T: DeserializeOwned>(input: &[u8]) {
    if let Err(problem) = parse_body::<T>(input) {
        check(&problem);
    }
}

/// What was read is written so that it is read again as the same.
fn again<T: Serialize + PartialEq + Debug>(read: &T, parse: impl Fn(&[u8]) -> Result<T, Box<Problem>>) {
    let written = serde_json::to_vec(read).expect("it has a JSON form");
    assert_eq!(parse(&written).as_ref(), Ok(read));
}

/// A refusal names what was refused, in words that can be answered and logged.
fn check(problem: &Problem) {
    let field = problem.field.as_deref().unwrap_or_default();
    assert!(problem.status == 400 && !problem.detail.is_empty(), "{problem:?}");
    assert!(problem.detail.len() + field.len() <= 4096, "a refusal of {} bytes", problem.detail.len());
}
