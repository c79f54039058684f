//! `ringvault storage`: what is kept, what it costs, what goes next.

use clap::{Args, Subcommand};
use ringvault_core::api::ClusterStorage;

use crate::{
    args::shared::ClusterOption,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Table, human, or_none},
};

/// `storage …`
#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// What each cluster's backups take in the store, and by which policies they go
    Show(ShowArgs),
}

/// Which clusters.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    cluster: ClusterOption,
}

pub(crate) async fn run(context: &Context, command: StorageCommand) -> Outcome<Exit> {
    let StorageCommand::Show(args) = command;
    let mut report = context.client()?.storage().await?;
    if let Some(cluster) = &args.cluster.cluster {
        report.clusters.retain(|one| one.cluster == *cluster);
        if report.clusters.is_empty() {
            let message = format!("{cluster} has no backups, and had none");
            return Err(Failure::not_found(message).with_next("ringvault cluster list"));
        }
    }
    context.out.document(&report, || {
        let currency = report.price.as_ref().map(|price| price.currency.as_str());
        let cost = |one: &ClusterStorage| {
            let cost = one.cost_per_month.zip(currency);
            or_none(cost.map(|(cost, currency)| format!("{cost:.2} {currency}")))
        };
        let mut table = Table::new(&[
            "CLUSTER", "STORED", "A MONTH", "IN FULL", "KEPT", "HELD", "LEFTOVER", "OLDEST", "NEWEST",
            "GOES BY",
        ]);
        for one in &report.clusters {
            let rules: Vec<&str> = one.retentions.iter().map(|rule| rule.policy.as_str()).collect();
            table.row([
                one.cluster.as_str().into(),
                human::size(one.stored_bytes).into(),
                cost(one).into(),
                human::size(one.named_bytes).into(),
                one.kept.to_string().into(),
                one.held.to_string().into(),
                one.leftover.to_string().into(),
                human::ago(report.as_of, one.oldest).into(),
                human::ago(report.as_of, one.newest).into(),
                or_none((!rules.is_empty()).then(|| rules.join(", "))).into(),
            ]);
        }
        if table.is_empty() { "no backup was ever taken\n".to_owned() } else { table.render(false) }
    })?;
    Ok(Exit::Ok)
}
