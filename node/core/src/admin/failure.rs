//! The one shape of everything that goes wrong.

use serde::{Deserialize, Serialize};

/// Why a request was refused or failed: a code for programs, a sentence for people, and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// What kind of failure, for programs: lower-case words joined by `_`. Never changes its meaning.
    pub code: String,
    /// What happened, with what was received.
    pub message: String,
    /// What was expected, and what to do now.
    pub detail: String,
}
