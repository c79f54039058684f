//! Waiting for a condition, never for a time.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(300);
/// A machine that is shared may be so much slower than a quiet one.
const SLOWNESS: u32 = 3;

/// Looks until `look` finds something, and says what it waited for if that takes too long: several
/// times `patience`, which is more than a quiet machine needs.
pub async fn until<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let patience = patience * SLOWNESS;
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("after {} s still no {what}", patience.as_secs());
        }
        sleep(INTERVAL).await;
    }
}
