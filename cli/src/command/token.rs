//! `ringvault token`: who may do what on the scheduler.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use ringvault_core::api::{Role, TokenCreate, TokenView};
use serde_json::json;

use crate::{
    ask,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Output, Table, Tone},
};

/// `token …`
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token; its secret is shown this once
    Create(CreateArgs),
    /// Every token, without its secret
    List,
    /// Make a token worthless
    Revoke(RevokeArgs),
}

/// For whom, and what it may do.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Who or what it is for
    name: String,
    /// viewer: look; operator: also start and steer jobs; admin: everything
    #[arg(long)]
    role: Role,
    /// Good for so long, such as 90d; without it for ever
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    expires_in: Option<std::time::Duration>,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Which token.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Its id, which may be shortened while it is unique, or its name
    token: String,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &Context, command: TokenCommand) -> Outcome<Exit> {
    let client = context.client()?;
    match command {
        TokenCommand::Create(args) => create(context, &client, args).await,
        TokenCommand::List => {
            let page = client.tokens().await?;
            let table = table(&context.out, &page.items, page.as_of);
            context.out.list(&page, &table, "there is no token")?;
            Ok(Exit::Ok)
        }
        TokenCommand::Revoke(args) => revoke(context, &client, &args).await,
    }
}

/// The secret alone goes to stdout, so that it can go into a file unseen.
async fn create(context: &Context, client: &Client, args: CreateArgs) -> Outcome<Exit> {
    let lifetime = args.expires_in.map(chrono::Duration::from_std).transpose();
    let lifetime = lifetime.map_err(|error| Failure::usage(format!("--expires-in: {error}")))?;
    let create = TokenCreate {
        name: args.name,
        role: args.role,
        expires_at: lifetime.map(|lifetime| Utc::now() + lifetime),
    };
    if args.dry_run {
        let answer = json!({"dry_run": true, "token": create});
        let role = create.role.as_str();
        context.out.document(&answer, || format!("would make a token for {} ({role})\n", create.name))?;
        return Ok(Exit::Ok);
    }
    let created = client.create_token(&create).await?;
    context.out.document(&created, || {
        let token = &created.token;
        let until = token
            .expires_at
            .map_or_else(|| "for ever".to_owned(), |until| format!("until {}", context.out.time(until)));
        eprintln!(
            "token {} for {} ({}), good {until}; this is the only time its secret is shown",
            token.id,
            token.name,
            token.role.as_str()
        );
        format!("{}\n", created.secret)
    })?;
    Ok(Exit::Ok)
}

fn table(out: &Output, tokens: &[TokenView], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&["ID", "NAME", "ROLE", "STATE", "CREATED", "BY", "EXPIRES", "LAST USED"]);
    for token in tokens {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(_), _) => Cell::toned("revoked", Tone::Bad),
            (None, Some(until)) if until <= now => Cell::toned("expired", Tone::Warn),
            (None, _) => Cell::toned("good", Tone::Good),
        };
        table.row([
            token.id.to_string().into(),
            token.name.as_str().into(),
            token.role.as_str().into(),
            state,
            out.time(token.created_at).into(),
            token.created_by.as_str().into(),
            out.time_or_none(token.expires_at).into(),
            out.time_or_none(token.last_used_at).into(),
        ]);
    }
    table
}

async fn revoke(context: &Context, client: &Client, args: &RevokeArgs) -> Outcome<Exit> {
    let tokens = client.tokens().await?.items;
    let token = pick(&tokens, &args.token)?;
    if !args.dry_run {
        ask::agree(context, &format!("makes the token of {} worthless at once", token.name))?;
        client.revoke_token(&token.id.to_string()).await?;
    }
    let answer =
        json!({"id": token.id, "name": token.name, "revoked": !args.dry_run, "dry_run": args.dry_run});
    let verb = if args.dry_run { "would be revoked" } else { "revoked" };
    context.out.document(&answer, || format!("token {} of {} {verb}\n", token.id, token.name))?;
    Ok(Exit::Ok)
}

/// The one token that is not revoked and has this name, or an id that begins so.
fn pick<'a>(tokens: &'a [TokenView], wanted: &str) -> Outcome<&'a TokenView> {
    let matches = |token: &&TokenView| {
        token.revoked_at.is_none()
            && (token.name == wanted || token.id.to_string().starts_with(&wanted.to_lowercase()))
    };
    let found: Vec<&TokenView> = tokens.iter().filter(matches).collect();
    match found.as_slice() {
        [token] => Ok(token),
        [] => Err(Failure::not_found(format!("there is no token {wanted} that is not revoked"))
            .with_next("ringvault token list")),
        several => {
            let ids: Vec<String> = several.iter().map(|token| token.id.to_string()).collect();
            Err(Failure::usage(format!("{wanted} could be any of {}", ids.join(", ")))
                .with_next("write more of the id"))
        }
    }
}
