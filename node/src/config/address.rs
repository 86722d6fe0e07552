//! Which addresses a listener may take while it speaks plain text.

use std::net::SocketAddr;

/// Can only this machine reach `address`?
pub fn is_loopback(address: &SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Would both listeners want the same port? Port 0 never collides: the system picks a free one.
pub fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (everywhere || one.ip() == other.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn loopback_is_a_whole_network_and_has_a_mapped_form() {
        for text in ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_loopback(&address(text)), "{text}");
        }
        for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
            assert!(!is_loopback(&address(text)), "{text}");
        }
    }

    #[test]
    fn listeners_collide_on_one_port_of_one_address() {
        assert!(collide(&address("127.0.0.1:5"), &address("127.0.0.1:5")));
        assert!(collide(&address("0.0.0.0:5"), &address("127.0.0.1:5")));
        assert!(!collide(&address("127.0.0.2:5"), &address("127.0.0.1:5")));
        assert!(!collide(&address("127.0.0.1:5"), &address("127.0.0.1:6")));
        assert!(!collide(&address("127.0.0.1:0"), &address("127.0.0.1:0")));
    }
}
