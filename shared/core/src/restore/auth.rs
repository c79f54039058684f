//! Where the roles and grants of a backup are loaded before they are put in place.
//!
//! `system_auth` is neither emptied (nobody could log in meanwhile, and after a restore that broke
//! off nobody ever could) nor loaded into (a role that was dropped since the backup would stay
//! dropped: its deletion is newer). Its tables are loaded beside it, into a keyspace of the
//! restore's own, and what differs is written like any other change of a role.

use crate::{JobId, selection::TableName};

/// The keyspace of roles and grants.
pub const AUTH_KEYSPACE: &str = "system_auth";

/// A job's id follows; together 47 of the 48 characters that a keyspace's name may have.
const PREFIX: &str = "ringvault_auth_";

/// The keyspace that a restore loads the tables of `system_auth` into.
pub fn auth_copy_keyspace(job: JobId) -> String {
    format!("{PREFIX}{}", job.0.simple())
}

/// Whether a keyspace is such a one, of whatever restore: it is not backed up.
pub fn is_auth_copy(keyspace: &str) -> bool {
    keyspace
        .strip_prefix(PREFIX)
        .is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The table that a restore hands a table's SSTables to.
pub fn loaded_as(job: JobId, table: &TableName) -> TableName {
    if table.keyspace == AUTH_KEYSPACE {
        TableName::new(auth_copy_keyspace(job), &table.table)
    } else {
        table.clone()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_roles_and_grants_are_loaded_elsewhere() {
        let job = JobId(Uuid::from_u128(7));
        let roles = loaded_as(job, &TableName::new("system_auth", "roles"));
        assert_eq!(roles.to_string(), "ringvault_auth_00000000000000000000000000000007.roles");
        assert!(roles.keyspace.len() <= 48);
        let own = TableName::new("k", "roles");
        assert_eq!(loaded_as(job, &own), own);
    }

    #[test]
    fn a_copy_is_told_by_its_name() {
        assert!(is_auth_copy(&auth_copy_keyspace(JobId(Uuid::from_u128(u128::MAX)))));
        for other in ["ringvault_auth_", "ringvault_auth_7", "system_auth", "x_ringvault_auth_"] {
            assert!(!is_auth_copy(other), "{other}");
        }
    }
}
