//! What the coordination group applies on this node, for its watchers and for the leader's timers.
//!
//! Who listens is told after the transaction is committed, entry by entry in log order. Listeners that
//! do not keep up are told that they lag, and read everything again.

use atoll_core::coordination::Effects;
use tokio::sync::broadcast;

use super::settings::COORDINATION;

/// Changes that may wait for the slowest listener. Each is an apply of one or more entries; a listener
/// only moves them to its own watchers.
const WAITING_MAX: usize = 1024;

/// Entries were applied here, or skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Every entry up to this one is applied, and this is what the last ones did.
    Entries {
        /// The last entry.
        upto: u64,
        /// In order.
        effects: Effects,
    },
    /// The whole state was replaced by another voter's: everything may have changed.
    Replaced {
        /// The last entry in it.
        upto: u64,
    },
}

/// Tells listeners what is applied.
#[derive(Clone, Debug)]
pub(super) struct Changes {
    sender: Option<broadcast::Sender<Applied>>,
}

impl Changes {
    /// Only the coordination group has listeners.
    pub fn of(group: u16) -> Self {
        Self { sender: (group == COORDINATION).then(|| broadcast::Sender::new(WAITING_MAX)) }
    }

    /// Tells whoever listens.
    pub fn tell(&self, applied: Applied) {
        if let Some(sender) = &self.sender {
            // Nobody listens: fine.
            let _ = sender.send(applied);
        }
    }

    /// What is applied from now on.
    pub fn listen(&self) -> Option<broadcast::Receiver<Applied>> {
        self.sender.as_ref().map(broadcast::Sender::subscribe)
    }
}
