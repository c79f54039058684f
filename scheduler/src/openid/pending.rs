//! A sign-in that a browser has begun, as the browser itself keeps it.
//!
//! All of it is one random secret in a cookie that no script can read and that ends within minutes.
//! State, nonce and PKCE's verifier are hashes of it, so none of them tells another, and whoever has not
//! the cookie can make none: a code that was brought by another browser, or stolen from this one, fits
//! nothing. No scheduler has to remember anything, and none has to be the one that began.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRngCore as _, rngs::OsRng};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Where somebody goes who wanted nothing else.
const START: &str = "/ui/fleet";
/// Longest place that is remembered, in bytes.
const LONGEST: usize = 512;

/// A sign-in under way: `<43 characters of base64url>.<where to go then, in base64url>`.
pub(crate) struct Pending {
    cookie: String,
    to: String,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Pending {
    /// Begins one; who is in goes on to the screen `to`.
    pub(crate) fn begin(to: &str) -> Result<Self, rand::rand_core::OsError> {
        let mut bits = [0_u8; 32];
        OsRng.try_fill_bytes(&mut bits)?;
        let to = if is_screen(to) { to } else { START }.to_owned();
        let cookie = format!("{}.{}", URL_SAFE_NO_PAD.encode(bits), URL_SAFE_NO_PAD.encode(&to));
        Ok(Self { cookie, to })
    }

    /// What a browser has kept; `None` if it is nothing that was ever given to one.
    pub(crate) fn read(cookie: &str) -> Option<Self> {
        let (secret, to) = cookie.split_once('.')?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        let to = String::from_utf8(URL_SAFE_NO_PAD.decode(to).ok()?).ok()?;
        (secret.len() == 32 && is_screen(&to)).then(|| Self { cookie: cookie.to_owned(), to })
    }

    /// For the browser alone.
    pub(crate) fn cookie(&self) -> &str {
        &self.cookie
    }

    /// Where to go then: a screen of the dashboard.
    pub(crate) fn to(&self) -> &str {
        &self.to
    }

    /// What comes back with the code.
    pub(crate) fn state(&self) -> String {
        self.derive("state")
    }

    /// Whether the answer with this state is to this sign-in.
    pub(crate) fn is_answered_by(&self, state: &str) -> bool {
        self.state().as_bytes().ct_eq(state.as_bytes()).into()
    }

    /// What the ID token must repeat.
    pub(super) fn nonce(&self) -> String {
        self.derive("nonce")
    }

    /// What proves at the exchange who began. 43 characters, as RFC 7636 wants at least.
    pub(super) fn verifier(&self) -> String {
        self.derive("pkce")
    }

    fn derive(&self, of: &str) -> String {
        let digest =
            Sha256::new().chain_update(of).chain_update([0_u8]).chain_update(&self.cookie).finalize();
        URL_SAFE_NO_PAD.encode(digest)
    }
}

/// Whether it is a screen of the dashboard's: a path, with nothing that a browser might read as a host.
fn is_screen(to: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    to.starts_with("/ui/") && to.len() <= LONGEST && !to.contains("//") && to.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_all_there_is_and_each_has_secrets_of_its_own() {
        let (one, other) = (Pending::begin("/ui/jobs").unwrap(), Pending::begin("/ui/jobs").unwrap());
        let again = Pending::read(one.cookie()).unwrap();
        assert_eq!(
            (again.state(), again.nonce(), again.verifier()),
            (one.state(), one.nonce(), one.verifier())
        );
        assert_eq!(again.to(), "/ui/jobs");
        assert!(again.is_answered_by(&one.state()) && !again.is_answered_by(&other.state()));
        assert!(!again.is_answered_by("") && !again.is_answered_by(&one.nonce()));
        let secrets = [one.state(), one.nonce(), one.verifier(), other.state(), other.nonce()];
        assert!(secrets.iter().all(|secret| secret.len() == 43));
        assert!((1..5).all(|n| !secrets[..n].contains(&secrets[n])));
        assert!(!format!("{one:?}").contains(&one.cookie()[..43]));
    }

    #[test]
    fn nobody_is_led_anywhere_else() {
        for wrong in
            ["", "/", "//evil.example", "https://evil.example", "/ui//evil", "/ui/\\evil", "/ui/a b", "/v1/x"]
        {
            assert_eq!(Pending::begin(wrong).unwrap().to(), START, "{wrong}");
            let cookie = format!("{}.{}", URL_SAFE_NO_PAD.encode([7; 32]), URL_SAFE_NO_PAD.encode(wrong));
            assert!(Pending::read(&cookie).is_none(), "{wrong}");
        }
        assert_eq!(Pending::begin("/ui/jobs/01?x=1").unwrap().to(), "/ui/jobs/01?x=1");
    }

    #[test]
    fn what_no_browser_was_given_is_nothing() {
        let to = URL_SAFE_NO_PAD.encode("/ui/fleet");
        for wrong in [String::new(), to.clone(), format!(".{to}"), format!("c2hvcnQ.{to}"), format!("!.{to}")]
        {
            assert!(Pending::read(&wrong).is_none(), "{wrong}");
        }
    }
}
