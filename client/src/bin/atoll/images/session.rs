//! From the words of a call to a client: which registry, how it is reached, and who calls.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use atoll_client::{
    Client, Credential, Credentials, ImageRef, Limits, RegistryHost, Seed, TlsSettings,
    docker_config::{DockerConfig, Login, places},
};
use futures_util::future::BoxFuture;

use super::{arguments::Connection, failure::Failure};

/// The logins that docker keeps.
pub fn logins() -> DockerConfig {
    DockerConfig::new(places(|name| std::env::var(name).ok()))
}

impl Connection {
    /// The image that is meant. A name without a host is one in the registry of `--registry`.
    pub fn image(&self, text: &str) -> Result<ImageRef, Failure> {
        let said = match text.parse::<ImageRef>() {
            Ok(image) => return Ok(image),
            Err(error) => error,
        };
        let no_host = matches!(said, atoll_client::InvalidImageRef::NoRegistry { .. });
        match self.registry.first() {
            Some(registry) if no_host => {
                let full = format!("{}/{text}", bare(registry));
                full.parse().map_err(|error| Failure::usage(format!("`{text}`: {error}")))
            }
            _ if no_host => Err(Failure::usage(format!("{said}; or name it with --registry"))),
            _ => Err(Failure::usage(said.to_string())),
        }
    }

    /// The registry that is meant: the one that was written, else the first of `--registry`.
    pub fn host(&self, written: Option<&str>) -> Result<RegistryHost, Failure> {
        let text = written.or(self.registry.first().map(String::as_str)).ok_or_else(|| {
            Failure::usage("which registry? Write HOST:PORT, or give --registry or ATOLL_REGISTRY")
        })?;
        bare(text).parse().map_err(|error| Failure::usage(format!("{error}")))
    }

    /// A client of the registry `host`, with the caller's login.
    pub fn client(&self, host: &RegistryHost) -> Result<Client, Failure> {
        self.client_with(host, Arc::new(Logins { config: logins(), said: Mutex::default() }))
    }

    /// A client of the registry `host`, with other credentials.
    pub fn client_with(
        &self,
        host: &RegistryHost,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Client, Failure> {
        let name = host.to_string();
        let is_named = self.registry.iter().any(|registry| bare(registry) == name);
        let texts = if is_named { self.registry.clone() } else { vec![name.clone()] };
        let seeds = texts.iter().map(|text| text.parse::<Seed>()).collect::<Result<Vec<_>, _>>();
        let seeds = seeds.map_err(|error| Failure::usage(error.to_string()))?;
        let tls = TlsSettings { ca_files: self.ca_files.clone(), insecure_http: self.plain_http };
        let agent = concat!("atoll/", env!("CARGO_PKG_VERSION"));
        // Longer than a node may be dead before the others have taken over.
        let limits = Limits { patience: self.timeout, ..Limits::default() };
        let builder = Client::builder(seeds).tls(tls).credentials(credentials).limits(limits);
        let builder = builder.user_agent(agent);
        Ok(builder.registry(name).build()?)
    }
}

/// A seed without its scheme.
fn bare(text: &str) -> &str {
    let text = text.strip_prefix("dns:").unwrap_or(text);
    let text = text.strip_prefix("http://").or(text.strip_prefix("https://")).unwrap_or(text);
    text.strip_suffix('/').unwrap_or(text)
}

/// The logins that docker keeps, as the library asks for them.
struct Logins {
    config: DockerConfig,
    /// Complaints that were made already: a client asks for each scope.
    said: Mutex<BTreeSet<String>>,
}

impl Credentials for Logins {
    fn for_registry<'a>(
        &'a self,
        host: &'a str,
        _scope: &'a str,
    ) -> BoxFuture<'a, Option<Credential>> {
        Box::pin(async move {
            match self.config.login(host).await {
                Ok(login) => login.map(credential),
                // A registry may need none: what is broken is said, and the registry decides.
                Err(error) => {
                    let text = error.to_string();
                    let is_new = self.said.lock().is_ok_and(|mut said| said.insert(text.clone()));
                    if is_new {
                        eprintln!("warning: {text}");
                    }
                    None
                }
            }
        })
    }
}

/// A login as the library sends it.
pub fn credential(login: Login) -> Credential {
    match login {
        Login::Password { username, password } => Credential::Basic { username, password },
        Login::IdentityToken(token) => Credential::IdentityToken(token),
        Login::RegistryToken(token) => Credential::Bearer(token),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn connection(registry: &[&str]) -> Connection {
        let registry = registry.iter().map(|text| (*text).to_owned()).collect();
        Connection {
            registry,
            plain_http: false,
            ca_files: Vec::new(),
            timeout: Duration::from_secs(1),
        }
    }

    #[test]
    fn a_name_without_a_host_is_in_the_registry_that_was_named() {
        let named = connection(&["http://reef-1:5000", "reef-2:5000"]);
        for (text, expected) in [
            ("team/app:1.0", "reef-1:5000/team/app:1.0"),
            ("app", "reef-1:5000/app"),
            ("other.example/app:1", "other.example/app:1"),
        ] {
            assert_eq!(named.image(text).unwrap().to_string(), expected);
        }
        assert!(named.image("App").unwrap_err().text.contains("App"));
        let error = connection(&[]).image("team/app").unwrap_err();
        assert!(error.text.ends_with("or name it with --registry"), "{}", error.text);
        assert_eq!(named.host(None).unwrap().to_string(), "reef-1:5000");
        assert!(connection(&[]).host(None).unwrap_err().text.contains("ATOLL_REGISTRY"));
    }
}
