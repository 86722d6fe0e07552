//! Where another node is reached: an address, or a name that the system resolves.

use std::fmt;

use serde_json::json;

use super::value::{Raw, Value, quoted};

/// The longest name of a host that DNS knows, in bytes.
const HOST_BYTES_MAX: usize = 253;

/// `host:port`, where the host is a name or an address (IPv6 in brackets).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort(String);

impl HostPort {
    /// Reads one; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let good = |text: &str| {
            if text.parse::<std::net::SocketAddr>().is_ok() {
                return true;
            }
            let Some((host, port)) = text.rsplit_once(':') else { return false };
            let sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty()
                && host.len() <= HOST_BYTES_MAX
                && host.bytes().all(sign)
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        };
        good(text).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for Vec<HostPort> {
    const EXPECTED: &'static str =
        "a list of nodes, such as [\"10.0.0.1:5001\", \"reef-2:5001\"] (a variable: a:5001,b:5001)";

    fn from_raw(raw: &Raw) -> Option<Self> {
        raw.list()?.iter().map(|member| HostPort::parse(member.text()?)).collect()
    }

    fn to_toml(&self) -> Option<String> {
        let members: Vec<_> = self.iter().map(|member| quoted(&member.0)).collect();
        Some(format!("[{}]", members.join(", ")))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "array", "items": { "type": "string", "pattern": "^.+:[0-9]{1,5}$" } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_a_host_and_a_port() {
        for text in ["10.0.0.1:5001", "[::1]:5001", "atoll-0.atoll.svc:5001", "localhost:1"] {
            assert_eq!(HostPort::parse(text).expect("good").as_str(), text);
        }
        for text in ["", "a", "a:", ":5001", "a:0", "a:65536", "a b:1", "http://a:1", "::1:5"] {
            assert_eq!(HostPort::parse(text), None, "{text:?}");
        }
    }
}
