//! Who may change something through the admin listener.
//!
//! Reading is for everyone who reaches the listener, as metrics are. A change must come from this
//! machine, unless the operator allows others. Two ways around "this machine" are closed: a proxy
//! beside the node that forwards for others says so in a header, and a web page that makes a browser
//! send a request to the loopback address cannot leave out `Origin`.

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};

use super::AdminError;

/// Headers by which a proxy says for whom it speaks.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// May whoever is at `peer` change something with a request that has these headers?
///
/// # Errors
/// It comes from elsewhere.
pub fn may_change(
    peer: Option<SocketAddr>,
    headers: &HeaderMap,
    allow_remote: bool,
) -> Result<(), AdminError> {
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    if let Some(origin) = headers.get(header::ORIGIN) {
        return Err(AdminError::CrossSite(text(origin)));
    }
    if allow_remote {
        return Ok(());
    }
    if let Some(client) = FORWARDED.iter().find_map(|name| headers.get(*name)) {
        return Err(AdminError::NotLocal(text(client)));
    }
    match peer {
        Some(peer) if peer.ip().to_canonical().is_loopback() => Ok(()),
        Some(peer) => Err(AdminError::NotLocal(peer.to_string())),
        None => Err(AdminError::NotLocal("an unknown address".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(peer: &str, header: Option<(&'static str, &str)>, allow_remote: bool) -> bool {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().expect("a value"));
        }
        may_change(Some(peer.parse().expect("an address")), &headers, allow_remote).is_ok()
    }

    #[test]
    fn changes_come_from_this_machine() {
        for local in ["127.0.0.1:9", "127.8.8.8:9", "[::1]:9", "[::ffff:127.0.0.1]:9"] {
            assert!(asked(local, None, false), "{local}");
        }
        for remote in ["10.0.0.1:9", "[fe80::1]:9", "[::ffff:10.0.0.1]:9", "0.0.0.0:9"] {
            assert!(!asked(remote, None, false), "{remote}");
            assert!(asked(remote, None, true), "{remote}");
        }
        assert!(may_change(None, &HeaderMap::new(), false).is_err());
    }

    #[test]
    fn nobody_speaks_through_a_proxy_or_a_browser() {
        let local = "127.0.0.1:9";
        assert!(!asked(local, Some(("x-forwarded-for", "10.0.0.1")), false));
        assert!(!asked(local, Some(("forwarded", "for=10.0.0.1")), false));
        assert!(asked(local, Some(("x-forwarded-for", "10.0.0.1")), true));
        assert!(!asked(local, Some(("origin", "https://evil.example")), false));
        assert!(!asked(local, Some(("origin", "null")), true), "not even where others may");
    }
}
