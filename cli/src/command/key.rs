//! `ringvault key`: the keys of an encrypted vault, reached without a scheduler. No key is ever printed.

use std::{
    fmt::Write as _, fs::OpenOptions, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf,
};

use clap::{Args, Subcommand};
use ringvault_vault::crypt::{KeyChange, KeyId, KeysOfVault, Rotated, SecretKey, VaultKeyUse};
use serde_json::json;

use super::vault::VaultArgs;
use crate::{
    ask::agree,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, Table, state_cell},
};

/// `key …`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key-encryption key in a new file; exit 6 if the file is there
    Create(CreateArgs),
    /// Which keys open the vault, which are configured, and the data keys that it has
    List(VaultArgs),
    /// Let the configured key open the vault, and no other; nothing is uploaded again
    Rotate(RotateArgs),
}

/// Where the key goes.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The new file; only its owner may read it
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What changes.
#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    /// Seal new objects under a new data key too; old ones stay as they are and can be read
    #[arg(long)]
    data_key: bool,
    /// Let the other configured keys open the vault too, if they do now
    #[arg(long)]
    keep_former: bool,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    vault: VaultArgs,
}

pub(crate) async fn run(context: &Context, command: KeyCommand) -> Outcome<Exit> {
    match command {
        KeyCommand::Create(args) => create(context, &args),
        KeyCommand::List(args) => list(context, &args).await,
        KeyCommand::Rotate(args) => rotate(context, &args).await,
    }
}

fn create(context: &Context, args: &CreateArgs) -> Outcome<Exit> {
    let path = args.file.display();
    let key =
        SecretKey::generate().map_err(|error| Failure::new(Exit::Failed, "RV-RANDOM", error.to_string()))?;
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.file);
    let written =
        made.and_then(|mut file| file.write_all(key.to_text().as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(
            Exit::Conflict,
            "RV-KEY-EXISTS",
            format!("{path} is there already; nothing was changed"),
        ),
        _ => Failure::new(Exit::Failed, "RV-KEY-FILE", format!("writing {path}: {error}")),
    })?;
    let answer = json!({"file": args.file, "id": key.id()});
    context.out.document(&answer, || format!("key {} in {path}\n", key.id()))?;
    context.out.note("keep a copy of it elsewhere: what is encrypted with it can be read with nothing else");
    Ok(Exit::Ok)
}

async fn list(context: &Context, args: &VaultArgs) -> Outcome<Exit> {
    let vault = args.open().await?;
    let Some(keys) = vault.keys().await? else {
        let answer = json!({"url": vault.url(), "encrypted": false, "keys": []});
        context.out.document(&answer, || format!("the vault {} is not encrypted\n", vault.url()))?;
        return Ok(Exit::Ok);
    };
    let record = &keys.record;
    let answer = json!({
        "url": vault.url(),
        "encrypted": true,
        "generation": record.generation,
        "written_at": record.written_at,
        "opened_by": record.wrapped_by(),
        "configured": keys.given,
        "unfinished": keys.left,
        "keys": record.keys.iter().map(|key| json!({
            "id": key.id, "use": key.used_for, "created_at": key.created_at,
            "active": record.active == Some(key.id),
            "wrapped_by": key.wrapped.iter().map(|wrapped| wrapped.by).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    });
    context.out.document(&answer, || text(&context.out, &keys))?;
    if !keys.left.is_empty() {
        context.out.note(
            "a rotation was cut short: ringvault key rotate again takes the former keys out of the vault",
        );
    }
    Ok(Exit::Ok)
}

fn text(out: &Output, keys: &KeysOfVault) -> String {
    let record = &keys.record;
    let mut table = Table::new(&["KEY", "KIND", "STATE", "SINCE"]);
    let opens = record.wrapped_by();
    for id in &opens {
        let state = if keys.given.contains(id) { "configured" } else { "not configured" };
        table.row([id.to_string().into(), "key-encryption".into(), state.into(), "".into()]);
    }
    for id in keys.given.iter().filter(|id| !opens.contains(id)) {
        table.row([id.to_string().into(), "key-encryption".into(), "does not open it".into(), "".into()]);
    }
    for key in &record.keys {
        let (kind, state) = match key.used_for {
            VaultKeyUse::Hash => ("hash", "active"),
            VaultKeyUse::Data if record.active == Some(key.id) => ("data", "active"),
            VaultKeyUse::Data => ("data", "former"),
        };
        let since = out.time_or_none(Some(key.created_at));
        table.row([key.id.to_string().into(), kind.into(), state_cell(state), since.into()]);
    }
    table.render(out.style.stdout)
}

async fn rotate(context: &Context, args: &RotateArgs) -> Outcome<Exit> {
    let vault = args.vault.open().await?;
    let change = KeyChange { new_data_key: args.data_key, keep_former: args.keep_former };
    let mut rotated = vault.rotate_keys(change, true).await?;
    if !args.dry_run {
        if !rotated.closed_to.is_empty() {
            let closed = ids(&rotated.closed_to);
            agree(
                context,
                &format!(
                    "closes the vault to key {closed}: whoever is configured with nothing else is refused at its next start"
                ),
            )?;
        }
        rotated = vault.rotate_keys(change, false).await?;
    }
    let answer = json!({"url": vault.url(), "dry_run": args.dry_run, "rotation": rotated});
    context.out.document(&answer, || told(&rotated, args.dry_run))?;
    Ok(Exit::Ok)
}

fn told(rotated: &Rotated, dry_run: bool) -> String {
    let mut text = match (rotated.changed, dry_run) {
        (false, _) => "nothing to change: the configured key opens the vault already\n".to_owned(),
        (true, false) => format!("generation {} of the vault's keys\n", rotated.generation),
        (true, true) => {
            format!("would become generation {} of the vault's keys (--dry-run)\n", rotated.generation)
        }
    };
    let _ = writeln!(text, "opened by {}", ids(&rotated.opened_by));
    if !rotated.closed_to.is_empty() {
        let _ = writeln!(text, "closed to {}", ids(&rotated.closed_to));
    }
    if !dry_run {
        let _ = writeln!(text, "new objects under data key {}", rotated.active);
    }
    text
}

fn ids(ids: &[KeyId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
