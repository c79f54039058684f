//! The table of routes, a file for each noun.

mod audit;
mod backups;
mod catalog;
mod clusters;
mod events;
mod holds;
mod jobs;
mod policies;
mod policy_diff;
mod purges;
mod service;
mod tokens;

use super::route::Route;

/// Every route there is.
pub(super) fn all() -> Vec<Route> {
    [
        service::routes(),
        clusters::routes(),
        backups::routes(),
        catalog::routes(),
        jobs::routes(),
        purges::routes(),
        policies::routes(),
        holds::routes(),
        tokens::routes(),
        audit::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
