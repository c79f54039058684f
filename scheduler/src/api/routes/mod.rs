//! The table of routes, a file for each noun.

mod audit;
mod backups;
mod calendar;
mod catalog;
mod clusters;
mod events;
mod evidence;
mod holds;
mod jobs;
mod notify;
mod policies;
mod policy_diff;
mod purges;
mod rows;
mod service;
mod session;
mod sessions;
mod sign_in;
mod storage;
mod tokens;

use super::route::Route;
#[cfg(test)]
pub(super) use session::SESSION;

/// Every route there is.
pub(super) fn all() -> Vec<Route> {
    [
        service::routes(),
        clusters::routes(),
        calendar::routes(),
        backups::routes(),
        catalog::routes(),
        jobs::routes(),
        rows::routes(),
        purges::routes(),
        notify::routes(),
        policies::routes(),
        holds::routes(),
        storage::routes(),
        evidence::routes(),
        session::routes(),
        sessions::routes(),
        sign_in::routes(),
        tokens::routes(),
        audit::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
