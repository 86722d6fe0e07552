//! Where one connection leads.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use crate::image_ref::RegistryHost;

/// One place that answers HTTP.
///
/// Whether it is spoken to in the clear is decided here, once: on loopback, where it is said with
/// `http://`, or where the caller allowed it for a whole registry; TLS everywhere else.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Is it spoken to over TLS?
    pub tls: bool,
    /// Host name or IP address; IPv6 in brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The address, where a name was resolved already.
    pub address: Option<SocketAddr>,
}

/// A text that is no address of a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{received}` is no address of a registry; write HOST:PORT, or http://HOST:PORT")]
pub struct InvalidEndpoint {
    /// What was received, shortened.
    pub received: String,
}

impl Endpoint {
    /// Reads `host[:port]`, `http://host[:port]` or `https://host[:port]`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str, insecure_http: bool) -> Result<Endpoint, InvalidEndpoint> {
        let wrong = || InvalidEndpoint { received: text.chars().take(100).collect() };
        let (tls, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (Some(true), rest),
            (None, Some(rest)) => (Some(false), rest),
            (None, None) => (None, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let parsed: RegistryHost = rest.parse().map_err(|_| wrong())?;
        let host = parsed.host().to_owned();
        let tls = tls.unwrap_or_else(|| !insecure_http && !is_loopback(&host));
        let port = parsed.port().unwrap_or(if tls { 443 } else { 80 });
        Ok(Endpoint { tls, host, port, address: None })
    }

    /// `host:port`, as it stands in a `Host` header: without the port that is usual for the scheme.
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.clone(),
            _ => format!("{}:{}", self.host, self.port),
        }
    }

    /// The host without brackets.
    pub fn bare_host(&self) -> &str {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        bare.unwrap_or(&self.host)
    }

    /// Is this the same origin: scheme, host and port?
    pub fn is_same_origin(&self, other: &Endpoint) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }
}

/// Does the host mean this machine? Names are believed only where no resolver is asked.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => bare == "localhost" || bare.ends_with(".localhost"),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https://" } else { "" };
        match self.address {
            Some(address) if self.bare_host().parse::<IpAddr>().is_err() => {
                write!(f, "{scheme}{}:{} ({address})", self.host, self.port)
            }
            _ => write!(f, "{scheme}{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_spoken_to_in_the_clear_unless_told_otherwise() {
        for (text, insecure, tls, port) in [
            ("127.0.0.1:5000", false, false, 5000),
            ("localhost:5000", false, false, 5000),
            ("[::1]:5000", false, false, 5000),
            ("reef-1:5000", false, true, 5000),
            ("10.0.0.1:5000", false, true, 5000),
            ("reef-1:5000", true, false, 5000),
            ("http://reef-1:5000", false, false, 5000),
            ("https://127.0.0.1:5000/", false, true, 5000),
            ("reef-1", false, true, 443),
            ("http://reef-1", false, false, 80),
        ] {
            let endpoint = Endpoint::parse(text, insecure).expect(text);
            assert_eq!((endpoint.tls, endpoint.port), (tls, port), "{text}");
        }
        assert!(Endpoint::parse("ftp://a:1", false).is_err());
        assert!(Endpoint::parse("", false).is_err());
    }
}
