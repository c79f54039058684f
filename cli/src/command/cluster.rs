//! `ringvault cluster`: which clusters there are, and their rings now and then.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use ringvault_core::{
    ClusterName,
    api::{ClusterDetail, ClusterRebind, TopologyView},
    cluster::Replication,
};

use super::node;
use crate::{
    args::shared::ClusterNamed,
    ask,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Facts, Output, Table, human, or_none},
};

/// `cluster …`
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Every cluster that a worker has announced
    List,
    /// One cluster with its nodes
    Show(ClusterNamed),
    /// The ring: who owns what, now or as it was
    Topology(TopologyArgs),
    /// Free the id of a ring that is gone for good: the next ring that claims it gets it
    Rebind(RebindArgs),
}

/// Whose id.
#[derive(Debug, Args)]
pub(crate) struct RebindArgs {
    #[command(flatten)]
    cluster: ClusterNamed,
    /// The cluster's name again
    #[arg(long, value_name = "CLUSTER")]
    confirm: Option<ClusterName>,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Which ring.
#[derive(Debug, Args)]
pub(crate) struct TopologyArgs {
    #[command(flatten)]
    cluster: ClusterNamed,
    /// As it was known at this time, such as 2026-11-22T02:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<DateTime<Utc>>,
}

pub(crate) async fn run(context: &Context, command: ClusterCommand) -> Outcome<Exit> {
    let client = context.client()?;
    let out = &context.out;
    match command {
        ClusterCommand::List => {
            let page = client.clusters().await?;
            let mut table = Table::new(&["CLUSTER", "NODES", "WORKERS", "DCS", "CASSANDRA", "LAST SEEN"]);
            for cluster in &page.items {
                table.row([
                    Cell::from(cluster.cluster.as_str()),
                    cluster.nodes.to_string().into(),
                    format!("{}/{}", cluster.workers_live, cluster.nodes).into(),
                    cluster.dcs.join(",").into(),
                    cluster.cassandra_versions.join(",").into(),
                    human::ago(page.as_of, cluster.last_seen).into(),
                ]);
            }
            out.list(
                &page,
                &table,
                "no cluster has announced itself: start a worker beside each Cassandra node",
            )?;
        }
        ClusterCommand::Show(args) => {
            let cluster = named(&args)?;
            let detail = client.cluster(cluster).await?;
            out.document(&detail, || show(out, &detail))?;
        }
        ClusterCommand::Topology(args) => {
            let cluster = named(&args.cluster)?;
            let view = client.topology(cluster, args.at).await?;
            out.document(&view, || topology(out, &view))?;
        }
        ClusterCommand::Rebind(args) => rebind(context, &client, &args).await?,
    }
    Ok(Exit::Ok)
}

async fn rebind(context: &Context, client: &Client, args: &RebindArgs) -> Outcome<()> {
    let cluster = named(&args.cluster)?;
    if !args.dry_run {
        let given = args.confirm.as_ref().map(ClusterName::as_str);
        let what = format!("takes the id {cluster} from the ring that has it");
        ask::confirm(&what, cluster.as_str(), given)?;
    }
    let confirm = (!args.dry_run).then(|| cluster.clone());
    let asked = ClusterRebind { confirm, dry_run: args.dry_run };
    let rebound = client.rebind_cluster(cluster, &asked).await?;
    context.out.document(&rebound, || {
        let nodes = human::count(u64::try_from(rebound.was.len()).unwrap_or(u64::MAX), "node");
        let waiting = human::count(u64::from(rebound.refused), "worker");
        let (verb, tail) = if rebound.dry_run {
            ("would free", "; nothing was changed")
        } else {
            ("freed", "; the next ring that claims it gets it")
        };
        format!("{verb} {cluster}, bound to a ring of {nodes}; {waiting} of another ring wait for it{tail}\n")
    })
}

/// The parser has seen to it that one of the two ways to name it was used.
fn named(args: &ClusterNamed) -> Outcome<&ringvault_core::ClusterName> {
    args.get().ok_or_else(|| Failure::usage("no cluster is named").with_next("ringvault cluster list"))
}

fn show(out: &Output, detail: &ClusterDetail) -> String {
    let summary = &detail.summary;
    let workers = format!("{}/{} live", summary.workers_live, summary.nodes);
    let mut facts = Facts::default();
    facts.add("Cluster", summary.cluster.as_str());
    facts.add("Workers", workers);
    facts.add("DCs", summary.dcs.join(", "));
    facts.add("Cassandra", summary.cassandra_versions.join(", "));
    facts.add("Partitioner", or_none(detail.partitioner.as_ref()));
    facts.add("Keyspaces", detail.keyspaces.join(", "));
    facts.add("Backups", detail.backups.to_string());
    facts.add("Last good", or_none(detail.last_good.as_ref()));
    facts.add("First seen", out.time(summary.first_seen));
    facts.add("Last seen", out.time_or_none(summary.last_seen));
    let members = node::table(&detail.members, Utc::now());
    format!("{}\n{}", facts.render(), members.render(out.style.stdout))
}

fn topology(out: &Output, view: &TopologyView) -> String {
    let mut text = format!("{} since {}", view.cluster, out.time(view.since));
    if let Some(until) = view.until {
        let _ = write!(text, " until {}", out.time(until));
    }
    text.push('\n');
    let mut nodes = Table::new(&["ADDRESS", "HOST ID", "DC", "RACK", "TOKENS"]);
    for node in &view.topology.nodes {
        nodes.row([
            Cell::from(node.address.as_str()),
            node.host_id.to_string().into(),
            node.dc.as_str().into(),
            node.rack.as_str().into(),
            node.tokens.len().to_string().into(),
        ]);
    }
    text += &nodes.render(out.style.stdout);
    let mut keyspaces = Table::new(&["KEYSPACE", "REPLICATION"]);
    for (keyspace, replication) in &view.topology.keyspaces {
        keyspaces.row([Cell::from(keyspace.as_str()), words(replication).into()]);
    }
    if !keyspaces.is_empty() {
        text.push('\n');
        text += &keyspaces.render(out.style.stdout);
    }
    text
}

fn words(replication: &Replication) -> String {
    match replication {
        Replication::Local => "local".to_owned(),
        Replication::Everywhere => "everywhere".to_owned(),
        Replication::Simple { factor } => format!("{factor}"),
        Replication::NetworkTopology { factors } => {
            let each = factors.iter().map(|(dc, factor)| format!("{dc}:{factor}"));
            each.collect::<Vec<_>>().join(" ")
        }
    }
}
