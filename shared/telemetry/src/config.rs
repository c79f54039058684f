//! `[telemetry]` of schedulers and workers.

use std::{env, path::PathBuf};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

/// Where traces go where the configuration does not say it: the collector, below which `v1/traces` is added.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// The same for traces alone, as it stands.
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The collector, such as `http://127.0.0.1:4318`: spans are posted to `v1/traces` below it. Without it, and
    /// without a variable of the environment that says it, none are.
    pub otlp_endpoint: Option<Url>,
    /// The share of the traces which begin here that is kept, from 0 to 1. Those that come from elsewhere are kept as
    /// their beginning says.
    #[serde(deserialize_with = "share")]
    pub sample_ratio: f64,
    /// A file with headers of each request, a line each: `authorization: Bearer …`.
    pub headers_file: Option<PathBuf>,
    /// PEM of the authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, sample_ratio: 1.0, headers_file: None, ca_file: None }
    }
}

fn share<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    let share = f64::deserialize(input)?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(D::Error::custom("a share is from 0.0 to 1.0")) }
}

/// Why `[telemetry]` cannot be used. Never holds a header's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("telemetry.{setting}: {why}")]
pub struct TelemetryProblem {
    /// Which setting.
    pub setting: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl TelemetryProblem {
    pub(crate) fn new(setting: &'static str, why: impl Into<String>) -> Self {
        Self { setting, why: why.into() }
    }
}

impl TelemetryConfig {
    /// Where spans are posted; `None`: nowhere. What the file says stands over the environment.
    pub(crate) fn endpoint(&self) -> Result<Option<Url>, TelemetryProblem> {
        let variable = |name| env::var(name).ok().filter(|value| !value.trim().is_empty());
        self.endpoint_with(variable)
    }

    fn endpoint_with(
        &self,
        variable: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Option<Url>, TelemetryProblem> {
        let parse = |name: &'static str, text: String| {
            Url::parse(text.trim()).map_err(|error| {
                TelemetryProblem::new("otlp_endpoint", format!("{name} in the environment: {error}"))
            })
        };
        let url = match (&self.otlp_endpoint, variable(TRACES_ENDPOINT), variable(ENDPOINT)) {
            (Some(url), _, _) => below(url.clone()),
            (None, Some(text), _) => parse(TRACES_ENDPOINT, text)?,
            (None, None, Some(text)) => below(parse(ENDPOINT, text)?),
            (None, None, None) => return Ok(None),
        };
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            let why = format!("{url} is no http:// or https:// URL of an OTLP collector");
            return Err(TelemetryProblem::new("otlp_endpoint", why));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let why = "a login stands in headers_file (`authorization: Basic …`), not in the URL";
            return Err(TelemetryProblem::new("otlp_endpoint", why));
        }
        Ok(Some(url))
    }

    /// The headers of each request.
    pub(crate) fn headers(&self) -> Result<HeaderMap, TelemetryProblem> {
        let Some(path) = &self.headers_file else { return Ok(HeaderMap::new()) };
        let failed =
            |why: String| TelemetryProblem::new("headers_file", format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|cause| failed(cause.to_string()))?;
        let mut headers = HeaderMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let read = |line: &str| {
                let (name, value) = line.split_once(':')?;
                let mut value = HeaderValue::from_str(value.trim()).ok()?;
                value.set_sensitive(true);
                Some((HeaderName::try_from(name.trim()).ok()?, value))
            };
            let wrong = || failed(format!("line {} is no `name: value`", number + 1));
            let (name, value) = read(line).ok_or_else(wrong)?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

/// `v1/traces` below a collector's address.
fn below(mut base: Url) -> Url {
    let path = format!("{}/v1/traces", base.path().trim_end_matches('/'));
    base.set_path(&path);
    base
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TelemetryConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    fn endpoint(file: &str, environment: &[(&str, &str)]) -> Result<Option<String>, String> {
        let found = read(file)?.endpoint_with(|name| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        });
        found.map(|url| url.map(String::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_stands_over_the_environment() {
        let said = "otlp_endpoint = \"https://collector.example:4318/otlp/\"";
        let general = (ENDPOINT, "http://general:4318");
        let traces = (TRACES_ENDPOINT, "http://traces:4318/here");
        assert_eq!(endpoint("", &[]), Ok(None));
        for (file, environment, expect) in [
            (said, &[general, traces][..], "https://collector.example:4318/otlp/v1/traces"),
            ("", &[general, traces][..], "http://traces:4318/here"),
            ("", &[general][..], "http://general:4318/v1/traces"),
        ] {
            assert_eq!(endpoint(file, environment), Ok(Some(expect.to_owned())));
        }
        let wrong = endpoint("", &[(ENDPOINT, "collector")]).unwrap_err();
        assert!(wrong.contains("telemetry.otlp_endpoint") && wrong.contains(ENDPOINT), "{wrong}");
        assert!(endpoint("otlp_endpoint = \"grpc://collector:4317\"", &[]).unwrap_err().contains("grpc://"));
        let secret = endpoint("otlp_endpoint = \"https://user:secret@collector\"", &[]).unwrap_err();
        assert!(secret.contains("headers_file") && !secret.contains("secret@"), "{secret}");
    }

    #[test]
    fn a_share_is_a_share() {
        assert!((read("").unwrap().sample_ratio - 1.0).abs() < f64::EPSILON);
        assert!(read("sample_ratio = 0.25").is_ok());
        for wrong in ["sample_ratio = 1.5", "sample_ratio = -0.1", "sample_ratio = nan", "ratio = 1.0"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn headers_are_read_from_a_file_and_never_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config =
            TelemetryConfig { headers_file: Some(file.path().to_owned()), ..TelemetryConfig::default() };
        std::fs::write(file.path(), "authorization: Bearer secret\n\nX-Scope-OrgID: ops\n").unwrap();
        let headers = config.headers().unwrap();
        assert_eq!((headers.len(), &headers["x-scope-orgid"]), (2, &HeaderValue::from_static("ops")));
        assert!(!format!("{headers:?}").contains("secret"));
        std::fs::write(file.path(), "a: b\nsecret").unwrap();
        let wrong = config.headers().unwrap_err().to_string();
        assert!(wrong.contains("line 2") && !wrong.contains("secret"), "{wrong}");
    }
}
