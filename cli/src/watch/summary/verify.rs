//! A verify: what was looked at, and every finding by backup, node, table and file.

use std::{collections::BTreeMap, fmt::Write as _};

use ringvault_core::{
    HostId,
    api::JobDetail,
    job::{VerifyLevel, VerifySpec},
    task::{Finding, FindingKind},
};

use crate::output::{Cell, Facts, Output, Table, Tone, human};

/// What people call nodes: addresses by host id.
pub(crate) type Names = BTreeMap<HostId, String>;

pub(super) fn text(out: &Output, detail: &JobDetail, spec: &VerifySpec, names: &Names) -> String {
    let outcome = &detail.outcome;
    let looked = match spec.level {
        VerifyLevel::Presence => "presence and size".to_owned(),
        VerifyLevel::Digest => format!("every byte, {} read", human::size(outcome.bytes)),
        VerifyLevel::Sstable => {
            format!("every byte and the structure of every SSTable, {} read", human::size(outcome.bytes))
        }
    };
    let objects = human::count(outcome.objects, "object");
    let verdict = match outcome.damaged {
        0 => "nothing wrong".to_owned(),
        damaged => format!("{} damaged or missing", human::count(damaged, "object")),
    };
    let mut facts = Facts::default();
    facts.add("Checked", format!("{objects}: {looked}"));
    facts.add("Found", verdict);
    let mut text = facts.render();
    if !outcome.findings.is_empty() {
        text += &findings(&outcome.findings, names).render(out.style.stdout);
    }
    let listed = u64::try_from(outcome.findings.len()).unwrap_or(u64::MAX);
    if listed < outcome.damaged {
        let _ = writeln!(text, "and {} more", outcome.damaged - listed);
    }
    text
}

fn findings(findings: &[Finding], names: &Names) -> Table {
    let mut table = Table::new(&["FINDING", "BACKUP", "NODE", "KEYSPACE", "TABLE", "FILE", "DETAIL"]);
    for finding in findings {
        let node = finding.host_id.map(|host| names.get(&host).cloned().unwrap_or_else(|| host.to_string()));
        let keyspace = finding.table.as_ref().map(|table| table.keyspace.clone());
        let name = finding.table.as_ref().map(|table| table.table.clone());
        let file = finding.file.clone().unwrap_or_else(|| finding.key.clone());
        table.row([
            Cell::toned(word(finding.kind), Tone::Bad),
            finding.backup.as_str().into(),
            node.unwrap_or_default().into(),
            keyspace.unwrap_or_default().into(),
            name.unwrap_or_default().into(),
            file.into(),
            finding.detail.clone().into(),
        ]);
    }
    table
}

const fn word(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Missing => "missing",
        FindingKind::Truncated => "truncated",
        FindingKind::Corrupt => "corrupt",
        FindingKind::Record => "record",
        FindingKind::Structure => "structure",
    }
}
