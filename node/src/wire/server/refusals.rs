//! Bounds on strangers at the door: handshakes at a time, and lines in the log.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::warn;

/// Handshakes at a time: of a cluster of a hundred nodes that all reconnect after this one started.
const HANDSHAKES_MAX: usize = 256;

/// Of these for one address: enough for a machine that runs many nodes, too few to fill the bound.
const HANDSHAKES_PER_ADDRESS_MAX: usize = 64;

/// An address that keeps being refused is logged once in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Addresses that are remembered for that.
const LOGGED_ADDRESSES_MAX: usize = 1024;

/// The handshakes that are going on.
#[derive(Clone, Default)]
pub(super) struct Handshakes {
    running: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A handshake that is going on; it ends when this is dropped.
pub(super) struct Handshake {
    running: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Handshakes {
    /// # Errors
    /// There are too many.
    pub fn begin(&self, address: IpAddr) -> Result<Handshake, String> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.values().sum::<usize>() >= HANDSHAKES_MAX {
            return Err(format!("{HANDSHAKES_MAX} handshakes are going on"));
        }
        let here = running.entry(address).or_default();
        if *here >= HANDSHAKES_PER_ADDRESS_MAX {
            return Err(format!("{HANDSHAKES_PER_ADDRESS_MAX} handshakes with it are going on"));
        }
        *here += 1;
        Ok(Handshake { running: self.running.clone(), address })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = running.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                running.remove(&self.address);
            }
        }
    }
}

/// What was refused, so that an address that insists does not fill the log.
#[derive(Default)]
pub(super) struct Refusals {
    logged: Mutex<BTreeMap<IpAddr, Logged>>,
}

struct Logged {
    at: Duration,
    silent: u64,
}

impl Refusals {
    /// Logs a refusal at the monotonic time `now`, unless the address was logged just before.
    pub fn log(&self, address: SocketAddr, reason: &str, now: Duration) {
        if let Some(before) = self.note(address.ip(), now) {
            warn!(%address, reason, not_logged_before = before, "connection of another node refused");
        }
    }

    /// Whether to log now: with how many were passed over in silence since the last time.
    fn note(&self, address: IpAddr, now: Duration) -> Option<u64> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() >= LOGGED_ADDRESSES_MAX {
            logged.retain(|_, logged| logged.at + LOG_INTERVAL > now);
        }
        let full = logged.len() >= LOGGED_ADDRESSES_MAX;
        match logged.get_mut(&address) {
            Some(logged) if logged.at + LOG_INTERVAL > now => {
                logged.silent += 1;
                None
            }
            Some(logged) => {
                logged.at = now;
                Some(std::mem::take(&mut logged.silent))
            }
            // So many addresses within one interval: an attack. The log says that much already.
            None if full => None,
            None => {
                logged.insert(address, Logged { at: now, silent: 0 });
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(last: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(last))
    }

    #[test]
    fn one_address_cannot_take_all_handshakes() {
        let handshakes = Handshakes::default();
        let mut held = Vec::new();
        for _ in 0..HANDSHAKES_PER_ADDRESS_MAX {
            held.extend(handshakes.begin(address(1)).ok());
        }
        assert!(handshakes.begin(address(1)).is_err());
        assert!(handshakes.begin(address(2)).is_ok());
        held.pop();
        assert!(handshakes.begin(address(1)).is_ok());
        held.clear();
        assert!(handshakes.running.lock().is_ok_and(|running| running.is_empty()));
    }

    #[test]
    fn all_addresses_together_are_bounded() {
        let handshakes = Handshakes::default();
        let many = (0..2 * HANDSHAKES_MAX as u32).filter_map(|n| handshakes.begin(address(n)).ok());
        assert_eq!(many.collect::<Vec<_>>().len(), HANDSHAKES_MAX);
    }

    #[test]
    fn who_insists_is_logged_once_in_a_while() {
        let (refusals, second) = (Refusals::default(), Duration::from_secs(1));
        assert_eq!(refusals.note(address(1), second), Some(0));
        assert_eq!(refusals.note(address(1), 2 * second), None);
        assert_eq!(refusals.note(address(2), 2 * second), Some(0));
        assert_eq!(refusals.note(address(1), 12 * second), Some(1));
    }

    #[test]
    fn the_log_remembers_a_bounded_number_of_addresses() {
        let refusals = Refusals::default();
        let noted = (0..5000).filter(|n| refusals.note(address(*n), Duration::ZERO).is_some());
        assert_eq!(noted.count(), LOGGED_ADDRESSES_MAX);
        assert_eq!(refusals.note(address(9999), 2 * LOG_INTERVAL), Some(0));
    }
}
