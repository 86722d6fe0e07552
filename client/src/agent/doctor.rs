//! Why do pulls not go through the agent? Looks for the usual mistakes, each with its fix.
//!
//! Every look is cheap and changes nothing. What is not on this machine (no podman, no docker) is
//! no finding.

mod programs;
mod services;

use std::fmt;

use super::{config::Config, connections::Connections, install::Root};
use crate::LocalFailure;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Works, but somebody may look.
    Odd,
    /// Does not work.
    Bad,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was looked at, and what was seen.
    pub seen: String,
    /// What to do; empty when it is fine.
    pub fix: String,
}

impl Finding {
    fn fine(seen: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Fine, seen: seen.into(), fix: String::new() }
    }

    fn odd(seen: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Odd, seen: seen.into(), fix: fix.into() }
    }

    fn bad(seen: impl Into<String>, fix: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Bad, seen: seen.into(), fix: fix.into() }
    }

    /// Does something not work?
    pub fn is_bad(&self) -> bool {
        self.verdict == Verdict::Bad
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Fine => "ok  ",
            Verdict::Odd => "odd ",
            Verdict::Bad => "BAD ",
        };
        writeln!(f, "{mark} {}", self.seen)?;
        if !self.fix.is_empty() {
            writeln!(f, "     fix: {}", self.fix)?;
        }
        Ok(())
    }
}

/// Looks at everything.
///
/// # Errors
/// A file with certificates cannot be used.
pub async fn examine(config: &Config, root: &Root) -> Result<Vec<Finding>, LocalFailure> {
    let connections = Connections::new(&config.tls)?;
    let mut findings = vec![services::cache_folder(config)];
    findings.push(services::agent(&connections, config).await);
    findings.extend(services::nodes(&connections, config).await);
    findings.extend(programs::containerd(config, root));
    findings.extend(programs::podman(config, root));
    findings.extend(programs::docker(config, root).await);
    findings.extend(programs::changed(root));
    Ok(findings)
}

#[cfg(test)]
mod tests;
