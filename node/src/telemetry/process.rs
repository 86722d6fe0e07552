//! What the system says about this process and what built it.

use super::metrics::{Scrape, family};

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Commit this build was made from: the variable `ATOLL_COMMIT` at the time of the build. A build
/// script that asks git instead would build again at every commit and differ between two builds of
/// one source.
pub const COMMIT: &str = match option_env!("ATOLL_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// Writes the build and the process.
pub fn scrape(scrape: &mut Scrape<'_>) {
    scrape.labelled(&family::BUILD, [([("version", VERSION), ("commit", COMMIT)], 1)]);
    #[cfg(all(target_os = "linux", not(madsim)))]
    linux::scrape(scrape);
}

#[cfg(all(target_os = "linux", not(madsim)))]
mod linux {
    #![allow(
        clippy::disallowed_methods,
        clippy::disallowed_types,
        reason = "/proc is no disk: it answers from memory, and only about this process"
    )]

    use rustix::process::{Resource, getrlimit};

    use super::{Scrape, family};

    pub(super) fn scrape(scrape: &mut Scrape<'_>) {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        if let Some(ticks) = cpu_ticks(&read("/proc/self/stat")) {
            let per_second = rustix::param::clock_ticks_per_second();
            scrape.fraction(&family::PROCESS_CPU_SECONDS, ticks as f64 / per_second as f64);
        }
        if let Some(pages) = resident_pages(&read("/proc/self/statm")) {
            let bytes = pages.saturating_mul(rustix::param::page_size() as u64);
            scrape.value(&family::PROCESS_RESIDENT_BYTES, bytes);
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            // The listing itself holds one open.
            scrape.value(&family::PROCESS_OPEN_FDS, (entries.count() as u64).saturating_sub(1));
        }
        if let Some(max) = getrlimit(Resource::Nofile).current {
            scrape.value(&family::PROCESS_MAX_FDS, max);
        }
    }

    /// Fields 14 and 15 of `/proc/self/stat`; the name in field 2 may hold spaces and brackets.
    fn cpu_ticks(stat: &str) -> Option<u64> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let mut fields = after_name.split_whitespace().skip(11);
        let user: u64 = fields.next()?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        user.checked_add(system)
    }

    fn resident_pages(statm: &str) -> Option<u64> {
        statm.split_whitespace().nth(1)?.parse().ok()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_name_of_the_process_cannot_confuse_the_fields() {
            let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 70 8 0 0 20 0 3 0 99";
            assert_eq!(cpu_ticks(stat), Some(78));
            assert_eq!(cpu_ticks(""), None);
            assert_eq!(resident_pages("100 25 3 1 0 9 0"), Some(25));
        }
    }
}
