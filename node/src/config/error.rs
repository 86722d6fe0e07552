//! What can be wrong with a configuration, one struct per fact.

use std::{fmt, path::PathBuf};

use super::place::Place;

/// The most errors printed at once: more than anyone reads, and a file that is no configuration at
/// all must not flood a terminal.
const ERRORS_SHOWN_MAX: usize = 50;

/// Everything that is wrong with one configuration; never empty.
#[derive(Debug)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().take(ERRORS_SHOWN_MAX).enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(f, "{newline}{error}")?;
        }
        match self.0.len().saturating_sub(ERRORS_SHOWN_MAX) {
            0 => Ok(()),
            hidden => write!(f, "\nand {hidden} more"),
        }
    }
}

impl ConfigErrors {
    /// `errors` in the order in which one would go through the file, then the environment.
    pub(super) fn in_order(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by_key(|error| match error.place() {
            Some(Place::File { line, column, .. }) => (0, *line, *column, String::new()),
            Some(Place::Environment { variable }) => (1, 0, 0, variable.clone()),
            Some(Place::Default) | None => (2, 0, 0, String::new()),
        });
        Self(errors)
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant is the fact it holds")]
pub enum ConfigError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    NotUtf8(#[from] NotUtf8),
    #[error(transparent)]
    Syntax(#[from] Syntax),
    #[error(transparent)]
    UnknownSection(#[from] UnknownSection),
    #[error(transparent)]
    UnknownKey(#[from] UnknownKey),
    #[error(transparent)]
    UnknownVariable(#[from] UnknownVariable),
    #[error(transparent)]
    WrongValue(#[from] WrongValue),
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
    #[error(transparent)]
    Conflict(#[from] Conflict),
}

impl ConfigError {
    /// The place to edit, where there is one.
    fn place(&self) -> Option<&Place> {
        match self {
            ConfigError::Unreadable(_) | ConfigError::TooLarge(_) => None,
            ConfigError::NotUtf8(NotUtf8 { place })
            | ConfigError::Syntax(Syntax { place, .. })
            | ConfigError::UnknownSection(UnknownSection { place, .. })
            | ConfigError::UnknownKey(UnknownKey { place, .. })
            | ConfigError::UnknownVariable(UnknownVariable { place, .. })
            | ConfigError::WrongValue(WrongValue { place, .. })
            | ConfigError::OutOfRange(OutOfRange { place, .. })
            | ConfigError::Conflict(Conflict { place, .. }) => Some(place),
        }
    }
}

/// The file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: cannot read the configuration file: {error}", path.display())]
pub struct Unreadable {
    /// The file as it was named.
    pub path: PathBuf,
    /// What the system said.
    pub error: std::io::Error,
}

/// The file is longer than any configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}: the configuration file is longer than {max} bytes", path.display())]
pub struct TooLarge {
    /// The file as it was named.
    pub path: PathBuf,
    /// The allowed length in bytes.
    pub max: u64,
}

/// The file, or a variable, is not UTF-8.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: not valid UTF-8")]
pub struct NotUtf8 {
    /// Where the first wrong byte is.
    pub place: Place,
}

/// The file is not TOML.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Syntax {
    /// Where.
    pub place: Place,
    /// What the parser said.
    pub message: String,
}

/// A section nobody declared.
#[derive(Debug, thiserror::Error)]
#[error("{place}: unknown section [{name}]{}", did_you_mean(suggestion))]
pub struct UnknownSection {
    /// Where.
    pub place: Place,
    /// As received.
    pub name: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// A key nobody declared.
#[derive(Debug, thiserror::Error)]
#[error("{place}: unknown key `{name}`{}", did_you_mean(suggestion))]
pub struct UnknownKey {
    /// Where.
    pub place: Place,
    /// As received, with its section.
    pub name: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// A variable with our prefix that stands for no key.
#[derive(Debug, thiserror::Error)]
#[error("{place}: no key has this variable{}", did_you_mean(suggestion))]
pub struct UnknownVariable {
    /// The variable.
    pub place: Place,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

/// A value of the wrong type or form.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {key}: received {received}, expected {expected}")]
pub struct WrongValue {
    /// Where.
    pub place: Place,
    /// The key with its section.
    pub key: String,
    /// The value as written.
    pub received: String,
    /// What is allowed.
    pub expected: &'static str,
}

/// A value outside its range.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {key}: received {received}, allowed is {min} to {max}")]
pub struct OutOfRange {
    /// Where.
    pub place: Place,
    /// The key with its section.
    pub key: String,
    /// The value as written.
    pub received: String,
    /// The least allowed value, as it would be written.
    pub min: String,
    /// The greatest allowed value, as it would be written.
    pub max: String,
}

/// Two values that do not go together.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {key}: {message}")]
pub struct Conflict {
    /// Where the first of them was set.
    pub place: Place,
    /// The key with its section.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    match suggestion {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}
