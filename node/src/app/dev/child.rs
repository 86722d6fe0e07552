//! A node as a child process, and the files around it.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what lies beside the data folders of nodes is outside the disk seam of each"
)]

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::{fs::OpenOptionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

use super::{DevError, plan::NodePlan, system};

/// How much of the end of a log is repeated when its node has ended, in bytes.
const TAIL_BYTES_MAX: u64 = 4096;

/// A running node.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    log: PathBuf,
    /// Where this run's lines begin in the log.
    log_start: u64,
}

/// A node that is no longer running.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// The last lines it wrote.
    pub tail: String,
}

impl Child {
    /// Starts a node.
    ///
    /// It gets a process group of its own, so that Ctrl-C reaches the parent alone, which then
    /// stops it in order; and it ends when the parent is gone without having done so.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn start(plan: &NodePlan) -> Result<Self, DevError> {
        let log = plan.log_path();
        let name = log.display();
        let open = File::options().create(true).append(true).open(&log);
        let mut file = open.map_err(system(format!("open {name}")))?;
        let log_start = file.seek(SeekFrom::End(0)).map_err(system(format!("read {name}")))?;
        let output = file.try_clone().map_err(system(format!("open {name}")))?;
        let binary = std::env::current_exe().map_err(system("find this program"))?;
        let process = Command::new(binary)
            .args(["serve", "--parent", &std::process::id().to_string(), "--config"])
            .arg(plan.config_path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(file)
            .process_group(0)
            .spawn()
            .map_err(system(format!("start {}", plan.id())))?;
        Ok(Self { process, log, log_start })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its end, once it has ended.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn ended(&mut self) -> Result<Option<Ended>, DevError> {
        let status = self.process.try_wait().map_err(system("look after a node"))?;
        Ok(status.map(|status| Ended { status, tail: self.tail() }))
    }

    /// Does it run?
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// Asks it to stop.
    pub fn terminate(&mut self) {
        // The process is not reaped while it runs, so its id cannot be another's.
        if self.is_running() {
            let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        }
    }

    /// Ends it, if it still runs; answers the id of a process that had to be killed.
    pub fn kill(&mut self) -> Option<u32> {
        if !self.is_running() {
            return None;
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        Some(self.pid())
    }

    fn tail(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            let len = file.metadata()?.len();
            let start = self.log_start.max(len.saturating_sub(TAIL_BYTES_MAX));
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
            let text = String::from_utf8_lossy(&bytes);
            // What was cut off in the middle of a line is no line.
            let whole = if start > self.log_start { text.split_once('\n') } else { None };
            Ok(whole.map_or(text.as_ref(), |(_, whole)| whole).to_owned())
        };
        read().unwrap_or_default()
    }
}

/// In the child: ends this process with its parent.
///
/// # Errors
/// When `parent` is not the parent any more, or the system refuses.
pub fn end_with_parent(parent: i32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // The parent may have ended before the line above took effect.
    let is_parent = getppid().is_some_and(|pid| pid.as_raw_nonzero().get() == parent);
    anyhow::ensure!(is_parent, "process {parent} is not the parent of this one");
    Ok(())
}

/// Creates a folder and its parents.
pub(super) fn create_folder(path: &Path) -> Result<(), DevError> {
    fs::create_dir_all(path).map_err(system(format!("create {}", path.display())))
}

/// Replaces a file in one step, so that no reader ever sees half of it.
pub(super) fn write_file(path: &Path, text: &str) -> Result<(), DevError> {
    let new = path.with_extension("new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .map_err(system(format!("write {}", path.display())))
}

/// As [`write_file`], readable by its owner alone.
pub(super) fn write_secret(path: &Path, text: &str) -> Result<(), DevError> {
    let new = path.with_extension("new");
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    options
        .open(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&new, path))
        .map_err(system(format!("write {}", path.display())))
}

/// Is there such a file?
pub(super) fn is_there(path: &Path) -> bool {
    fs::metadata(path).is_ok()
}

/// The text of a file, if there is one.
pub(super) fn read_file(path: &Path) -> Result<Option<String>, DevError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(system(format!("read {}", path.display()))(error)),
    }
}

/// Removes a file that may be there.
pub(super) fn remove_file(path: &Path) -> Result<(), DevError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(system(format!("remove {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}
