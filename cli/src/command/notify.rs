//! `ringvault notify`: whom the scheduler tells what, and whether it arrives.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use ringvault_core::{
    api::{NoticeState, NoticeView, NotifierView},
    notice::Happening,
};
use serde_json::json;

use crate::{
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Output, Table, Tone, human, one_line},
};

/// Between two looks at a notice.
const LOOK: Duration = Duration::from_millis(300);

/// `notify …`
#[derive(Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// Every receiver in the scheduler's configuration
    List,
    /// Send a notice that says it is a test, and wait whether it is taken
    Test(TestArgs),
}

/// Whom.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The receiver's name: that of its [notify.NAME]
    name: String,
    /// Wait at most so long; it is tried further all the same
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "30s")]
    timeout: Duration,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) async fn run(context: &Context, command: NotifyCommand) -> Outcome<Exit> {
    let client = context.client()?;
    match command {
        NotifyCommand::List => {
            let page = client.notifiers().await?;
            let table = table(&context.out, &page.items);
            context.out.list(&page, &table, "there is no [notify.NAME] in the scheduler's configuration")?;
            Ok(Exit::Ok)
        }
        NotifyCommand::Test(args) => test(context, &client, &args).await,
    }
}

fn table(out: &Output, notifiers: &[NotifierView]) -> Table {
    let mut table =
        Table::new(&["NAME", "KIND", "TO", "EVENTS", "PENDING", "LAST SENT", "GIVEN UP", "PROBLEM"]);
    for notifier in notifiers {
        let events: Vec<&str> = notifier.filter.events.iter().copied().map(Happening::as_str).collect();
        let problem = notifier.error.as_deref().map_or_else(|| human::NONE.to_owned(), one_line);
        let tone = if notifier.error.is_some() { Tone::Bad } else { Tone::Plain };
        table.row([
            notifier.name.as_str().into(),
            notifier.kind.as_str().into(),
            notifier.to.as_str().into(),
            events.join(",").into(),
            notifier.pending.to_string().into(),
            out.time_or_none(notifier.last_sent_at).into(),
            out.time_or_none(notifier.last_given_up_at).into(),
            Cell::toned(problem, tone),
        ]);
    }
    table
}

async fn test(context: &Context, client: &Client, args: &TestArgs) -> Outcome<Exit> {
    let name = args.name.as_str();
    if args.dry_run {
        if !client.notifiers().await?.items.iter().any(|notifier| notifier.name == name) {
            let why = format!("there is no [notify.{name}] in the scheduler's configuration");
            return Err(Failure::not_found(why).with_next("ringvault notify list"));
        }
        let answer = json!({"dry_run": true, "notifier": name});
        context.out.document(&answer, || format!("would send a test to {name}\n"))?;
        return Ok(Exit::Ok);
    }
    let until = Instant::now() + args.timeout;
    let mut notice = client.test_notifier(name).await?;
    while notice.state == NoticeState::Pending && notice.error.is_none() && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        notice = client.notice(&notice.id.to_string()).await?;
    }
    context.out.document(&notice, || told(&notice))?;
    Ok(match (notice.state, &notice.error) {
        (NoticeState::Sent, _) => Exit::Ok,
        (NoticeState::GivenUp, _) | (NoticeState::Pending, Some(_)) => Exit::Failed,
        (NoticeState::Pending, None) => Exit::TimedOut,
    })
}

fn told(notice: &NoticeView) -> String {
    let (name, id) = (&notice.notifier, notice.id);
    let why = notice.error.as_deref().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
    match notice.state {
        NoticeState::Sent => format!("{name} has taken it (delivery {id})\n"),
        NoticeState::GivenUp => {
            format!("{name} has not taken it, and it was given up{why} (delivery {id})\n")
        }
        NoticeState::Pending => {
            format!("{name} has not taken it yet, it is tried further{why} (delivery {id})\n")
        }
    }
}
