//! The keyspaces that a drill brings a backup to: its own, beside everything that is there, and dropped
//! once they have been read.

use std::collections::BTreeSet;

use super::{InvalidRename, Renames};
use crate::JobId;

/// The job follows, and the keyspace's place among those of the drill.
const PREFIX: &str = "ringvault_drill_";
/// Hexadecimal digits of a job's id: the last twelve are random.
const DIGITS: usize = 12;

/// What the names of all keyspaces of a drill begin with.
pub fn drill_prefix(job: JobId) -> String {
    let id = job.0.simple().to_string();
    format!("{PREFIX}{}_", &id[id.len() - DIGITS..])
}

/// The keyspace that a drill makes for the one at `place` among those that it brings.
pub fn drill_keyspace(job: JobId, place: usize) -> String {
    format!("{}{place}", drill_prefix(job))
}

/// Whether a keyspace is such a one, of whatever drill: it is neither backed up nor restored.
pub fn is_drill_keyspace(keyspace: &str) -> bool {
    let Some((id, place)) = keyspace.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_')) else {
        return false;
    };
    let is_place = !place.is_empty() && place.bytes().all(|byte| byte.is_ascii_digit());
    id.len() == DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && is_place
}

/// The new names of everything that a drill brings of these keyspaces.
pub fn drill_renames(job: JobId, keyspaces: &BTreeSet<&str>) -> Result<Renames, InvalidRename> {
    let mut renames = Renames::default();
    for (place, keyspace) in keyspaces.iter().enumerate() {
        renames.add(&format!("{keyspace}={}", drill_keyspace(job, place)))?;
    }
    Ok(renames)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_keyspace_gets_one_of_the_drill_s_own() {
        let job = JobId(Uuid::from_u128(0x0199_0000_0000_7000_8000_00aa_bbcc_ddee));
        let renames = drill_renames(job, &["shop", "Users"].into()).unwrap();
        let pairs: Vec<_> = renames.pairs().collect();
        assert_eq!(pairs[0], ("Users".to_owned(), "ringvault_drill_00aabbccddee_0".to_owned()));
        assert_eq!(pairs[1], ("shop".to_owned(), "ringvault_drill_00aabbccddee_1".to_owned()));
        assert!(drill_keyspace(job, 99_999).len() <= 48);
    }

    #[test]
    fn one_is_told_by_its_name() {
        assert!(is_drill_keyspace("ringvault_drill_00aabbccddee_12"));
        for other in [
            "ringvault_drill_",
            "ringvault_drill_00aabbccddee",
            "ringvault_drill_00aabbccddee_",
            "ringvault_drill_00aabbccddee_x",
            "ringvault_drill_xxaabbccddee_1",
            "ringvault_drills",
        ] {
            assert!(!is_drill_keyspace(other), "{other}");
        }
    }
}
