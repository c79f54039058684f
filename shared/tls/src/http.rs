//! HTTP requests that a program makes by itself, by one set of rules whom to trust.

use std::{path::Path, time::Duration};

use reqwest::{Client, redirect::Policy};
use rustls::ClientConfig;

use crate::{ClientTls, explain};

/// A client that follows nobody elsewhere, and trusts `ca_file` besides the system's authorities.
pub fn client(ca_file: Option<&Path>, timeout: Duration) -> Result<Client, String> {
    let mut builder = Client::builder()
        .user_agent(concat!("ringvault/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .timeout(timeout);
    if let Some(file) = ca_file {
        let tls = ClientTls { ca_file: Some(file.to_owned()), ..ClientTls::default() };
        let tls = tls.config().map_err(|error| error.to_string())?;
        builder = builder.tls_backend_preconfigured(ClientConfig::clone(&tls));
    }
    builder.build().map_err(|error| error.to_string())
}

/// Why nobody answered, without the URL, which may be all the secret there is.
pub fn why(error: reqwest::Error) -> String {
    if let Some(trouble) = explain(&error) {
        return trouble.words().to_owned();
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
