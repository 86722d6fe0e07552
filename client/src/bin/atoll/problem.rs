//! Why the tool ends without having done what was asked, and its exit code.

use std::io::{self, Write};

use atoll_core::admin::Failure;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The node refused, or failed at it.
    Refused(Failure),
    /// Something else failed, or did not finish in time.
    Failed(String),
    /// The call is wrong.
    Call(String),
    /// Nothing that answers as an admin listener is there.
    Unreachable(String),
    /// The cluster is not well; what is wrong was printed.
    NotWell,
}

impl Problem {
    /// The exit code, as the module of the binary lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Problem::Refused(_) | Problem::Failed(_) => 1,
            Problem::Call(_) => 2,
            Problem::Unreachable(_) => 3,
            Problem::NotWell => 4,
        }
    }

    /// Writes what a person should read.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Problem::Refused(failure) => {
                writeln!(out, "error: {} ({})", failure.message, failure.code)?;
                if !failure.detail.is_empty() {
                    writeln!(out, "  {}", failure.detail)?;
                }
                Ok(())
            }
            Problem::Failed(text) | Problem::Call(text) | Problem::Unreachable(text) => {
                writeln!(out, "error: {text}")
            }
            Problem::NotWell => Ok(()),
        }
    }
}
