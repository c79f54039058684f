//! Which server is meant and who asks: flags over environment over configuration file.
//!
//! The token itself is never a flag and never stands in the configuration file: both are seen by
//! others. It comes from a file, or from `RINGVAULT_TOKEN`.

use std::{
    env,
    path::{Path, PathBuf},
};

use chrono_tz::Tz;
use ringvault_tls::ClientTls;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::{
    args::Global,
    failure::{Failure, Outcome},
};

/// `~/.config/ringvault/config.toml`.
#[allow(clippy::struct_field_names)] // the settings' names, as published
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Option<Url>,
    token_file: Option<PathBuf>,
    ca_file: Option<PathBuf>,
    client_cert_file: Option<PathBuf>,
    client_key_file: Option<PathBuf>,
    tz: Option<String>,
}

/// What holds for one run.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The scheduler's address, if any is known.
    pub(crate) server: Option<Url>,
    /// The bearer token, if any is known.
    pub(crate) token: Option<SecretString>,
    /// Whom to trust besides the system's authorities, and who we are.
    pub(crate) tls: ClientTls,
    /// The zone times are shown in.
    pub(crate) zone: Tz,
}

impl Settings {
    /// Puts the sources together. Reads the token's file, but contacts nobody.
    pub(crate) fn load(global: &Global) -> Outcome<Self> {
        let file = read_file()?;
        let environment = env::var("RINGVAULT_TOKEN").ok().filter(|token| !token.is_empty());
        let token = match (&global.token_file, environment) {
            (Some(path), _) => Some(read_token(path)?),
            (None, Some(token)) => Some(token.into()),
            (None, None) => env::var_os("RINGVAULT_TOKEN_FILE")
                .map(PathBuf::from)
                .or(file.token_file)
                .map(|path| read_token(&path))
                .transpose()?,
        };
        let zone = global.tz.clone().or(file.tz);
        Ok(Self {
            server: global.server.clone().or(file.server),
            token,
            tls: ClientTls {
                ca_file: global.ca_file.clone().or(file.ca_file),
                certificate_file: global.client_cert_file.clone().or(file.client_cert_file),
                key_file: global.client_key_file.clone().or(file.client_key_file),
            },
            zone: zone.map_or(Ok(Tz::UTC), |name| parse_zone(&name))?,
        })
    }
}

/// The configuration file's place: `XDG_CONFIG_HOME`, else `~/.config`.
fn file_path() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(base.join("ringvault/config.toml"))
}

fn read_file() -> Outcome<File> {
    let Some(path) = file_path() else {
        return Ok(File::default());
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => parse_file(&path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => Err(Failure::usage(format!("reading {}: {error}", path.display()))),
    }
}

fn parse_file(path: &Path, text: &str) -> Outcome<File> {
    ringvault_core::toml_text::from_toml(text).map_err(|error| {
        let message = format!("{}: {}", path.display(), ringvault_core::text::cause(error).trim_end());
        Failure::usage(message)
    })
}

fn read_token(path: &Path) -> Outcome<SecretString> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("reading the token file {}: {error}", path.display())))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::usage(format!("the token file {} is empty", path.display())));
    }
    Ok(token.into())
}

fn parse_zone(name: &str) -> Outcome<Tz> {
    name.parse()
        .map_err(|_| Failure::usage(format!("{name:?} is not an IANA time zone such as Europe/Madrid")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_setting_is_refused_with_its_file_and_line() {
        let failure = parse_file(Path::new("/c.toml"), "tz = 'UTC'\nsevrer = 'x'\n").unwrap_err();
        let text = failure.to_string();
        assert!(text.contains("/c.toml") && text.contains("line 2") && text.contains("sevrer"), "{text}");
    }

    #[test]
    fn a_token_file_is_trimmed_and_may_not_be_empty() {
        use secrecy::ExposeSecret as _;
        let folder = std::env::temp_dir().join(format!("ringvault-token-{}", std::process::id()));
        std::fs::write(&folder, "secret\n").unwrap();
        assert_eq!(read_token(&folder).unwrap().expose_secret(), "secret");
        std::fs::write(&folder, " \n").unwrap();
        assert!(read_token(&folder).unwrap_err().to_string().contains("is empty"));
        std::fs::remove_file(&folder).unwrap();
    }
}
