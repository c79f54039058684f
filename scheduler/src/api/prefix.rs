//! Shortened ids: any beginning of a job's id means it, while it is the only one.

use ringvault_core::JobId;
use ringvault_state::{PgConnection, read::jobs};
use uuid::Uuid;

use super::problem::{ApiError, ApiResult};

/// Ids that are told when several could be meant.
const CANDIDATES: i64 = 10;

/// The job that `text` means.
pub(super) async fn resolve(conn: &mut PgConnection, text: &str) -> ApiResult<JobId> {
    let Some((low, high)) = range(text) else {
        let detail = format!("{text:?} is no job's id nor the beginning of one");
        return Err(ApiError::usage("RV-JOB-ID", detail).field("job").next("ringvault job list"));
    };
    let mut found = jobs::between(conn, low, high, CANDIDATES + 1).await?;
    match (found.len(), found.pop()) {
        (1, Some(job)) => Ok(job),
        (0, _) | (_, None) => {
            let detail = format!("there is no job {text}");
            Err(ApiError::not_found("RV-JOB-UNKNOWN", detail).next("ringvault job list"))
        }
        (_, Some(last)) => {
            found.push(last);
            found.truncate(10);
            let detail = format!("{text} is the beginning of several jobs' ids");
            Err(ApiError::conflict("RV-JOB-AMBIGUOUS", detail)
                .candidates(found.iter().map(JobId::to_string).collect())
                .next("give more of the id"))
        }
    }
}

/// The first and last id that begin with `text`; hyphens may stand anywhere or be left out.
fn range(text: &str) -> Option<(Uuid, Uuid)> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    if digits.is_empty() || digits.len() > 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let low = Uuid::parse_str(&format!("{digits:0<32}")).ok()?;
    let high = Uuid::parse_str(&format!("{digits:f<32}")).ok()?;
    Some((low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_of_an_id_is_a_range_of_ids() {
        let id = Uuid::now_v7();
        let text = id.to_string();
        for length in 1..=text.len() {
            let (low, high) = range(&text[..length]).unwrap();
            assert!(low <= id && id <= high, "{length}");
        }
        assert_eq!(range(&text), Some((id, id)));
        assert_eq!(range(&id.simple().to_string().to_uppercase()), Some((id, id)));
        let (low, high) = range("01").unwrap();
        assert_eq!(low.to_string(), "01000000-0000-0000-0000-000000000000");
        assert_eq!(high.to_string(), "01ffffff-ffff-ffff-ffff-ffffffffffff");
        for bad in ["", "-", "xyz", "0x1", &"0".repeat(33)] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
