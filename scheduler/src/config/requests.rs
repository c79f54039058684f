//! `[requests]`: what users of the broker may ask for over the queue.

use std::collections::BTreeMap;

use ringvault_core::api::Role;
use serde::Deserialize;

/// By the user that the broker has validated, such as `billing = "operator"`; `"*"` stands for everybody
/// who is not named, `""` for messages without a `user-id`. Whoever may publish requests at all is let
/// in by the broker.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct RequestsConfig {
    roles: BTreeMap<String, Role>,
}

impl RequestsConfig {
    /// What a user is: an operator where nothing is said.
    pub fn role_of(&self, user: &str) -> Role {
        self.roles.get(user).or_else(|| self.roles.get("*")).copied().unwrap_or(Role::Operator)
    }

    /// What the author of a message without a `user-id` is: what everybody is, and never more than an
    /// operator, as anybody who may publish can leave out its name.
    pub fn role_of_nobody(&self) -> Role {
        self.role_of("").min(Role::Operator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_named_is_an_operator_unless_it_is_said_otherwise() {
        let read = |text: &str| toml::from_str::<RequestsConfig>(text).unwrap();
        let config = read("billing = \"viewer\"\ndba = \"admin\"\n");
        let roles = ["billing", "dba", "other"].map(|user| config.role_of(user));
        assert_eq!(roles, [Role::Viewer, Role::Admin, Role::Operator]);
        assert_eq!(read("\"*\" = \"viewer\"").role_of("other"), Role::Viewer);
        assert_eq!(read("\"*\" = \"admin\"").role_of_nobody(), Role::Operator);
        assert_eq!(read("\"\" = \"viewer\"").role_of_nobody(), Role::Viewer);
        assert!(toml::from_str::<RequestsConfig>("billing = \"root\"").is_err());
    }
}
