//! What is known about one registry: a user with a password, or a token.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

/// How somebody proves to a registry who they are. What `Debug` prints has no secret in it.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user and a password.
    Password {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that is given to the registry's token service for a short-lived one.
    IdentityToken(String),
    /// A token that is shown to the registry as it is.
    RegistryToken(String),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Login::Password { username, .. } => write!(f, "Password({username}, …)"),
            Login::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Login::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}

/// One value of `auths`, as docker and podman write it.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    auth: String,
    #[serde(default, skip_serializing)]
    username: String,
    #[serde(default, skip_serializing)]
    password: String,
    #[serde(default, rename = "identitytoken", skip_serializing_if = "String::is_empty")]
    identity_token: String,
    #[serde(default, rename = "registrytoken", skip_serializing_if = "String::is_empty")]
    registry_token: String,
}

impl Entry {
    /// The entry that holds `login`.
    pub fn of(login: &Login) -> Entry {
        let mut entry = Entry::default();
        match login {
            Login::Password { username, password } => {
                entry.auth = STANDARD.encode(format!("{username}:{password}"));
            }
            Login::IdentityToken(token) => entry.identity_token.clone_from(token),
            Login::RegistryToken(token) => entry.registry_token.clone_from(token),
        }
        entry
    }

    /// What the entry holds; `None` for the empty one that stands where a helper has the secret.
    ///
    /// # Errors
    /// `auth` is not what it should be, in words for a person.
    pub fn login(self) -> Result<Option<Login>, String> {
        if !self.identity_token.is_empty() {
            return Ok(Some(Login::IdentityToken(self.identity_token)));
        }
        if !self.registry_token.is_empty() {
            return Ok(Some(Login::RegistryToken(self.registry_token)));
        }
        if self.auth.is_empty() {
            let (username, password) = (self.username, self.password);
            return Ok((!username.is_empty()).then_some(Login::Password { username, password }));
        }
        let decoded = STANDARD.decode(&self.auth).map_err(|_| "`auth` is not base64".to_owned())?;
        let text = String::from_utf8(decoded).map_err(|_| "`auth` holds no text".to_owned())?;
        let (username, password) =
            text.split_once(':').ok_or("`auth` holds no `user:password`".to_owned())?;
        // Old dockers padded the password with zero bytes.
        let password = password.trim_end_matches('\0').to_owned();
        Ok(Some(Login::Password { username: username.to_owned(), password }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_stored_is_what_is_read(username in "[^:\0]{1,20}", password in "[^\0]{0,20}") {
            let login = Login::Password { username, password };
            let text = serde_json::to_string(&Entry::of(&login)).unwrap();
            let entry: Entry = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(entry.login(), Ok(Some(login)));
        }
    }

    #[test]
    fn every_way_to_write_a_login_is_read() {
        let read = |text: &str| serde_json::from_str::<Entry>(text).unwrap().login();
        let ann = Login::Password { username: "ann".into(), password: "p:w".into() };
        assert_eq!(read(r#"{"auth": "YW5uOnA6dw=="}"#), Ok(Some(ann.clone())));
        assert_eq!(read(r#"{"username": "ann", "password": "p:w", "email": "x"}"#), Ok(Some(ann)));
        assert_eq!(read("{}"), Ok(None));
        let token = Login::IdentityToken("t".into());
        assert_eq!(read(r#"{"auth": "", "identitytoken": "t"}"#), Ok(Some(token)));
        assert!(read(r#"{"auth": "?"}"#).unwrap_err().contains("base64"));
        assert!(read(r#"{"auth": "YW5u"}"#).unwrap_err().contains("user:password"));
    }

    #[test]
    fn no_secret_is_printed() {
        let login = Login::Password { username: "ann".into(), password: "secret".into() };
        assert_eq!(format!("{login:?}"), "Password(ann, …)");
        assert!(!format!("{:?}", Login::IdentityToken("secret".into())).contains("secret"));
    }
}
