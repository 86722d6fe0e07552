//! What a server costs: processor time and resident memory of a process and all its descendants.
//!
//! Read from `/proc`. Processor time has the kernel's tick (10 ms) as its resolution, so a window
//! of seconds is good to a per cent or so. Peak memory is the kernel's own high-water mark
//! (`VmHWM`), reset at the start of each window; shared pages of several workers count once each.

use anyhow::Context;
use std::{collections::BTreeMap, fs};

/// Processor time and peak memory of one process tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User plus system time since start, seconds.
    pub cpu_seconds: f64,
    /// Sum of the high-water marks of resident memory, bytes.
    pub peak_bytes: u64,
}

/// `root` and every process below it.
pub fn tree(root: u32) -> Vec<u32> {
    let mut children = BTreeMap::<u32, Vec<u32>>::new();
    for pid in all_pids() {
        if let Ok(stat) = Stat::read(pid) {
            children.entry(stat.parent).or_default().push(pid);
        }
    }
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        found.extend(children.remove(&found[next]).unwrap_or_default());
        next += 1;
    }
    found
}

/// What the tree under `root` has used. Processes that ended meanwhile are left out.
pub fn usage(root: u32) -> anyhow::Result<Usage> {
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    anyhow::ensure!(Stat::read(root).is_ok(), "process {root} has ended");
    let mut usage = Usage::default();
    for pid in tree(root) {
        let Ok(stat) = Stat::read(pid) else { continue };
        usage.cpu_seconds += stat.ticks as f64 / ticks_per_second;
        usage.peak_bytes += status_kib(pid, "VmHWM").unwrap_or(0) * 1024;
    }
    Ok(usage)
}

/// Resident memory of the tree now, bytes.
pub fn resident_bytes(root: u32) -> u64 {
    tree(root).into_iter().filter_map(|pid| status_kib(pid, "VmRSS").ok()).sum::<u64>() * 1024
}

/// Starts a new high-water mark of resident memory for the tree.
pub fn reset_peak(root: u32) {
    for pid in tree(root) {
        // A process that ended meanwhile has no mark to reset.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

fn all_pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

fn status_kib(pid: u32, field: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_status_kib(&text, field).with_context(|| format!("no {field} of process {pid}"))
}

fn parse_status_kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.split(':').next() == Some(field))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

struct Stat {
    parent: u32,
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> anyhow::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&text).with_context(|| format!("unreadable stat of process {pid}"))
    }

    /// The command name may hold spaces and brackets: fields are counted after its last bracket.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number).and_then(|text| text.parse::<u64>().ok());
        Some(Self { parent: u32::try_from(field(1)?).ok()?, ticks: field(11)? + field(12)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_a_strange_command_name() {
        let stat = Stat::parse("12 (a) b (c) S 7 1 1 0 -1 0 0 0 0 0 30 12 0 0 20").expect("stat");
        assert_eq!((stat.parent, stat.ticks), (7, 42));
    }

    #[test]
    fn status_fields_are_matched_by_their_whole_name() {
        let text = "VmHWMx:\t1 kB\nVmHWM:\t  512 kB\nVmRSS:\t 9 kB\n";
        assert_eq!(parse_status_kib(text, "VmHWM"), Some(512));
        assert_eq!(parse_status_kib(text, "VmSwap"), None);
    }

    #[test]
    fn this_process_has_used_memory() {
        let usage = usage(std::process::id()).expect("own usage");
        assert!(usage.peak_bytes > 0);
    }
}
