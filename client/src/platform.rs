//! Platforms: `os/architecture[/variant]`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What an image runs on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system, as Go names it: `linux`.
    pub os: String,
    /// The processor, as Go names it: `amd64`, `arm64`.
    pub architecture: String,
    /// Which kind of it: `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text that names no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{received}` is no platform; write OS/ARCHITECTURE, such as linux/amd64 or linux/arm/v7")]
pub struct InvalidPlatform {
    /// What was received, shortened.
    pub received: String,
}

impl Platform {
    /// The platform of this machine; containers run on Linux.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "x86" => ("386", None),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Platform {
            os: "linux".to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.map(str::to_owned),
        }
    }

    /// Does what is `offered` run where `self` is wanted? A variant counts only where both name one.
    pub fn accepts(&self, offered: &Platform) -> bool {
        let variants_agree = match (&self.variant, &offered.variant) {
            (Some(wanted), Some(offered)) => wanted == offered,
            _ => true,
        };
        self.os == offered.os && self.architecture == offered.architecture && variants_agree
    }
}

impl FromStr for Platform {
    type Err = InvalidPlatform;

    fn from_str(text: &str) -> Result<Platform, InvalidPlatform> {
        let wrong = || InvalidPlatform { received: text.chars().take(80).collect() };
        let mut parts = text.split('/');
        let mut part = || parts.next().filter(|part| !part.is_empty()).map(str::to_owned);
        let (os, architecture, variant) = (part(), part(), part());
        let (Some(os), Some(architecture)) = (os, architecture) else { return Err(wrong()) };
        if text.split('/').count() > 3 || text.ends_with('/') {
            return Err(wrong());
        }
        Ok(Platform { os, architecture, variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_and_compared() {
        let of = |text: &str| text.parse::<Platform>();
        let arm: Platform = of("linux/arm64/v8").expect("a platform");
        assert_eq!(arm.to_string(), "linux/arm64/v8");
        assert!(arm.accepts(&of("linux/arm64").expect("a platform")));
        assert!(!arm.accepts(&of("linux/arm64/v9").expect("a platform")));
        assert!(!arm.accepts(&of("linux/amd64").expect("a platform")));
        for wrong in ["", "linux", "linux/", "/amd64", "a/b/c/d", "a/b/"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
