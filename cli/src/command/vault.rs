//! `ringvault vault`: the object store itself, reached without a scheduler.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use ringvault_core::toml_text::from_toml;
use ringvault_vault::{EncryptionConfig, Store, Vault, VaultConfig, VaultError, identity::Probe};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Table, human, state_cell},
};

/// `vault …`
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a vault where none is; exit 6 if there is one
    Init(InitArgs),
    /// Make this deployment the owner, after the loss of the one before; its unsealed backups die
    Takeover(TakeoverArgs),
    /// Try everything a vault needs of its store with these credentials
    Check(VaultArgs),
    /// Bring back what was put over or deleted since an instant, in a bucket that keeps versions
    Recover(RecoverArgs),
}

/// Back to when.
#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// Do it: what stood then is put once more over what stands now
    #[arg(long, conflicts_with = "dry_run")]
    confirm: bool,
    /// Say what would be brought back and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    vault: VaultArgs,
}

/// Which vault, whose.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The deployment that will write here; by default the file's, or ringvault
    #[arg(long, value_name = "NAME")]
    deployment: Option<String>,
    /// Encrypt all that is brought to it, with the key that the settings name
    #[arg(long)]
    encrypt: bool,
    /// Be content with a vault of this deployment that is there already
    #[arg(long, conflicts_with = "dry_run")]
    if_missing: bool,
    /// Try the store and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    vault: VaultArgs,
}

/// Whose it is to be.
#[derive(Debug, Args)]
pub(crate) struct TakeoverArgs {
    /// The deployment that is to write here; by default the file's, or ringvault
    #[arg(long, value_name = "NAME")]
    deployment: Option<String>,
    /// Do it: whatever the former owner still runs cannot be sealed any more
    #[arg(long)]
    confirm: bool,
    #[command(flatten)]
    vault: VaultArgs,
}

/// Where the vault is. Options stand over the file's settings.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Vault")]
pub(crate) struct VaultArgs {
    // Not a doc comment: rustdoc would take the section's name for a link.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "url",
        help = "TOML file with a [vault] section: a scheduler's, a worker's or one of its own"
    )]
    config: Option<PathBuf>,
    /// Its address
    #[arg(
        long,
        value_name = "URL",
        help = "s3://bucket/prefix, gs://bucket/prefix, az://container/prefix or file:///path"
    )]
    url: Option<Url>,
    /// The server, when it is not the cloud's own
    #[arg(long, value_name = "URL")]
    endpoint: Option<Url>,
    /// The S3 region
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The bucket in the path instead of the host name
    #[arg(long)]
    path_style: bool,
    /// File with the access key id
    #[arg(long, value_name = "FILE")]
    access_key_file: Option<PathBuf>,
    /// File with the secret key
    #[arg(long, value_name = "FILE")]
    secret_key_file: Option<PathBuf>,
    /// File with the session token, for temporary credentials
    #[arg(long, value_name = "FILE")]
    session_token_file: Option<PathBuf>,
    /// Profile of the shared AWS configuration files
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// File with the key of an encrypted vault, instead of the settings'
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Read it as it stood then, in an S3 bucket that keeps versions
    #[arg(long, value_name = "TIME")]
    as_of: Option<DateTime<Utc>>,
}

/// The one section of a configuration file that is read here; the others are not ours to judge.
#[derive(Debug, Deserialize)]
struct Sections {
    vault: VaultConfig,
}

impl VaultArgs {
    /// The file's settings with the options over them.
    pub(crate) fn settings(&self) -> Outcome<VaultConfig> {
        let mut config = match (&self.config, &self.url) {
            (Some(file), _) => read(file)?,
            (None, Some(url)) => VaultConfig::at(url.clone()),
            (None, None) => {
                return Err(Failure::usage("no vault is named: give --config or --url"));
            }
        };
        let or = |given: &Option<PathBuf>, known| given.clone().or(known);
        config.url = self.url.clone().unwrap_or(config.url);
        config.endpoint = self.endpoint.clone().or(config.endpoint);
        config.region = self.region.clone().or(config.region);
        config.path_style = self.path_style.then_some(true).or(config.path_style);
        config.access_key_file = or(&self.access_key_file, config.access_key_file);
        config.secret_key_file = or(&self.secret_key_file, config.secret_key_file);
        config.session_token_file = or(&self.session_token_file, config.session_token_file);
        config.profile = self.profile.clone().or(config.profile);
        config.as_of = self.as_of.or(config.as_of);
        if let Some(file) = &self.key_file {
            let given = config.encryption.unwrap_or_default();
            config.encryption =
                Some(EncryptionConfig { key_file: Some(file.clone()), key_env: None, ..given });
        }
        Ok(config)
    }

    /// Opens the vault that is there.
    pub(crate) async fn open(&self) -> Outcome<Vault> {
        Ok(Vault::open(&self.settings()?).await?)
    }
}

/// The vault of a configuration file.
pub(super) fn read(file: &Path) -> Outcome<VaultConfig> {
    let refuse = |cause: &dyn std::fmt::Display| {
        let cause = cause.to_string();
        Failure::usage(format!("{}: {}", file.display(), cause.trim_end()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| refuse(&error))?;
    let sections: Sections = from_toml(&text).map_err(|error| refuse(&error))?;
    Ok(sections.vault)
}

pub(crate) async fn run(context: &Context, command: VaultCommand) -> Outcome<Exit> {
    match command {
        VaultCommand::Init(args) if args.dry_run => {
            agrees(&args.vault.settings()?, args.encrypt)?;
            check(context, &args.vault, true).await
        }
        VaultCommand::Init(args) => init(context, &args).await,
        VaultCommand::Takeover(args) => takeover(context, &args).await,
        VaultCommand::Check(args) => check(context, &args, false).await,
        VaultCommand::Recover(args) => recover(context, &args).await,
    }
}

/// Refuses a vault that would not be what the settings say: it is one or the other for ever.
fn agrees(config: &VaultConfig, encrypt: bool) -> Outcome<()> {
    match (&config.encryption, encrypt) {
        (None, true) => Err(Failure::usage("--encrypt, and the settings name no key; nothing was made").with_next(
            "ringvault key create FILE, and in the settings [vault.encryption] key_file = \"FILE\" (or --key-file FILE)",
        )),
        (Some(_), false) => {
            let message = "the settings name a key, and --encrypt was not given; nothing was made";
            Err(Failure::usage(message).with_next("add --encrypt, or take [vault.encryption] out"))
        }
        _ => Ok(()),
    }
}

async fn init(context: &Context, args: &InitArgs) -> Outcome<Exit> {
    let config = args.vault.settings()?;
    agrees(&config, args.encrypt)?;
    let deployment = args.deployment.as_deref().unwrap_or(config.deployment());
    let vault = match Vault::init(&config, deployment).await {
        Err(VaultError::AlreadyInitialised { .. }) if args.if_missing => owned(&config, deployment).await?,
        made => made?,
    };
    if vault.record().encryption.is_some() {
        context.out.note("without its key nothing in this vault can be read: keep a copy of it elsewhere");
    }
    let answer = json!({"url": vault.url(), "vault": vault.record()});
    context.out.document(&answer, || {
        let (url, record) = (vault.url(), vault.record());
        let encrypted = if record.encryption.is_some() { ", encrypted" } else { "" };
        format!("vault {} at {url}, format version {}{encrypted}\n", record.vault_id, record.version)
    })?;
    Ok(Exit::Ok)
}

/// The vault that is there, if it is this deployment's and as the settings say.
async fn owned(config: &VaultConfig, deployment: &str) -> Result<Vault, VaultError> {
    let vault = Vault::open(config).await?;
    let owner = vault.owner().await?.map(|owner| owner.deployment).unwrap_or_default();
    if owner == deployment {
        return Ok(vault);
    }
    Err(VaultError::OtherOwner { url: vault.url().to_owned(), owner, deployment: deployment.to_owned() })
}

async fn takeover(context: &Context, args: &TakeoverArgs) -> Outcome<Exit> {
    let config = args.vault.settings()?;
    let deployment = args.deployment.as_deref().unwrap_or(config.deployment());
    let vault = Vault::open(&config).await?;
    let former = vault.owner().await?.map(|owner| owner.deployment).unwrap_or_default();
    if !args.confirm {
        let message = format!("the vault {} belongs to {former:?}; nothing was changed", vault.url());
        return Err(
            Failure::usage(message).with_next("the same with --confirm, once that one is gone for good")
        );
    }
    let aborted = vault.takeover(deployment).await?;
    let names: Vec<String> = aborted.iter().map(|(cluster, backup)| format!("{cluster}/{backup}")).collect();
    let answer = json!({"url": vault.url(), "former": former, "owner": deployment, "aborted": names});
    context.out.document(&answer, || {
        let mut text = format!("vault {}: {former} -> {deployment}\n", vault.url());
        for name in &names {
            let _ = writeln!(text, "aborted {name}");
        }
        text
    })?;
    Ok(Exit::Ok)
}

/// Makes what stood at `--as-of` what is read.
async fn recover(context: &Context, args: &RecoverArgs) -> Outcome<Exit> {
    let mut config = args.vault.settings()?;
    let Some(at) = config.as_of.take() else {
        return Err(Failure::usage("back to when? --as-of TIME; nothing was changed"));
    };
    if at > Utc::now() {
        return Err(Failure::usage(format!("{at} has not come yet; nothing was changed")));
    }
    let store = Store::open(&config).await?;
    let dry_run = args.dry_run || !args.confirm;
    let found = store.stand_at(at, dry_run).await.map_err(VaultError::from)?;
    if dry_run && !args.dry_run && !found.is_empty() {
        let count = human::count(found.len() as u64, "object");
        let message = format!("{count} stood otherwise at {at}; nothing was changed");
        return Err(
            Failure::usage(message).with_next("the same with --dry-run to see which, then with --confirm")
        );
    }
    let recovered: Vec<_> = found
        .iter()
        .map(|found| json!({"key": found.key, "bytes": found.size, "hidden": found.size.is_none()}))
        .collect();
    let answer = json!({"url": config.url, "as_of": at, "dry_run": dry_run, "recovered": recovered});
    context.out.document(&answer, || {
        let mut text = String::new();
        for found in &found {
            let what = if found.size.is_some() { "brought back" } else { "hidden" };
            let _ = writeln!(text, "{what} {}", found.key);
        }
        let count = human::count(found.len() as u64, "object");
        let done = if dry_run { "would be made as they stood" } else { "are as they stood" };
        let _ = writeln!(text, "{count} {done} at {}", context.out.time(at));
        text
    })?;
    Ok(Exit::Ok)
}

/// Tries the store. `new`: there must be no vault yet.
async fn check(context: &Context, args: &VaultArgs, new: bool) -> Outcome<Exit> {
    let config = args.settings()?;
    let probes = Vault::check(&config).await?;
    context.out.document(&json!({"url": config.url, "probes": probes}), || {
        let mut table = Table::new(&["PROBE", "RESULT", "SEEN"]);
        for probe in &probes {
            let word = match (is_well(probe, new), &probe.means) {
                (false, _) => "failed",
                (true, Some(_)) => "warn",
                (true, None) => "ok",
            };
            table.row([probe.name.as_str().into(), state_cell(word), probe.detail.as_str().into()]);
        }
        let mut text = table.render(context.out.style.stdout);
        for probe in &probes {
            if let Some(means) = &probe.means {
                let _ = writeln!(text, "{}: {means}", probe.name);
            }
        }
        if new {
            let _ = writeln!(text, "nothing was made (--dry-run)");
        }
        text
    })?;
    let well = probes.iter().all(|probe| is_well(probe, new));
    let there = probes.iter().any(|probe| is_identity(probe) && probe.ok);
    Ok(match (well, new && there) {
        (_, true) => Exit::Conflict,
        (true, false) => Exit::Ok,
        (false, false) => Exit::Problems,
    })
}

fn is_identity(probe: &Probe) -> bool {
    probe.name == "identity"
}

/// Before an init it is well that there is no vault.
fn is_well(probe: &Probe, new: bool) -> bool {
    if new && is_identity(probe) { !probe.ok } else { probe.ok }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedulers_file_is_read_for_its_vault_alone() {
        let text = "listen = 'x'\n[vault]\nurl = 's3://b/p'\nregion = 'r'\n[postgres]\nurl_file = '/x'\n";
        let sections: Sections = toml::from_str(text).unwrap();
        assert_eq!(sections.vault.region.as_deref(), Some("r"));
        assert!(toml::from_str::<Sections>("[vault]\nurl = 's3://b'\nregoin = 'r'\n").is_err());
    }
}
