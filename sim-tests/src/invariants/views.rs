//! Views are ordered: a process never goes back to an older view, and of one epoch there is one view.
//!
//! From the second follows that no two nodes own a digest by different rings within one epoch.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use atoll_core::view::{Epoch, View};

use crate::{cluster::fleet::Fleet, history::Book};

/// How often views are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Watches for ever.
pub async fn watch(fleet: Fleet, book: Book) {
    let mut newest: BTreeMap<(u8, u64), Epoch> = BTreeMap::new();
    let mut known: BTreeMap<Epoch, Arc<View>> = BTreeMap::new();
    loop {
        for machine in fleet.machines() {
            let Some(view) = machine.view() else { continue };
            let (name, epoch) = (machine.name(), view.epoch);
            // A node that starts knows what it had applied, which may be older than what it adopted.
            let life = (machine.number, machine.lives());
            let before = newest.insert(life, epoch).unwrap_or_default();
            if before == epoch {
                continue;
            }
            if before > epoch {
                book.lock().violation(format!("{name} went from epoch {before} to {epoch}"));
            }
            let first = known.entry(epoch).or_insert_with(|| view.clone());
            if **first != *view {
                book.lock().violation(format!("{name} has another view of epoch {epoch}"));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
