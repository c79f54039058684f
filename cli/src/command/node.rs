//! `ringvault node`: the members of a ring, and the workers beside them.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use ringvault_core::{
    ClusterName,
    api::{NodeState, NodeView, Page},
};

use crate::{
    args::shared::ClusterOption,
    ask,
    client::Client,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Cell, Facts, Output, Table, Tone, human, or_none},
};

/// `node …`
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Every node with its worker
    List(ClusterOption),
    /// One node
    Show(ShowArgs),
    /// Give a node up that is gone for good: no job waits for it any more
    Forget(ForgetArgs),
}

/// Which node goes.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    #[command(flatten)]
    node: ShowArgs,
    /// Say what would be done and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Which node.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Its address, host id or worker id; ids may be shortened while unique
    node: String,
    #[command(flatten)]
    cluster: ClusterOption,
}

pub(crate) async fn run(context: &Context, command: NodeCommand) -> Outcome<Exit> {
    let client = context.client()?;
    let out = &context.out;
    match command {
        NodeCommand::List(args) => {
            let page = nodes(&client, args.cluster.as_ref()).await?;
            out.list(&page, &table(&page.items, page.as_of), "no node is known")?;
        }
        NodeCommand::Show(args) => {
            let page = nodes(&client, args.cluster.cluster.as_ref()).await?;
            let node = pick(&page.items, &args.node)?;
            out.document(node, || show(out, node))?;
        }
        NodeCommand::Forget(args) => {
            let page = nodes(&client, args.node.cluster.cluster.as_ref()).await?;
            forget(context, &client, pick(&page.items, &args.node.node)?, args.dry_run).await?;
        }
    }
    Ok(Exit::Ok)
}

async fn forget(context: &Context, client: &Client, node: &NodeView, dry_run: bool) -> Outcome<()> {
    let cluster = &node.cluster;
    let Some(host) = node.host_id else {
        return Err(Failure::usage("this worker has no node: there is nothing to forget")
            .with_next(format!("ringvault node list -c {cluster}")));
    };
    let named = if node.address.is_empty() { host.to_string() } else { node.address.clone() };
    if !dry_run {
        ask::agree(context, &format!("makes every job of {cluster} go on without node {named}"))?;
    }
    let forgotten = client.forget_node(cluster, host, dry_run).await?;
    context.out.document(&forgotten, || match (forgotten.dry_run, forgotten.already) {
        (_, true) => format!("{named} of {cluster} was forgotten before\n"),
        (true, false) => format!("would forget {named} of {cluster}; nothing was changed\n"),
        (false, false) => format!("{named} of {cluster} is forgotten until it announces itself\n"),
    })
}

/// The nodes of one cluster, or of all.
async fn nodes(client: &Client, cluster: Option<&ClusterName>) -> Outcome<Page<NodeView>> {
    if let Some(cluster) = cluster {
        return client.nodes(cluster).await;
    }
    let clusters = client.clusters().await?;
    let mut all = Page::new(clusters.as_of, Vec::new(), None);
    for cluster in clusters.items {
        all.items.extend(client.nodes(&cluster.cluster).await?.items);
    }
    Ok(all)
}

/// The one node that `wanted` names: exactly by address, or by the beginning of an id.
fn pick<'a>(nodes: &'a [NodeView], wanted: &str) -> Outcome<&'a NodeView> {
    let begins = |id: Option<String>| id.is_some_and(|id| id.starts_with(&wanted.to_lowercase()));
    let found: Vec<&NodeView> = nodes
        .iter()
        .filter(|node| {
            node.address == wanted
                || begins(node.host_id.map(|id| id.to_string()))
                || begins(node.worker.map(|id| id.to_string()))
        })
        .collect();
    match found.as_slice() {
        [node] => Ok(node),
        [] => Err(Failure::not_found(format!("there is no node {wanted}")).with_next("ringvault node list")),
        several => {
            let places = several.iter().map(|node| format!("{} of {}", node.address, node.cluster));
            let places = places.collect::<Vec<_>>().join(", ");
            Err(Failure::usage(format!("{wanted} could be any of {places}"))
                .with_next("write more of the id, or add -c CLUSTER"))
        }
    }
}

/// The nodes under headings.
pub(super) fn table(nodes: &[NodeView], now: DateTime<Utc>) -> Table {
    let mut table = Table::new(&[
        "CLUSTER",
        "ADDRESS",
        "STATE",
        "DC",
        "RACK",
        "CASSANDRA",
        "FREE",
        "TASKS",
        "SEEN",
        "HOST ID",
        "PROBLEM",
    ]);
    for node in nodes {
        let problem = Cell::toned(or_none(node.problem.as_ref()), Tone::Bad);
        table.row([
            node.cluster.as_str().into(),
            node.address.as_str().into(),
            state(node.state),
            node.dc.as_str().into(),
            node.rack.as_str().into(),
            or_none(node.cassandra_version.as_ref()).into(),
            or_none(node.disk.map(|disk| human::size(disk.free))).into(),
            format!("{}/{}", node.tasks, node.slots).into(),
            human::ago(now, node.last_seen).into(),
            or_none(node.host_id).into(),
            if node.problem.is_some() { problem } else { human::NONE.into() },
        ]);
    }
    table
}

fn state(state: NodeState) -> Cell {
    let tone = match state {
        NodeState::Live => Tone::Good,
        NodeState::Silent => Tone::Warn,
        NodeState::Refused | NodeState::NoWorker => Tone::Bad,
    };
    Cell::toned(state.as_str(), tone)
}

fn show(out: &Output, node: &NodeView) -> String {
    let disk = node.disk.map(|disk| {
        let (free, total) = (human::size(disk.free), human::size(disk.total));
        format!("{free} free of {total}")
    });
    let mut facts = Facts::default();
    facts.add("Cluster", node.cluster.as_str());
    facts.add("Address", &node.address);
    facts.add("State", node.state.as_str());
    facts.add("Problem", or_none(node.problem.as_ref()));
    facts.add("Host id", or_none(node.host_id));
    facts.add("Worker", or_none(node.worker));
    facts.add("DC, rack", format!("{}, {}", node.dc, node.rack));
    facts.add("Tokens", node.tokens.to_string());
    facts.add("Cassandra", or_none(node.cassandra_version.as_ref()));
    facts.add("Program", or_none(node.worker_version.as_ref()));
    facts.add("Disk", or_none(disk));
    facts.add("Data", node.data_dirs.join(", "));
    facts.add("May also", node.capabilities.join(", "));
    facts.add("Tasks", format!("{} of {} slots", node.tasks, node.slots));
    facts.add("Last seen", out.time_or_none(node.last_seen));
    facts.render()
}
