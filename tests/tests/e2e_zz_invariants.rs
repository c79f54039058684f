//! After all end-to-end tests, whatever they broke and mended: every invariant holds, and jobs that
//! are over have left nothing behind. (Named so that cargo runs it last.)

use anyhow::Result;
use ringvault_tests::{
    Lab,
    invariants::{self, Moment},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_invariant_holds() -> Result<()> {
    invariants::hold(&Lab::from_env(), Moment::Settled).await
}
