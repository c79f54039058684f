//! `ringvault audit`: who did what, and proof that nobody has changed the record since.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use ringvault_core::{
    api::{AuditAnchor, AuditEntry},
    audit::{Broken, Checker},
};
use serde::Serialize;

use crate::{
    args::shared::ClusterOption,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Facts, Table, human},
};

/// Faults listed; the rest is counted.
const LISTED: usize = 20;

/// `audit …`
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Who did what, the newest first
    List(ListArgs),
    /// The whole log as JSON lines, each with its hash
    Export(ExportArgs),
    /// Whether the log is whole and unchanged, and what the vault was told of it; exit 4 if not
    Verify(VerifyArgs),
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    cluster: ClusterOption,
    /// Only what this one did, such as "token deploy" or "policy nightly"
    #[arg(long, value_name = "WHO")]
    actor: Option<String>,
    /// Only this, such as hold.release, or all of a kind: job.
    #[arg(long, value_name = "WHAT")]
    action: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write it to this file instead of stdout; one that exists is not written over
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A file that audit export wrote; without it the scheduler's log is read
    file: Option<PathBuf>,
    /// Do not ask a scheduler what the vault was told of the log
    #[arg(long, requires = "file")]
    offline: bool,
}

pub(crate) async fn run(context: &Context, command: AuditCommand) -> Outcome<Exit> {
    match command {
        AuditCommand::List(args) => list(context, args).await,
        AuditCommand::Export(args) => export(context, &args).await,
        AuditCommand::Verify(args) => verify(context, &args).await,
    }
}

async fn list(context: &Context, args: ListArgs) -> Outcome<Exit> {
    let client = context.client()?;
    let cluster = args.cluster.cluster.as_ref();
    let page = client.audit(cluster, args.actor.as_deref(), args.action.as_deref(), args.limit).await?;
    let mut table = Table::new(&["WHEN", "WHO", "WHAT", "CLUSTER", "TO WHAT", "NR"]);
    for entry in &page.items {
        table.row([
            Cell::from(context.out.time(entry.at)),
            entry.actor.as_str().into(),
            entry.action.as_str().into(),
            entry.cluster.as_ref().map_or("-", |cluster| cluster.as_str()).into(),
            entry.target.as_str().into(),
            entry.seq.to_string().into(),
        ]);
    }
    context.out.list(&page, &table, "there is no such entry")?;
    Ok(Exit::Ok)
}

async fn export(context: &Context, args: &ExportArgs) -> Outcome<Exit> {
    let client = context.client()?;
    let failed = |error: std::io::Error| {
        let place = args.output.as_deref().map_or_else(|| "stdout".into(), Path::to_string_lossy);
        Failure::new(Exit::Failed, "RV-OUTPUT", format!("{place}: {error}"))
    };
    let mut output: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(File::create_new(path).map_err(failed)?),
        None => Box::new(std::io::stdout()),
    };
    let mut cursor = None;
    let mut entries = 0_u64;
    loop {
        let page = client.audit_chain(cursor).await?;
        for entry in &page.items {
            let line = serde_json::to_string(entry)
                .map_err(|error| Failure::new(Exit::Failed, "RV-OUTPUT", error.to_string()))?;
            writeln!(output, "{line}").map_err(failed)?;
            entries += 1;
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    output.flush().map_err(failed)?;
    if let Some(path) = &args.output {
        eprintln!("{} written to {}", human::count(entries, "line"), path.display());
    }
    Ok(Exit::Ok)
}

/// What a verify found.
#[derive(Debug, Serialize)]
struct Verdict {
    entries: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    /// What the vault was told and is true of these entries; absent where nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    anchors: Option<u64>,
    problems: Vec<String>,
}

/// Entries as they come, and what the vault was told of them.
struct Examiner {
    checker: Checker,
    anchors: Option<Vec<AuditAnchor>>,
    matched: u64,
    first: Option<u64>,
    entries: u64,
    problems: Vec<Broken>,
}

impl Examiner {
    fn take(&mut self, entry: &AuditEntry) {
        self.entries += 1;
        self.first.get_or_insert(entry.seq);
        self.problems.extend(self.checker.take(entry).err());
        let anchors = self.anchors.as_deref().unwrap_or_default();
        if let Ok(place) = anchors.binary_search_by_key(&entry.seq, |anchor| anchor.seq) {
            if anchors[place].hash == entry.hash {
                self.matched += 1;
            } else {
                self.problems.push(Broken::Rewritten(entry.seq));
            }
        }
    }

    fn verdict(mut self, is_whole_log: bool) -> Verdict {
        let last = self.checker.last();
        let beyond = |anchor: &&AuditAnchor| anchor.seq > last.unwrap_or_default();
        if is_whole_log && let Some(anchor) = self.anchors.iter().flatten().find(beyond) {
            self.problems.push(Broken::CutOff(anchor.seq));
        }
        Verdict {
            entries: self.entries,
            first: self.first,
            last,
            anchors: self.anchors.is_some().then_some(self.matched),
            problems: self.problems.iter().map(ToString::to_string).collect(),
        }
    }
}

async fn verify(context: &Context, args: &VerifyArgs) -> Outcome<Exit> {
    let client = if args.offline { None } else { Some(context.client()?) };
    let anchors = match &client {
        Some(client) => Some(client.audit_anchors().await?.items),
        None => None,
    };
    let (checker, matched, first, entries) = (Checker::default(), 0, None, 0);
    let mut examiner = Examiner { checker, anchors, matched, first, entries, problems: Vec::new() };
    match (&args.file, &client) {
        (Some(path), _) => read_file(path, &mut examiner)?,
        (None, Some(client)) => read_server(client, &mut examiner).await?,
        (None, None) => {}
    }
    if args.file.is_none() && examiner.first.is_some_and(|first| first > 1) {
        let found = examiner.first.unwrap_or_default();
        examiner.problems.insert(0, Broken::Gap { expected: 1, found });
    }
    // A file ends where it was written: what came later is no fault of it.
    let verdict = examiner.verdict(args.file.is_none());
    context.out.document(&verdict, || text(&verdict))?;
    Ok(if verdict.problems.is_empty() { Exit::Ok } else { Exit::Problems })
}

fn text(verdict: &Verdict) -> String {
    let mut facts = Facts::default();
    facts.add(
        "Entries",
        match (verdict.first, verdict.last) {
            (Some(first), Some(last)) => format!("{} ({first} to {last})", verdict.entries),
            _ => "none".to_owned(),
        },
    );
    facts.add(
        "Vault",
        verdict
            .anchors
            .map_or_else(|| "not asked".to_owned(), |anchors| format!("was told of {anchors} of them")),
    );
    if verdict.problems.is_empty() {
        facts.add("Found", "nothing wrong");
    }
    facts.each("PROBLEM", verdict.problems.iter().take(LISTED));
    let more = verdict.problems.len().saturating_sub(LISTED);
    facts.each("PROBLEM", (more > 0).then(|| format!("and {more} more")));
    facts.render()
}

async fn read_server(client: &Client, examiner: &mut Examiner) -> Outcome<()> {
    let mut cursor = None;
    loop {
        let page = client.audit_chain(cursor).await?;
        page.items.iter().for_each(|entry| examiner.take(entry));
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

fn read_file(path: &Path, examiner: &mut Examiner) -> Outcome<()> {
    let refused = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    let file = File::open(path).map_err(|error| refused(error.to_string()))?;
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let line = line.map_err(|error| refused(format!("line {number}: {error}")))?;
        let entry: AuditEntry =
            serde_json::from_str(&line).map_err(|error| refused(format!("line {number}: {error}")))?;
        examiner.take(&entry);
    }
    Ok(())
}
