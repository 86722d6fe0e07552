//! What a machine runs: an operating system on a kind of processor.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Descriptor, FormatError};

/// A platform, as image indexes name it.
///
/// ```
/// use atoll_client::format::Platform;
///
/// let wanted: Platform = "linux/arm64/v8".parse()?;
/// assert!(wanted.is_served_by(&"linux/arm64".parse()?), "v8 is what arm64 is");
/// assert!(!wanted.is_served_by(&"linux/amd64".parse()?));
/// # Ok::<(), atoll_client::format::InvalidPlatform>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, in the words of Go: `amd64`, `arm64`.
    pub architecture: String,
    /// The operating system, in the words of Go: `linux`.
    pub os: String,
    /// Which of the processor's kinds, such as `v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What else an index says of it.
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Platform {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Platform {
            architecture: architecture.to_owned(),
            os: std::env::consts::OS.to_owned(),
            variant: None,
            rest: BTreeMap::new(),
        }
    }

    /// Whether an image for `offered` is what is asked for here.
    pub fn is_served_by(&self, offered: &Platform) -> bool {
        let same = self.os == offered.os && self.architecture == offered.architecture;
        same && self.kind() == offered.kind()
    }

    /// The variant; the one that is meant where none is written.
    fn kind(&self) -> Option<&str> {
        let usual = match self.architecture.as_str() {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            "amd64" => Some("v1"),
            _ => None,
        };
        self.variant.as_deref().filter(|variant| !variant.is_empty()).or(usual)
    }

    /// The first of an index's entries that serves this platform.
    ///
    /// # Errors
    /// None does; the error lists what there is.
    pub fn choose<'a>(&self, entries: &'a [Descriptor]) -> Result<&'a Descriptor, FormatError> {
        let serves = |entry: &&Descriptor| {
            entry.platform.as_ref().is_some_and(|offered| self.is_served_by(offered))
        };
        entries.iter().find(serves).ok_or_else(|| {
            let offered = entries.iter().filter_map(|entry| entry.platform.as_ref());
            let offered: Vec<String> = offered.map(Platform::to_string).collect();
            FormatError::NoPlatform { wanted: self.to_string(), offered: offered.join(", ") }
        })
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Platform, InvalidPlatform> {
        let good = |part: &&str| {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !part.is_empty() && part.bytes().all(word)
        };
        let parts: Vec<&str> = text.split('/').collect();
        let (os, architecture, variant) = match parts[..] {
            [os, architecture] => (os, architecture, None),
            [os, architecture, variant] => (os, architecture, Some(variant)),
            _ => return Err(InvalidPlatform { received: text.chars().take(80).collect() }),
        };
        if !parts.iter().all(good) {
            return Err(InvalidPlatform { received: text.chars().take(80).collect() });
        }
        Ok(Platform {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            variant: variant.map(str::to_owned),
            rest: BTreeMap::new(),
        })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// The text is not a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{received}` is not a platform like linux/amd64 or linux/arm/v7")]
pub struct InvalidPlatform {
    /// What was received, shortened.
    pub received: String,
}
