//! One process per run: the parent starts them, keeps the logs of those that fail, sums the rest.
//!
//! Never many seeds in one process: hash tables seeded by address, and the global state of libraries,
//! would carry over from one to the next. For the same reason addresses are fixed (`setarch -R`).

#![allow(clippy::disallowed_methods, reason = "this is no node: it starts processes, keeps logs")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::Instant,
};

use anyhow::Context as _;

use crate::scenarios::Scenario;

/// What a figure of a run is printed behind.
pub const COUNT_MARK: &str = "COUNT ";

/// The figure of how long a run was, in simulated milliseconds.
pub const SIMULATED: &str = "simulated ms";

/// Seconds of real time after which a run is stuck. A run takes one or two on a quiet machine.
const STUCK_SECONDS: &str = "300";

/// Runs after which a campaign says how far it has come.
const PROGRESS_RUNS: u64 = 250;

/// Where logs are, below the working directory.
const LOG_FOLDER: &str = "target/sim-logs";

/// The one line that repeats a failure.
pub fn repro(scenario: Scenario, seed: u64) -> String {
    format!("REPRO: just sim-repro {} {seed}", scenario.name())
}

/// Starts this program again at fixed addresses, unless it has them: what hashes addresses must hash
/// the same ones when a seed is repeated.
///
/// # Errors
/// When `setarch` cannot be started. Never returns otherwise, if it has to start again.
pub fn fix_addresses() -> anyhow::Result<()> {
    const NO_RANDOM_ADDRESSES: u32 = 0x0004_0000;
    let text = fs::read_to_string("/proc/self/personality").context("read the personality")?;
    let personality = u32::from_str_radix(text.trim(), 16).context("read the personality")?;
    if personality & NO_RANDOM_ADDRESSES != 0 {
        return Ok(());
    }
    const AGAIN: &str = "SIM_STARTED_AGAIN";
    anyhow::ensure!(std::env::var_os(AGAIN).is_none(), "`setarch -R` does not fix addresses here");
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new("setarch");
    command.env(AGAIN, "1").arg("-R").arg(program).args(std::env::args_os().skip(1));
    Err(command.exec()).context("start `setarch` (package util-linux)")
}

/// A run to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// The scenario.
    pub scenario: Scenario,
    /// The seed.
    pub seed: u64,
    /// What it is told in its environment: a bug to plant, what to do without.
    pub env: Vec<(&'static str, String)>,
    /// Should its trace be kept?
    pub trace: bool,
    /// Tells runs of the same seed apart.
    pub again: u8,
}

impl Job {
    /// An ordinary run.
    pub fn new(scenario: Scenario, seed: u64) -> Job {
        Job { scenario, seed, env: Vec::new(), trace: false, again: 0 }
    }
}

/// A run that ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Which.
    pub job: Job,
    /// Did it pass?
    pub passed: bool,
    /// What it printed.
    pub output: String,
    /// Where its log is, if it failed.
    pub log: PathBuf,
}

impl Ended {
    /// The figures it printed.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let counts = self.output.lines().filter_map(|line| {
            let (name, count) = line.strip_prefix(COUNT_MARK)?.split_once('=')?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        counts.collect()
    }
}

/// Runs the jobs, `parallel` at a time, and hands each to `each` when it ended, in order. Stops
/// starting more when `each` answers false.
///
/// # Errors
/// When a process cannot be started, or its output not be read.
pub fn run_all<J: Iterator<Item = Job> + Send>(
    jobs: impl IntoIterator<Item = Job, IntoIter = J>,
    parallel: usize,
    mut each: impl FnMut(Ended) -> bool,
) -> anyhow::Result<()> {
    fs::create_dir_all(LOG_FOLDER).with_context(|| format!("create `{LOG_FOLDER}`"))?;
    let jobs = Mutex::new(jobs.into_iter().enumerate());
    let goes_on = AtomicBool::new(true);
    let (tell, ended) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..parallel.max(1) {
            let (jobs, goes_on, tell) = (&jobs, &goes_on, tell.clone());
            scope.spawn(move || {
                while goes_on.load(Relaxed) {
                    let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((turn, job)) = next else { break };
                    if tell.send((turn, run(job))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(tell);
        let outcome = in_turn(ended, |run| {
            goes_on.fetch_and(each(run?), Relaxed);
            Ok(())
        });
        goes_on.store(false, Relaxed);
        outcome
    })
}

/// Hands on what comes in any order, one turn after the other.
fn in_turn<T>(
    values: impl IntoIterator<Item = (usize, T)>,
    mut each: impl FnMut(T) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut early = BTreeMap::new();
    let mut turn = 0;
    for (its, value) in values {
        early.insert(its, value);
        while let Some(value) = early.remove(&turn) {
            turn += 1;
            each(value)?;
        }
    }
    Ok(())
}

fn run(job: Job) -> anyhow::Result<Ended> {
    let told: String = job.env.iter().map(|(_, value)| format!("-{value}")).collect();
    let name = format!("{}-{}{told}-{}", job.scenario.name(), job.seed, job.again);
    let (output, log) = (path(&name, "out"), path(&name, "log"));
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new("setarch");
    command.args(["-R", "timeout", STUCK_SECONDS]).arg(program).arg("run");
    command.arg(job.scenario.name()).arg(job.seed.to_string());
    if job.trace {
        command.arg("--trace");
    }
    command.env_remove("SIM_PLANT");
    // A run is short: memory that is given back would only be asked for again.
    command.env("MIMALLOC_PURGE_DELAY", "-1");
    command.envs(job.env.iter().map(|(name, value)| (name, value)));
    command.stdout(File::create(&output)?).stderr(File::create(&log)?);
    let status = command.status().context("start `setarch` (package util-linux)")?;
    let bytes = fs::read(&output)?;
    fs::remove_file(&output)?;
    if status.success() {
        fs::remove_file(&log)?;
    }
    let mut output = String::from_utf8_lossy(&bytes).into_owned();
    // Whatever killed the process, there is a line for it.
    if !status.success() && !output.contains("VIOLATION") {
        output.push_str(&format!("VIOLATION the process ended with {status}\n"));
    }
    Ok(Ended { job, passed: status.success(), output, log })
}

fn path(name: &str, ending: &str) -> PathBuf {
    Path::new(LOG_FOLDER).join(format!("{name}.{ending}"))
}

/// The sums of many runs.
#[derive(Debug)]
pub struct Tally {
    since: Instant,
    /// Runs that passed.
    pub passed: u64,
    /// Runs that failed.
    pub failed: u64,
    counts: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally { since: Instant::now(), passed: 0, failed: 0, counts: BTreeMap::new() }
    }
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Tally {
        Tally::default()
    }

    /// Adds a run.
    pub fn absorb(&mut self, ended: &Ended) {
        for (name, count) in ended.counts() {
            *self.counts.entry(name).or_default() += count;
        }
        match ended.passed {
            true => self.passed += 1,
            false => self.failed += 1,
        }
    }

    /// The sum of a figure.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }

    /// Adds a run of `total`, tells of it when it failed, and now and then how far it has come.
    pub fn add(&mut self, ended: &Ended, total: u64) {
        self.absorb(ended);
        let runs = self.passed + self.failed;
        if runs.is_multiple_of(PROGRESS_RUNS) && runs < total {
            let (failed, per_minute) = (self.failed, self.per_minute());
            println!("{runs} of {total} runs, {per_minute:.0} per minute, {failed} failed");
        }
        if ended.passed {
            return;
        }
        let Job { scenario, seed, .. } = ended.job;
        for line in ended.output.lines().filter(|line| line.starts_with("VIOLATION")).take(3) {
            println!("{line}");
        }
        println!("log: {}", ended.log.display());
        println!("{}", repro(scenario, seed));
    }

    /// The figures of a class, by name; those of no class for "".
    fn told(&self, class: &str) -> String {
        let is_of = |name: &str| match class {
            "" => !name.starts_with("fault ") && !name.starts_with("sometimes "),
            class => name.starts_with(class),
        };
        let of: Vec<String> = self
            .counts
            .iter()
            .filter(|(name, _)| is_of(name) && *name != SIMULATED)
            .map(|(name, count)| format!("{} {count}", &name[class.len()..]))
            .collect();
        of.join(", ")
    }

    fn per_minute(&self) -> f64 {
        let seconds = self.since.elapsed().as_secs_f64();
        (self.passed + self.failed) as f64 * 60.0 / seconds.max(0.001)
    }

    /// Prints the sums.
    pub fn print(&self, what: &str) {
        let seconds = self.since.elapsed().as_secs_f64();
        let runs = self.passed + self.failed;
        let per_minute = self.per_minute();
        let hours = self.count(SIMULATED) as f64 / 3_600_000.0;
        println!(
            "{what}: {runs} runs in {seconds:.1} s, {per_minute:.0} per minute, {hours:.2} h simulated"
        );
        let asked: u64 = ["done", "refused", "unknown"].map(|name| self.count(name)).iter().sum();
        println!("  {asked} operations checked");
        for class in ["fault ", "sometimes ", ""] {
            let told = self.told(class);
            if !told.is_empty() {
                println!("  {class}{}{told}", if class.is_empty() { "" } else { "| " });
            }
        }
        println!("  {} passed, {} failed", self.passed, self.failed);
    }
}
