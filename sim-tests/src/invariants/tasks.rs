//! No task leaks: a node at rest has about as many tasks as any other, whatever it went through.

use madsim::runtime::Handle;

use crate::cluster::Machine;

/// More tasks than any node at rest has: some dozens of its own, and a few for each connection of a
/// peer and for each Raft group and voter.
const TASKS_MAX: usize = 600;

/// Counts the tasks of each node.
///
/// # Errors
/// A node has too many.
pub fn expect_few(machines: &[Machine]) -> Result<usize, String> {
    let by_node = Handle::current().metrics().num_tasks_by_node();
    let of = |machine: &Machine| by_node.get(machine.name()).copied().unwrap_or(0);
    let most = machines.iter().map(of).max().unwrap_or(0);
    match machines.iter().find(|machine| of(machine) > TASKS_MAX) {
        Some(machine) => Err(format!("{} has {} tasks at rest", machine.name(), of(machine))),
        None => Ok(most),
    }
}
