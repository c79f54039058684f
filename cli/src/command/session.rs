//! `ringvault session`: who is signed in to the dashboard, and signing them out.

use clap::{Args, Subcommand};
use ringvault_core::api::SignedIn;
use serde_json::json;

use crate::{
    ask,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Output, Table},
};

/// `session …`
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Every browser that is signed in
    List,
    /// Sign a browser out, or all of a person's or token's
    End(EndArgs),
}

/// Which.
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// The session's id, or the name of who is signed in
    session: String,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &Context, command: SessionCommand) -> Outcome<Exit> {
    let client = context.client()?;
    match command {
        SessionCommand::List => {
            let page = client.sessions().await?;
            context.out.list(&page, &table(&context.out, &page.items), "no browser is signed in")?;
            Ok(Exit::Ok)
        }
        SessionCommand::End(args) => end(context, &client, &args).await,
    }
}

fn table(out: &Output, sessions: &[SignedIn]) -> Table {
    let mut table = Table::new(&["ID", "NAME", "AS", "ROLE", "SINCE", "UNTIL", "BY"]);
    for session in sessions {
        table.row([
            session.id.to_string().into(),
            session.name.as_str().into(),
            session.kind.as_str().into(),
            session.role.as_str().into(),
            out.time(session.since).into(),
            out.time(session.expires_at).into(),
            session.issuer.as_deref().unwrap_or_default().into(),
        ]);
    }
    table
}

async fn end(context: &Context, client: &Client, args: &EndArgs) -> Outcome<Exit> {
    let wanted = args.session.as_str();
    let is_meant = |session: &&SignedIn| session.name == wanted || session.id.to_string() == wanted;
    let ended = if args.dry_run {
        let found = client.sessions().await?.items.iter().filter(is_meant).count();
        if found == 0 {
            return Err(Failure::not_found(format!("nobody is signed in as {wanted}"))
                .with_next("ringvault session list"));
        }
        u64::try_from(found).unwrap_or(u64::MAX)
    } else {
        ask::agree(context, &format!("signs out every browser of {wanted} at once"))?;
        client.end_sessions(wanted).await?.ended
    };
    let answer = json!({"session": wanted, "ended": ended, "dry_run": args.dry_run});
    let verb = if args.dry_run { "would be signed out" } else { "signed out" };
    context.out.document(&answer, || format!("{wanted}: browsers {verb}: {ended}\n"))?;
    Ok(Exit::Ok)
}
