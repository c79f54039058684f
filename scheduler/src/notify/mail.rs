//! Notices by mail.

use std::fmt::Write as _;

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, Tls, TlsParameters},
    },
};
use ringvault_core::notice::Notice;
use ringvault_tls::{explain, read_certificates};
use secrecy::ExposeSecret as _;

use super::send::Failure;
use crate::config::NotifierConfig;

/// From whom, to whom, by which server.
#[derive(Debug)]
pub(super) struct Mail {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Mail {
    pub(super) fn open(config: &NotifierConfig) -> Result<Self, String> {
        let url = config.url()?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let is_smtps = url.scheme() == "smtps";
        let wants = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let tls = match (is_smtps, wants.as_deref()) {
            (true, None) => Tls::Wrapper(trust(config, &host)?),
            (false, None) => Tls::Required(trust(config, &host)?),
            (false, Some("none")) => Tls::None,
            _ => return Err("the url may say ?tls=none after smtp://, and nothing else of tls".to_owned()),
        };
        let port = url.port().unwrap_or(if is_smtps { 465 } else { 587 });
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(config.timeout));
        if let (Some(user), Some(password)) = (&config.username, config.password()?) {
            server = server.credentials(Credentials::new(user.clone(), password.expose_secret().to_owned()));
        }
        let mailbox = |setting: &str, text: &str| -> Result<Mailbox, String> {
            text.parse().map_err(|error| format!("{setting} {text:?} is no mail address: {error}"))
        };
        Ok(Self {
            server: server.build(),
            from: mailbox("from", config.from.as_deref().unwrap_or_default())?,
            to: config.to.iter().map(|to| mailbox("to", to)).collect::<Result<_, _>>()?,
        })
    }

    pub(super) async fn send(&self, notice: &Notice) -> Result<(), Failure> {
        let message = self.write(notice).map_err(Failure::because)?;
        match self.server.send(message).await {
            Ok(_) => Ok(()),
            Err(error) => Err(match explain(&error) {
                Some(trouble) => Failure::because(trouble.words()),
                None => Failure::because(causes(&error)),
            }),
        }
    }

    /// The same message id at every try: mail servers and readers show one mail once.
    fn write(&self, notice: &Notice) -> Result<Message, lettre::error::Error> {
        let domain = self.from.email.domain();
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(format!("[ringvault] {}", notice.title))
            .message_id(Some(format!("<{}@{domain}>", notice.delivery)))
            .date(notice.at.into())
            .header(ContentType::TEXT_PLAIN);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder.body(text(notice))
    }
}

fn text(notice: &Notice) -> String {
    let mut text = format!("{}\n\n{}\n\n", notice.title, notice.text);
    let _ = writeln!(
        text,
        "{} ({}), {}",
        notice.event.as_str(),
        notice.severity.as_str(),
        notice.at.to_rfc3339()
    );
    if let Some(cluster) = &notice.cluster {
        let _ = writeln!(text, "cluster {cluster}");
    }
    let _ = writeln!(text, "deployment {}, delivery {}", notice.deployment, notice.delivery);
    text
}

/// Whom to trust: the system's authorities and those of `ca_file`.
fn trust(config: &NotifierConfig, host: &str) -> Result<TlsParameters, String> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(file) = &config.ca_file {
        for certificate in read_certificates("ca_file", file).map_err(|error| error.to_string())? {
            let certificate =
                Certificate::from_der(certificate.to_vec()).map_err(|error| format!("ca_file: {error}"))?;
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build_rustls().map_err(|error| causes(&error))
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        next = cause.source();
    }
    text
}
