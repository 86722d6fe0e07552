//! Who may talk to the agent: programs on this machine, and no web page.
//!
//! The agent holds cached layers and carries credentials, and it listens where every program of the
//! machine can reach it, browsers included. Three rules keep pages out. The listener is on loopback
//! only. The `Host` must be a loopback name with the agent's own port: a page that had its own name
//! point to 127.0.0.1 (DNS rebinding) sends that name. And a request that a page caused is refused
//! whatever it asks: browsers mark those with `Origin` or `Sec-Fetch-Site`, registry clients send
//! neither.
//!
//! Why no password: docker, containerd and podman have a place for a registry's credential and none
//! for a mirror's; what is private is asked of the registry for each caller (see `authority`).

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, Uri, header, uri::Authority};

use super::refusal::Refusal;

/// Set by browsers: how the page relates to what it asks for.
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// The address is not on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the agent may not listen on {address}: it serves programs of this machine only; \
     take 127.0.0.1:{} or [::1]:{}", .address.port(), .address.port()
)]
pub struct NotLoopback {
    /// What was asked for.
    pub address: SocketAddr,
}

/// Takes an address that only this machine reaches.
///
/// # Errors
/// It is any other one.
pub fn loopback(address: SocketAddr) -> Result<SocketAddr, NotLoopback> {
    let is_loopback = match address.ip() {
        IpAddr::V4(ip) => ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_loopback(),
    };
    if is_loopback { Ok(address) } else { Err(NotLoopback { address }) }
}

/// Judges requests by their headers alone.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// The port the agent listens on.
    port: u16,
}

impl Guard {
    /// For an agent that listens on `port`.
    pub fn new(port: u16) -> Guard {
        Guard { port }
    }

    /// May the request be served?
    ///
    /// # Errors
    /// It is addressed to somebody else, or a web page caused it.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Refusal::denied("exactly one Host header is needed"));
        };
        let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let is_ours = |authority: &Authority| self.is_ours(authority);
        if !host.as_ref().is_some_and(is_ours) || !uri.authority().is_none_or(is_ours) {
            return Err(Refusal::denied(format!(
                "the agent answers to localhost:{0}, 127.0.0.1:{0} and [::1]:{0} only",
                self.port
            )));
        }
        if headers.contains_key(header::ORIGIN) {
            return Err(Refusal::denied("requests of web pages are refused (Origin)"));
        }
        // `none` is an address that a person typed; every other value means a page.
        if headers.get_all(SEC_FETCH_SITE).iter().any(|site| site != "none") {
            return Err(Refusal::denied("requests of web pages are refused (Sec-Fetch-Site)"));
        }
        Ok(())
    }

    fn is_ours(&self, authority: &Authority) -> bool {
        let port = authority.port_u16().unwrap_or(80);
        let host = authority.host();
        let is_loopback =
            host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "[::1]";
        is_loopback && port == self.port && !authority.as_str().contains('@')
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn check(uri: &str, headers: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a value");
            map.append(HeaderName::from_static(name), value);
        }
        Guard::new(5080).check(&uri.parse().expect("a URI"), &map)
    }

    #[test]
    fn registry_clients_pass() {
        for host in ["localhost:5080", "LOCALHOST:5080", "127.0.0.1:5080", "[::1]:5080"] {
            assert_eq!(check("/v2/", &[("host", host)]), Ok(()), "{host}");
        }
        let typed = [("host", "localhost:5080"), ("sec-fetch-site", "none")];
        assert_eq!(check("/agent/status", &typed), Ok(()));
    }

    #[test]
    fn a_name_that_was_pointed_at_loopback_is_refused() {
        for host in [
            "evil.example:5080",
            "localhost.evil.example:5080",
            "127.0.0.1.evil.example:5080",
            "localhost:5081",
            "localhost",
            "127.0.0.2:5080",
            "[::ffff:127.0.0.1]:5080",
            "user@localhost:5080",
            "",
        ] {
            let refusal = check("/v2/", &[("host", host)]).expect_err(host);
            assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
        }
        assert!(check("/v2/", &[]).is_err(), "no Host");
        let two = [("host", "localhost:5080"), ("host", "evil.example:5080")];
        assert!(check("/v2/", &two).is_err(), "two Hosts");
        let absolute = "http://evil.example:5080/v2/";
        assert!(check(absolute, &[("host", "localhost:5080")]).is_err(), "absolute form");
    }

    #[test]
    fn web_pages_are_refused() {
        let page = |name, value| check("/v2/", &[("host", "localhost:5080"), (name, value)]);
        assert!(page("origin", "https://evil.example").is_err());
        assert!(page("origin", "http://localhost:5080").is_err());
        assert!(page("origin", "null").is_err());
        for site in ["cross-site", "same-site", "same-origin", ""] {
            assert!(page("sec-fetch-site", site).is_err(), "{site}");
        }
    }

    proptest! {
        #[test]
        fn no_other_host_passes(host in "[ -~]{0,40}") {
            let ours = ["localhost:5080", "127.0.0.1:5080", "[::1]:5080"];
            let passed = check("/v2/", &[("host", &host)]).is_ok();
            prop_assert_eq!(passed, ours.contains(&host.to_ascii_lowercase().trim()));
        }
    }

    #[test]
    fn only_loopback_is_listened_on() {
        for address in ["127.0.0.1:5080", "127.8.8.8:1", "[::1]:5080"] {
            assert!(loopback(address.parse().expect("an address")).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:5080", "[::]:5080", "10.0.0.1:5080", "[::ffff:127.0.0.1]:5080"] {
            let error = loopback(address.parse().expect("an address")).expect_err(address);
            assert!(error.to_string().contains("127.0.0.1:5080"), "{error}");
        }
    }
}
