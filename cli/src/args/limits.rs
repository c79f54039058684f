//! How fast a job's nodes may go: all of them, or those of one data center.

use std::num::NonZeroU64;

use clap::Args;
use ringvault_core::{
    job::{Limits, NodeLimits},
    size::parse_size,
};

use crate::failure::{Failure, Outcome};

/// Of a job that is to be started.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LimitArgs {
    /// At most so much a second and node, such as 100MiB; dc1=100MiB for the nodes of one data center. May be given
    /// several times
    #[arg(long, value_name = "[DC=]RATE", value_parser = of_some(rate))]
    rate_limit: Vec<Limit>,
    /// At most so many requests a second and node to the store; dc1=100 for the nodes of one data center. May be
    /// given several times
    #[arg(long, value_name = "[DC=]N", value_parser = of_some(requests))]
    request_limit: Vec<Limit>,
}

/// A limit, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Limit {
    /// All, where none is named.
    data_center: Option<String>,
    /// 0: none.
    most: u64,
}

impl LimitArgs {
    /// As a job's specification has them.
    ///
    /// # Errors
    /// If one of them is given twice.
    pub(crate) fn limits(&self) -> Outcome<Limits> {
        let mut limits = Limits::default();
        for limit in &self.rate_limit {
            put(&mut limits, limit, "rate", |node| &mut node.rate_limit)?;
        }
        for limit in &self.request_limit {
            put(&mut limits, limit, "request", |node| &mut node.request_limit)?;
        }
        Ok(limits)
    }
}

fn put(
    limits: &mut Limits,
    limit: &Limit,
    what: &str,
    place: impl Fn(&mut NodeLimits) -> &mut Option<u64>,
) -> Outcome<()> {
    let node = match &limit.data_center {
        Some(name) => limits.data_centers.entry(name.clone()).or_default(),
        None => &mut limits.everywhere,
    };
    if place(node).replace(limit.most).is_some() {
        let whose = limit.data_center.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        return Err(Failure::usage(format!("--{what}-limit{whose} is given twice")));
    }
    Ok(())
}

/// `RATE`, or `DC=RATE`; of a data center also `DC=none`, whatever holds for all.
fn of_some(read: fn(&str) -> Result<u64, String>) -> impl Fn(&str) -> Result<Limit, String> + Clone {
    move |text| match text.split_once('=') {
        Some(("", _)) => Err("the data center is missing before '='".to_owned()),
        Some((name, most)) => {
            Ok(Limit { data_center: Some(name.to_owned()), most: unless_none(read)(most)? })
        }
        None => Ok(Limit { data_center: None, most: read(text)? }),
    }
}

/// What `read` makes of a limit; `none` as 0, which is no limit.
pub(crate) fn unless_none(
    read: fn(&str) -> Result<u64, String>,
) -> impl Fn(&str) -> Result<u64, String> + Clone {
    move |text| if text == "none" { Ok(0) } else { read(text) }
}

/// `100MiB` as bytes a second; nothing a second would never end.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Ok(0) => Err("a rate of nothing never ends: leave the option out for no limit".to_owned()),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

/// Requests a second.
pub(crate) fn requests(text: &str) -> Result<u64, String> {
    match text.parse::<NonZeroU64>() {
        Ok(number) => Ok(number.get()),
        Err(_) => Err("it is a number from 1 on".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn given(words: &[&str]) -> Result<Limits, String> {
        let program = Program::try_parse_from([&["program"], words].concat()).map_err(|e| e.to_string())?;
        program.limits.limits().map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn a_data_center_has_its_own_limits() {
        let words = ["--rate-limit", "1MiB", "--rate-limit", "dc1=2MiB", "--request-limit=dc1=none"];
        let limits = given(&words).expect("limits");
        assert_eq!(limits.everywhere, NodeLimits { rate_limit: Some(1 << 20), request_limit: None });
        let of_dc1 = NodeLimits { rate_limit: Some(2 << 20), request_limit: Some(0) };
        assert_eq!(limits.data_centers.into_iter().collect::<Vec<_>>(), [("dc1".to_owned(), of_dc1)]);
        assert!(given(&[]).expect("no limits").is_empty());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (words, says) in [
            (&["--rate-limit", "1MiB", "--rate-limit", "2MiB"][..], "--rate-limit is given twice"),
            (&["--request-limit", "a=1", "--request-limit", "a=2"], "--request-limit of a is given twice"),
            (&["--rate-limit", "=1MiB"], "the data center is missing"),
            (&["--rate-limit", "none"], "none"),
            (&["--rate-limit", "dc1=0"], "never ends"),
            (&["--request-limit", "dc1=many"], "a number from 1 on"),
        ] {
            let told = given(words).expect_err("a limit that makes no sense");
            assert!(told.contains(says), "{words:?}: {told}");
        }
    }
}
