//! The containerd of this machine, by its own tool `ctr`.
//!
//! Its API is gRPC with leases, content and snapshots; `ctr images import` does all of it in the order
//! that this containerd wants. It reads CONTAINERD_ADDRESS and CONTAINERD_SNAPSHOTTER itself.

use std::{
    io::{self, Read as _, Write as _},
    process::{Child, Command, Stdio},
};

use super::{
    failure::{Class, Failure},
    scratch::Scratch,
};

/// The longest complaint of the tool that is read.
const SAID_BYTES_MAX: u64 = 64 << 10;

/// An archive on its way into containerd.
pub struct Import {
    child: Child,
}

impl Import {
    /// Begins to import an archive.
    pub fn begin(namespace: &str) -> Result<Import, Failure> {
        let mut command = ctr(namespace);
        command.args(["images", "import", "-"]).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        Ok(Import { child: command.spawn().map_err(|error| not_there(&error))? })
    }

    /// Sends the next bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(input) = &mut self.child.stdin else { return Ok(()) };
        match input.write_all(bytes) {
            Ok(()) => Ok(()),
            // It ended: what it said is the reason.
            Err(_) => {
                self.child.stdin = None;
                ended(&mut self.child)?;
                Err(Failure::failed("ctr stopped reading the image"))
            }
        }
    }

    /// Waits until the image is imported.
    pub fn end(mut self) -> Result<(), Failure> {
        self.child.stdin = None;
        ended(&mut self.child)
    }
}

impl Drop for Import {
    fn drop(&mut self) {
        // After a good end there is nobody to stop.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Exports the image `name` into a file of its own.
pub fn export(namespace: &str, name: &str) -> Result<Scratch, Failure> {
    let scratch = Scratch::create()?;
    let mut command = ctr(namespace);
    command.args(["images", "export"]).arg(scratch.path()).arg(name);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| not_there(&error))?;
    ended(&mut child)?;
    Ok(scratch)
}

fn ctr(namespace: &str) -> Command {
    let mut command = Command::new("ctr");
    command.args(["--namespace", namespace]);
    command
}

fn ended(child: &mut Child) -> Result<(), Failure> {
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        // What cannot be read of a complaint is not worth another one.
        let _ = stderr.take(SAID_BYTES_MAX).read_to_string(&mut said);
    }
    let status =
        child.wait().map_err(|error| Failure::failed(format!("cannot wait for ctr: {error}")))?;
    if status.success() {
        return Ok(());
    }
    let said = said.trim();
    let class = match said {
        said if said.contains("not found") => Class::NotFound,
        said if said.contains("failed to dial") => Class::Unreachable,
        _ => Class::Failed,
    };
    Err(Failure { class, text: format!("ctr failed: {said}") })
}

fn not_there(error: &io::Error) -> Failure {
    Failure::failed(format!("cannot run ctr, the tool of containerd: {error}; is it on the PATH?"))
}
