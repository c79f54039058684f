//! `ringvault policy`: what is done when, by itself.

use std::{fmt::Write as _, io::Read as _, path::PathBuf};

use clap::{Args, Subcommand};
use ringvault_core::{
    PolicyName,
    api::{FireState, FireView, NextFires, PolicyDiff, PolicyView},
    policy::{PolicyAction, PolicyDocument, parse_policies},
};
use serde_json::{Value, json};

use crate::{
    args::shared::ClusterOption,
    ask,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Output, Table, human, or_none, state_cell},
};

/// `policy …`
#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Make the policies be as a TOML file says; applied whole or not at all
    Apply(ApplyArgs),
    /// Every policy
    List(ClusterOption),
    /// One policy
    Show(Named),
    /// Forget a policy; its backups stay
    Delete(ChangeArgs),
    /// Keep a policy from firing
    Pause(ChangeArgs),
    /// Let a paused policy fire again
    Resume(ChangeArgs),
    /// When a policy fires next
    Next(NextArgs),
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// The file; - for stdin
    file: PathBuf,
    /// Delete policies that are not in the file
    #[arg(long)]
    prune: bool,
    /// Say what would change and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Which policy.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// Its name
    policy: PolicyName,
}

/// Which policy to change.
#[derive(Debug, Args)]
pub(crate) struct ChangeArgs {
    /// Its name
    policy: PolicyName,
    /// Say what would change and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Which policy, how often.
#[derive(Debug, Args)]
pub(crate) struct NextArgs {
    /// Its name
    policy: PolicyName,
    /// How many fires to show
    #[arg(long, short = 'n', default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
}

pub(crate) async fn run(context: &Context, command: PolicyCommand) -> Outcome<Exit> {
    match command {
        PolicyCommand::Apply(args) => apply(context, &args).await,
        PolicyCommand::List(args) => list(context, &args).await,
        PolicyCommand::Show(args) => {
            let view = context.client()?.policy(&args.policy).await?;
            context.out.document(&view, || show(&context.out, &view))?;
            Ok(Exit::Ok)
        }
        PolicyCommand::Delete(args) => delete(context, &args).await,
        PolicyCommand::Pause(args) => pause(context, &args, true).await,
        PolicyCommand::Resume(args) => pause(context, &args, false).await,
        PolicyCommand::Next(args) => {
            let fires = context.client()?.next_fires(&args.policy, args.count).await?;
            context.out.document(&fires, || next(&context.out, &fires))?;
            Ok(Exit::Ok)
        }
    }
}

/// The file is read and judged here first: what is wrong with it has its line and needs no server.
async fn apply(context: &Context, args: &ApplyArgs) -> Outcome<Exit> {
    let document = read(&args.file)?;
    let client = context.client()?;
    if args.prune && !args.dry_run {
        let ahead = client.apply_policies(&document, true, true).await?;
        if !ahead.removed.is_empty() {
            ask::agree(context, &format!("deletes {}", names(&ahead.removed)))?;
        }
    }
    let diff = client.apply_policies(&document, args.prune, args.dry_run).await?;
    context.out.document(&diff, || changes(&diff))?;
    Ok(Exit::Ok)
}

fn read(file: &PathBuf) -> Outcome<PolicyDocument> {
    let shown = file.display();
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|content| text = content)
    };
    read.map_err(|error| Failure::usage(format!("reading {shown}: {error}")))?;
    parse_policies(&text).map_err(|problem| {
        Failure::new(Exit::Usage, "RV-POLICY", format!("{shown}: {}", problem.to_string().trim_end()))
            .with_next("mend the file; nothing of it was applied")
    })
}

async fn list(context: &Context, args: &ClusterOption) -> Outcome<Exit> {
    let mut page = context.client()?.policies().await?;
    if let Some(cluster) = &args.cluster {
        page.items.retain(|view| view.policy.cluster == *cluster);
    }
    let mut table = Table::new(&["POLICY", "CLUSTER", "ACTION", "SCHEDULE", "ZONE", "STATE", "NEXT", "LAST"]);
    for view in &page.items {
        let state = if view.paused { "paused" } else { "active" };
        table.row([
            Cell::from(view.name.as_str()),
            view.policy.cluster.as_str().into(),
            word(view.policy.action).into(),
            view.policy.schedule.as_str().into(),
            view.policy.timezone.as_str().into(),
            state_cell(state),
            context.out.time_or_none(view.next_fire).into(),
            or_none(view.last_fire.as_ref().map(|fire| fired(&context.out, fire))).into(),
        ]);
    }
    let empty = "there is no policy. Next: ringvault policy apply FILE";
    context.out.list(&page, &table, empty)?;
    Ok(Exit::Ok)
}

async fn delete(context: &Context, args: &ChangeArgs) -> Outcome<Exit> {
    let client = context.client()?;
    let view = client.policy(&args.policy).await?;
    if !args.dry_run {
        ask::agree(context, &format!("deletes policy {} (its backups stay)", view.name))?;
        client.delete_policy(&view.name).await?;
    }
    let answer = json!({"policy": view.name, "deleted": !args.dry_run, "dry_run": args.dry_run});
    let verb = if args.dry_run { "would be deleted" } else { "deleted" };
    context.out.document(&answer, || format!("policy {} {verb}\n", view.name))?;
    Ok(Exit::Ok)
}

async fn pause(context: &Context, args: &ChangeArgs, pause: bool) -> Outcome<Exit> {
    let client = context.client()?;
    let out = &context.out;
    if args.dry_run {
        let view = client.policy(&args.policy).await?;
        let word = if pause { "paused" } else { "resumed" };
        let answer =
            json!({"dry_run": true, "order": if pause { "pause" } else { "resume" }, "policy": view});
        out.document(&answer, || format!("policy {} would be {word}\n", view.name))?;
        return Ok(Exit::Ok);
    }
    let view = client.pause_policy(&args.policy, pause).await?;
    out.document(&view, || {
        if pause {
            format!("policy {} is paused\n", view.name)
        } else {
            format!("policy {} fires next at {}\n", view.name, out.time_or_none(view.next_fire))
        }
    })?;
    Ok(Exit::Ok)
}

fn changes(diff: &PolicyDiff) -> String {
    let mut text = String::new();
    for policy in &diff.added {
        let _ = writeln!(text, "added      {policy}");
    }
    for change in &diff.changed {
        let _ = writeln!(text, "changed    {}", change.policy);
        for field in &change.fields {
            let (from, to) = (value(field.from.as_ref()), value(field.to.as_ref()));
            let _ = writeln!(text, "             {}: {from} -> {to}", field.field);
        }
    }
    for policy in &diff.removed {
        let _ = writeln!(text, "removed    {policy}");
    }
    for policy in &diff.unchanged {
        let _ = writeln!(text, "unchanged  {policy}");
    }
    if text.is_empty() {
        text += "the file holds no policy\n";
    }
    if diff.dry_run {
        text += "nothing was changed (--dry-run)\n";
    }
    text
}

/// As it would stand in a file, so that it can be edited and applied again.
fn show(out: &Output, view: &PolicyView) -> String {
    let policy = [(view.name.clone(), view.policy.clone())].into();
    // Made of what such a file was read to: it cannot fail to be written back.
    let mut text = toml::to_string(&PolicyDocument { policy }).unwrap_or_default();
    let _ = writeln!(text, "\n# applied {}", out.time(view.applied_at));
    let fires = if view.paused {
        "paused: it does not fire".to_owned()
    } else {
        format!("fires next at {}", out.time_or_none(view.next_fire))
    };
    let _ = writeln!(text, "# {fires}");
    if let Some(fire) = &view.last_fire {
        let _ = writeln!(text, "# last: {}", fired(out, fire));
    }
    text
}

fn next(out: &Output, fires: &NextFires) -> String {
    let mut text = format!("{} in {}\n", fires.schedule, fires.timezone);
    if fires.paused {
        text += "paused: none of these will fire\n";
    }
    for at in &fires.fires {
        let _ = writeln!(text, "{}", out.time(*at));
    }
    text
}

fn fired(out: &Output, fire: &FireView) -> String {
    let at = out.time(fire.at);
    match (fire.state, fire.job, &fire.reason) {
        (FireState::Fired, Some(job), _) => format!("{at} job {job}"),
        (FireState::Fired, None, _) => format!("{at} fired"),
        (FireState::Skipped, _, reason) => format!("{at} skipped: {}", or_none(reason.as_ref())),
    }
}

fn names(policies: &[PolicyName]) -> String {
    let names: Vec<&str> = policies.iter().map(PolicyName::as_str).collect();
    names.join(", ")
}

/// A JSON string without its quotes; anything else as JSON; nothing as `-`.
fn value(value: Option<&Value>) -> String {
    match value {
        None => human::NONE.to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The lower-case word of an enum, as in the file.
fn word(action: PolicyAction) -> String {
    serde_json::to_value(action).map_or_else(|_| human::NONE.to_owned(), |word| value(Some(&word)))
}
