//! Cut links and dead machines of the simulation.
//!
//! madsim can cut a link but does not tell that it is cut, and then refuses a connection at once,
//! where a real network stays silent. So links are cut here, in a table that
//! [`connect`](super::connect) can ask. Nodes are made known by their address when they are built.
//!
//! One thread is one simulation, and one process runs one seed: the tables are thread-local.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use madsim::{
    net::{NetSim, TcpStream},
    task::NodeId,
};

#[derive(Default)]
struct Tables {
    nodes: BTreeMap<IpAddr, NodeId>,
    /// Directed: packets from the first to the second are lost.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Directed: what the first sends to the second takes so much longer.
    slow: BTreeMap<(NodeId, NodeId), Duration>,
    powerless: BTreeSet<NodeId>,
    /// Connections of machines that lost their power, kept open so that nobody hears of their end.
    graves: Vec<(NodeId, TcpStream)>,
}

thread_local! {
    static TABLES: RefCell<Tables> = RefCell::default();
}

fn with<T>(use_tables: impl FnOnce(&mut Tables) -> T) -> T {
    TABLES.with(|tables| use_tables(&mut tables.borrow_mut()))
}

/// Makes a node known by its address.
pub fn register(ip: IpAddr, node: NodeId) {
    with(|tables| tables.nodes.insert(ip, node));
}

/// Loses everything that `from` sends to `to`.
pub fn cut(from: NodeId, to: NodeId) {
    with(|tables| tables.cut.insert((from, to)));
    NetSim::current().clog_link(from, to);
}

/// Ends [`cut`].
pub fn heal(from: NodeId, to: NodeId) {
    with(|tables| tables.cut.remove(&(from, to)));
    NetSim::current().unclog_link(from, to);
}

/// Cuts both ways.
pub fn cut_both(a: NodeId, b: NodeId) {
    cut(a, b);
    cut(b, a);
}

/// Heals both ways.
pub fn heal_both(a: NodeId, b: NodeId) {
    heal(a, b);
    heal(b, a);
}

/// Heals every link.
pub fn heal_all() {
    let cuts = with(|tables| std::mem::take(&mut tables.cut));
    for (from, to) in cuts {
        NetSim::current().unclog_link(from, to);
    }
}

/// Lets everything that `from` sends to `to` from now on take so much longer than the network takes
/// anyway. What is under way keeps its delay: bytes never overtake each other.
pub fn slow(from: NodeId, to: NodeId, longer: Duration) {
    with(|tables| tables.slow.insert((from, to), longer));
}

/// Ends [`slow`], for all links.
pub fn quicken_all() {
    with(|tables| tables.slow.clear());
}

/// How much longer the way to node `to` is now.
pub(super) fn delay(from: IpAddr, to: NodeId) -> Duration {
    with(|tables| {
        if tables.slow.is_empty() {
            return Duration::ZERO;
        }
        let from = tables.nodes.get(&from).copied();
        from.and_then(|from| tables.slow.get(&(from, to)).copied()).unwrap_or_default()
    })
}

/// How much longer a way from the current node and back again takes.
pub(super) fn round_trip_delay(to: IpAddr) -> Duration {
    let me = madsim::plugin::node();
    let there = |tables: &mut Tables| {
        let to = tables.nodes.get(&to).copied()?;
        tables.slow.get(&(me, to)).copied()
    };
    with(there).unwrap_or_default() + delay(to, me)
}

/// Call before killing a node whose machine loses its power: its connections end without a word,
/// and nobody can connect to it, until [`power_on`].
pub fn power_off(node: NodeId) {
    with(|tables| tables.powerless.insert(node));
}

/// The machine starts again: who still holds a connection from before now gets a reset.
pub fn power_on(node: NodeId) {
    let graves = with(|tables| {
        tables.powerless.remove(&node);
        let (risen, resting) =
            std::mem::take(&mut tables.graves).into_iter().partition(|(owner, _)| *owner == node);
        tables.graves = resting;
        let risen: Vec<(NodeId, TcpStream)> = risen;
        risen
    });
    // Outside of the tables: ending a connection runs the simulator's code.
    drop(graves);
}

/// Does a connection attempt from the current node to `to` vanish without an answer?
pub(super) fn is_silent(to: SocketAddr) -> bool {
    let me = madsim::plugin::node();
    with(|tables| {
        let Some(peer) = tables.nodes.get(&to.ip()).copied() else { return false };
        tables.powerless.contains(&peer)
            || tables.cut.contains(&(me, peer))
            || tables.cut.contains(&(peer, me))
    })
}

/// Takes the connection of a powerless machine; gives it back when the machine has power.
pub(super) fn bury(node: NodeId, stream: TcpStream) -> Option<TcpStream> {
    with(|tables| {
        if !tables.powerless.contains(&node) {
            return Some(stream);
        }
        tables.graves.push((node, stream));
        None
    })
}
