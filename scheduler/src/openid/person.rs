//! From what the provider says of somebody to a name and a role. Pure.
//!
//! A role comes from groups, or from what is said of a single person; of several the most. A single
//! person is known by what nobody may choose for themselves: `sub`, an e-mail address that the provider
//! does not call unverified, or the claim that the configuration names. `preferred_username` is to call
//! somebody by, no more: at many providers people change theirs as they like (OpenID Connect Core 5.7).

use ringvault_core::api::Role;
use serde_json::Value;

use super::{id_token::Claims, trouble::Trouble};
use crate::config::OidcConfig;

/// Longest name, in characters.
const LONGEST_NAME: usize = 200;

/// Somebody whom the provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Person {
    /// What they are called, here and in the audit log.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) role: Role,
    /// Who they are for the provider, for good (`sub`).
    pub(crate) subject: String,
}

impl Person {
    /// Reads the claims of a token that was verified.
    pub(crate) fn of(claims: &Claims, config: &OidcConfig) -> Result<Self, Trouble> {
        let subject = text(claims, "sub").unwrap_or_default();
        let email = believed_email(claims);
        let by_claim = config.name_claim.as_deref().and_then(|claim| match claim {
            "email" => email,
            claim => text(claims, claim),
        });
        let usual = || email.or_else(|| text(claims, "preferred_username"));
        let called = if config.name_claim.is_some() { by_claim } else { usual() };
        let name = called.unwrap_or(subject).trim().to_owned();
        if let Some(why) = unfit(&name) {
            let claim = config.name_claim.clone().unwrap_or_else(|| "email or preferred_username".to_owned());
            return Err(Trouble::Name { claim, why });
        }
        let groups = groups(claims, &config.groups_claim);
        let by_group = groups.iter().filter_map(|group| config.groups.get(*group));
        let themselves = [Some(subject), email, by_claim, Some("*")];
        let by_name = themselves.iter().flatten().filter_map(|known| config.users.get(*known));
        match by_group.chain(by_name).max() {
            Some(role) => Ok(Self { name, role: *role, subject: subject.to_owned() }),
            None => Err(Trouble::NoRole { name }),
        }
    }
}

/// Whether something is missing that the provider may tell elsewhere (`userinfo`).
pub(super) fn lacks(claims: &Claims, config: &OidcConfig) -> bool {
    let is_missing = |claim: &str| find(claims, claim).is_none();
    let lacks_name = match config.name_claim.as_deref() {
        Some(claim) => is_missing(claim),
        None => is_missing("email"),
    };
    lacks_name
        || (!config.groups.is_empty() && is_missing(&config.groups_claim))
        || (!config.users.is_empty() && is_missing("email"))
}

/// Adds what `userinfo` says to what the token says, which stands.
pub(super) fn complete(claims: &mut Claims, more: Claims) -> Result<(), Trouble> {
    // Else it may be about somebody else (OpenID Connect Core 5.3.2).
    if more.get("sub") != claims.get("sub") {
        return Err(super::id_token::Fault::Nobody.into());
    }
    for (claim, value) in more {
        claims.entry(claim).or_insert(value);
    }
    Ok(())
}

/// A claim by its name, which may hold dots itself (`https://example.com/groups`), or by its path.
fn find<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut parts = path.split('.');
    let first = claims.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn text<'a>(claims: &'a Claims, path: &str) -> Option<&'a str> {
    find(claims, path).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

/// The e-mail address, unless the provider says that nobody has checked whose it is.
fn believed_email(claims: &Claims) -> Option<&str> {
    let is_denied = claims.get("email_verified").is_some_and(|said| *said == false || said == "false");
    text(claims, "email").filter(|_| !is_denied)
}

/// Groups are a list of names, or one name.
fn groups<'a>(claims: &'a Claims, path: &str) -> Vec<&'a str> {
    match find(claims, path) {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name],
        _ => Vec::new(),
    }
}

/// Why it cannot stand in a log or on a page.
fn unfit(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.chars().count() > LONGEST_NAME {
        Some("it is longer than 200 characters")
    } else if name.chars().any(char::is_control) {
        Some("it has control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(more: &str) -> OidcConfig {
        let least = "issuer = \"https://l.example\"\nclient_id = \"r\"\nbase_url = \"https://r.example\"\n";
        toml::from_str(&format!("{least}{more}")).unwrap()
    }

    fn claims(value: Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    const ROLES: &str = "[groups]\nbackup-admins = \"admin\"\nsre = \"operator\"\nstaff = \"viewer\"\n";

    #[test]
    fn of_several_groups_the_most_counts_and_of_none_nothing() {
        let config = config(ROLES);
        for (groups, role) in [
            (json!(["staff"]), Some(Role::Viewer)),
            (json!(["staff", "sre"]), Some(Role::Operator)),
            (json!(["backup-admins", "sre", "other"]), Some(Role::Admin)),
            (json!("sre"), Some(Role::Operator)),
            (json!([]), None),
            (json!(["SRE", "sre ", 7, ["sre"]]), None),
            (json!({"sre": true}), None),
            (Value::Null, None),
        ] {
            let found = Person::of(&claims(json!({"sub": "1", "email": "a@b", "groups": groups})), &config);
            assert_eq!(found.as_ref().ok().map(|person| person.role), role, "{groups}");
            if role.is_none() {
                assert_eq!(found, Err(Trouble::NoRole { name: "a@b".to_owned() }));
            }
        }
    }

    #[test]
    fn groups_may_lie_within_and_names_may_hold_dots() {
        let within = config(&format!("groups_claim = \"realm_access.roles\"\n{ROLES}"));
        let found = Person::of(&claims(json!({"sub": "1", "realm_access": {"roles": ["sre"]}})), &within);
        assert_eq!(found.unwrap().role, Role::Operator);
        let dotted = config(&format!("groups_claim = \"https://example.com/groups\"\n{ROLES}"));
        let found = Person::of(&claims(json!({"sub": "1", "https://example.com/groups": ["sre"]})), &dotted);
        assert_eq!(found.unwrap().role, Role::Operator);
    }

    #[test]
    fn a_person_is_called_by_the_first_claim_there_is() {
        let usual = config("users = { \"*\" = \"viewer\" }");
        let by_upn = config("name_claim = \"upn\"\nusers = { \"*\" = \"viewer\" }");
        let by_email = config("name_claim = \"email\"\nusers = { \"*\" = \"viewer\" }");
        let name = |value: Value, config: &OidcConfig| Person::of(&claims(value), config).unwrap().name;
        assert_eq!(name(json!({"sub": "1", "email": " a@b ", "preferred_username": "a"}), &usual), "a@b");
        assert_eq!(name(json!({"sub": "1", "preferred_username": "a"}), &usual), "a");
        assert_eq!(name(json!({"sub": "1", "email": "a@b", "email_verified": false}), &usual), "1");
        assert_eq!(name(json!({"sub": "1", "email": "a@b", "email_verified": "false"}), &by_email), "1");
        assert_eq!(name(json!({"sub": "1", "email": "a@b", "upn": "anna"}), &by_upn), "anna");
        assert_eq!(name(json!({"sub": "1", "email": "a@b", "upn": ""}), &by_upn), "1");
    }

    #[test]
    fn nobody_becomes_another_by_a_name_of_their_own_choice() {
        let config = config("users = { \"lead@b\" = \"admin\", \"42\" = \"operator\" }");
        let role = |value: Value| Person::of(&claims(value), &config).ok().map(|person| person.role);
        assert_eq!(role(json!({"sub": "1", "email": "lead@b"})), Some(Role::Admin));
        assert_eq!(role(json!({"sub": "1", "email": "lead@b", "email_verified": true})), Some(Role::Admin));
        assert_eq!(role(json!({"sub": "1", "email": "lead@b", "email_verified": false})), None);
        assert_eq!(role(json!({"sub": "1", "preferred_username": "lead@b"})), None);
        assert_eq!(role(json!({"sub": "42", "email": "x@b"})), Some(Role::Operator));
    }

    #[test]
    fn what_cannot_be_written_down_is_nobodys_name() {
        let config = config("users = { \"*\" = \"viewer\" }");
        for (name, why) in [("a\nb", "control"), ("a\u{1b}[31m", "control"), (&"x".repeat(201), "longer")] {
            let trouble = Person::of(&claims(json!({"sub": "1", "email": name})), &config).unwrap_err();
            assert!(trouble.to_string().contains(why), "{trouble}");
        }
    }

    #[test]
    fn what_the_provider_tells_elsewhere_adds_and_changes_nothing() {
        let config = config(ROLES);
        let mut known = claims(json!({"sub": "1", "email": "a@b"}));
        assert!(lacks(&known, &config));
        assert!(complete(&mut known, claims(json!({"sub": "2", "groups": ["sre"]}))).is_err());
        assert!(complete(&mut known, claims(json!({"groups": ["sre"]}))).is_err());
        complete(&mut known, claims(json!({"sub": "1", "email": "other", "groups": ["sre"]}))).unwrap();
        assert_eq!((&known["email"], &known["groups"]), (&json!("a@b"), &json!(["sre"])));
        assert!(!lacks(&known, &config));
    }
}
