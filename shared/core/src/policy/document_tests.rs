use super::*;

const NIGHTLY: &str = r#"
[policy.nightly]
cluster = "orders-prod"
schedule = "0 2 * * *"
timezone = "Europe/Madrid"
action = "backup"
exclude = ["orders.cache"]
retention = { keep_last = 14, max_age = "35d" }
rpo = "24h"
rate_limit = "100MiB"
"#;

#[test]
fn a_policy_is_read_and_becomes_a_job() {
    let document = parse_policies(NIGHTLY).unwrap();
    let (name, policy) = document.policy.first_key_value().unwrap();
    let spec = policy.job_spec(name).unwrap();
    let JobSpec::Backup(backup) = spec else { panic!("not a backup") };
    assert_eq!((backup.name, backup.policy.as_ref()), (None, Some(name)));
    assert_eq!(backup.rate_limit, Some(100 << 20));
}

#[test]
fn a_data_center_has_limits_of_its_own() {
    let text = format!(
        "{NIGHTLY}request_limit = 200\nmax_parallel_nodes = 2\nmax_parallel_scope = \"rack\"\n\
             [policy.nightly.data_centers.dc2]\nrate_limit = \"20MiB\"\n\
             [policy.nightly.data_centers.\"dc 3\"]\nrequest_limit = 0\n"
    );
    let document = parse_policies(&text).unwrap();
    let (name, policy) = document.policy.first_key_value().unwrap();
    let JobSpec::Backup(backup) = policy.job_spec(name).unwrap() else { panic!("not a backup") };
    assert_eq!(backup.max_parallel_scope, ParallelScope::Rack);
    let limits = JobSpec::Backup(backup).limits();
    let of = |dc| {
        let of = limits.of(Some(dc));
        (of.rate_limit.unwrap(), of.request_limit.unwrap())
    };
    assert_eq!((of("dc1"), of("dc2"), of("dc 3")), ((100 << 20, 200), (20 << 20, 200), (100 << 20, 0)));
    let drill = text.replace("\"backup\"", "\"drill\"").replace("retention", "#").replace("rpo", "#");
    let drill = drill.replace("max_parallel", "#");
    let document = parse_policies(&drill).unwrap();
    let spec = document.policy[name].job_spec(name).unwrap();
    assert_eq!(spec.limits(), limits);
    let JobSpec::Drill(drill) = spec else { panic!("not a drill") };
    assert_eq!(drill.restore().map(|restore| restore.data_centers), None, "its backup is not chosen yet");
    for (from, to) in [
        ("20MiB", "20MB"),
        ("rate_limit = \"20MiB\"", ""),
        ("= 0", "= -1"),
        ("rate_limit = \"20MiB\"", "rate = 1"),
        ("max_parallel_nodes = 2", ""),
        ("\"rack\"", "\"row\""),
    ] {
        assert!(parse_policies(&text.replace(from, to)).is_err(), "{from} -> {to}");
    }
    let error = parse_policies(&text.replace("20MiB", "20MB")).unwrap_err().to_string();
    assert!(error.contains("data_centers.dc2") && error.contains("20MB"), "{error}");
}

#[test]
fn a_misspelt_field_is_refused_with_its_line() {
    let text = NIGHTLY.replace("timezone", "timezome");
    let error = parse_policies(&text).unwrap_err().to_string();
    assert!(error.contains("timezome") && error.contains("line 5"), "{error}");
}

#[test]
fn a_field_of_another_action_is_refused_by_name() {
    let policy = |action: &str, field: &str| {
        let text = format!("[policy.p]\ncluster = 'c'\nschedule = '@daily'\naction = '{action}'\n{field}\n");
        parse_policies(&text).map(|_| ()).map_err(|error| error.to_string())
    };
    let keep = "retention = { keep_last = 1 }";
    for (action, field, applies) in [
        ("backup", "keyspaces = ['k']", true),
        ("verify", "keyspaces = ['k']", false),
        ("verify", "exclude = ['k.t']", false),
        ("verify", "level = 'digest'", true),
        ("backup", "level = 'digest'", false),
        ("verify", "coverage = 'one'", false),
        ("verify", "rpo = '1d'", false),
        ("verify", "window = '22:00-06:00'", true),
        ("backup", "window = '22:00-06:00'", true),
        ("verify", "retries = 3", true),
        ("verify", keep, false),
        ("backup", keep, true),
        ("drill", "keyspaces = ['k']", true),
        ("drill", "target = 'other'", true),
        ("drill", "dc_map = { a = ['b'] }", true),
        ("backup", "target = 'other'", false),
        ("verify", "dc_map = { a = ['b'] }", false),
        ("drill", keep, false),
        ("drill", "mode = 'full'", false),
        ("drill", "request_limit = 9", true),
        ("verify", "request_limit = 9", false),
        ("drill", "data_centers = { a = { request_limit = 9 } }", true),
        ("verify", "data_centers = { a = { request_limit = 9 } }", false),
        ("drill", "max_parallel_scope = 'rack'", false),
        ("backup", "lock = '400d'", true),
        ("verify", "lock = '400d'", false),
    ] {
        let answer = policy(action, field);
        assert_eq!(answer.is_ok(), applies, "{action} {field}: {answer:?}");
        let name = field.split(' ').next().unwrap();
        assert!(applies || answer.unwrap_err().contains(name), "{field}");
    }
    for field in ["mode = 'full'", "tables = ['k.t']", "rate_limit = '1MiB'", "max_parallel_nodes = 1"] {
        assert!(policy("purge", &format!("{keep}\n{field}")).is_err(), "{field}");
    }
}

#[test]
fn fields_that_do_not_go_together_are_refused() {
    for (from, to) in [
        ("0 2 * * *", "0 2 * *"),
        ("Europe/Madrid", "Europe/Nowhere"),
        ("\"backup\"", "\"verify\""),
        ("100MiB", "100MB"),
        ("orders.cache", "orders"),
        ("retention = {", "retention = { keep_lsat = 1, "),
        ("rpo =", "window = \"22:00\"\nrpo ="),
        ("rpo =", "level = \"digest\"\nrpo ="),
        ("rpo =", "lock = \"0s\"\nrpo ="),
        ("rpo =", "lock = \"101y\"\nrpo ="),
    ] {
        assert!(parse_policies(&NIGHTLY.replace(from, to)).is_err(), "{from} -> {to}");
    }
}
