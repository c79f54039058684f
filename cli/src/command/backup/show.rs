//! One backup in full.

use ringvault_core::{
    api::BackupDetail,
    job::{BackupMode, VerifyLevel},
    selection::{Selection, TableName},
};

use crate::output::{Cell, Facts, Output, Table, Tone, human, or_none};

/// What it is, what it holds by node and keyspace, what keeps it.
pub(super) fn text(out: &Output, detail: &BackupDetail) -> String {
    let mut text = facts(out, detail).render();
    for table in [nodes(detail), keyspaces(detail)] {
        if !table.is_empty() {
            text.push('\n');
            text += &table.render(out.style.stdout);
        }
    }
    text
}

fn facts(out: &Output, detail: &BackupDetail) -> Facts {
    let summary = &detail.summary;
    let figures = &summary.figures;
    let tags = summary.tags.iter();
    let tags = tags.map(|(key, value)| format!("{key}={value}"));
    let mut facts = Facts::default();
    facts.add("Backup", summary.name.as_str());
    facts.add("Cluster", summary.cluster.as_str());
    facts.add("State", summary.state.as_str());
    facts.add("Job", summary.job.to_string());
    facts.add("Policy", or_none(summary.policy.as_ref()));
    facts.add("Started", out.time(summary.started_at));
    facts.add("Sealed", out.time_or_none(summary.sealed_at));
    facts.add(
        "Mode",
        match detail.mode {
            BackupMode::Incremental => "incremental",
            BackupMode::Full => "full",
        },
    );
    facts.add("Tables", asked_for(&detail.selection));
    if summary.sealed_at.is_some() {
        facts.add("Nodes", format!("{}/{}", figures.nodes_held, figures.nodes_total));
        let (sstables, files) =
            (human::count(figures.sstables, "SSTable"), human::count(figures.files, "file"));
        facts.add("Size", format!("{}, {sstables}, {files}", human::size(figures.bytes)));
        let objects = human::count(figures.objects_new, "object");
        facts.add("New", format!("{}, {objects}", human::size(figures.bytes_new)));
    }
    if let Some(until) = summary.locked_until {
        facts.add("Locked", format!("until {}: nobody can delete it before", out.time(until)));
    }
    facts.add("Tags", tags.collect::<Vec<_>>().join(", "));
    facts.each("Remark", &detail.remarks);
    if summary.tainted {
        facts.add("Remark", "taken while a restore of this cluster was under way or had failed there");
    }
    for hold in &detail.held_by {
        let reason = hold.reason.as_deref().unwrap_or("a job works on it");
        let since = out.time(hold.set_at);
        facts.add("Held", format!("by {} since {since}: {reason}", hold.name));
    }
    for verification in &detail.verifications {
        let level = match verification.level {
            VerifyLevel::Presence => "presence",
            VerifyLevel::Digest => "digest",
            VerifyLevel::Sstable => "sstable",
        };
        let (at, damaged) = (out.time(verification.at), verification.damaged);
        facts.add("Verified", format!("{at} {level}: {damaged} damaged"));
    }
    facts
}

fn asked_for(selection: &Selection) -> String {
    let join = |keyspaces: &[String], tables: &[TableName]| {
        let tables = tables.iter().map(ToString::to_string);
        keyspaces.iter().cloned().chain(tables).collect::<Vec<_>>().join(", ")
    };
    let what = if selection.names_nothing() {
        "everything".to_owned()
    } else {
        join(&selection.keyspaces, &selection.tables)
    };
    match join(&[], &selection.exclude).as_str() {
        "" => what,
        left_out => format!("{what} without {left_out}"),
    }
}

fn nodes(detail: &BackupDetail) -> Table {
    let mut table = Table::new(&["NODE", "HOST ID", "HELD", "SSTABLES", "FILES", "SIZE", "NEW"]);
    for node in &detail.nodes {
        table.row([
            node.address.as_str().into(),
            node.host_id.to_string().into(),
            if node.held { "yes".into() } else { Cell::toned("NO", Tone::Bad) },
            node.sstables.to_string().into(),
            node.files.to_string().into(),
            human::size(node.bytes).into(),
            human::size(node.bytes_new).into(),
        ]);
    }
    table
}

fn keyspaces(detail: &BackupDetail) -> Table {
    let mut table = Table::new(&["KEYSPACE", "RANGES", "HELD"]);
    let report = detail.coverage.iter();
    for (keyspace, held) in report.flat_map(|report| &report.keyspaces) {
        let tone = if held.held < held.ranges { Tone::Warn } else { Tone::Plain };
        table.row([
            keyspace.as_str().into(),
            held.ranges.to_string().into(),
            Cell::toned(held.held.to_string(), tone),
        ]);
    }
    table
}
