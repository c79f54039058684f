//! Cursors of lists: the place of a page's last item, as opaque text.
//!
//! Lists go on after a key, never after a count, so that what comes and goes between two pages is
//! neither repeated nor makes another item be skipped.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ringvault_core::api::{DEFAULT_LIMIT, MAX_LIMIT};
use serde::{Serialize, de::DeserializeOwned};

use super::problem::{ApiError, ApiResult};

/// Writes the place of the last item.
pub(super) fn write<T: Serialize>(place: &T) -> ApiResult<String> {
    let json = serde_json::to_vec(place).map_err(|error| ApiError::defect(&error))?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

/// Reads a cursor that an earlier page gave.
pub(super) fn read<T: DeserializeOwned>(cursor: Option<&str>) -> ApiResult<Option<T>> {
    let Some(cursor) = cursor else { return Ok(None) };
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .map(Some)
        .ok_or_else(|| {
            let detail = "the cursor was not given by this list: begin again without one";
            ApiError::usage("RV-CURSOR", detail).field("cursor")
        })
}

/// How many items a page has.
pub(super) fn limit(asked: Option<u32>) -> ApiResult<usize> {
    match asked.unwrap_or(DEFAULT_LIMIT) {
        limit @ 1..=MAX_LIMIT => Ok(limit as usize),
        limit => {
            let detail = format!("limit is {limit}: it may be from 1 to {MAX_LIMIT}");
            Err(ApiError::usage("RV-LIMIT", detail).field("limit"))
        }
    }
}

/// Cuts what was read (one item more than `limit`, to know whether there is more) to a page, and
/// writes the cursor to go on with.
pub(super) fn cut<T, P: Serialize>(
    mut items: Vec<T>,
    limit: usize,
    place: impl Fn(&T) -> P,
) -> ApiResult<(Vec<T>, Option<String>)> {
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().filter(|_| more);
    let cursor = last.map(|item| write(&place(item))).transpose()?;
    Ok((items, cursor))
}

/// What to ask the database for: one item more than the page holds.
pub(super) fn ask(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_without_gaps_or_repeats() {
        let all: Vec<u32> = (0..7).collect();
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let after: Option<u32> = read(cursor.as_deref()).unwrap();
            let rest = all.iter().copied().filter(|n| after.is_none_or(|after| *n > after));
            let (items, next) = cut(rest.take(4).collect(), 3, |n| *n).unwrap();
            seen.extend(items);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_cursor_of_another_kind_is_refused() {
        for bad in ["", "!", "bm90IGpzb24", &write(&"text").unwrap()] {
            assert_eq!(read::<u32>(Some(bad)).unwrap_err().0.status, 400, "{bad}");
        }
        assert_eq!(limit(Some(0)).unwrap_err().0.field.as_deref(), Some("limit"));
        assert!(limit(Some(MAX_LIMIT + 1)).is_err());
        assert_eq!(limit(None).unwrap(), DEFAULT_LIMIT as usize);
    }
}
