//! Image references: `host[:port]/name[:tag][@digest]`.
//!
//! The registry is always written out. Other tools guess one (`app` means `docker.io/library/app`);
//! a guess sends credentials and pulls to a place that nobody named, so here it is an error that
//! says what is missing.

use std::{fmt, str::FromStr};

use atoll_core::{
    Digest, Reference, RepoName, Tag,
    digest::InvalidDigest,
    name::{InvalidRepoName, InvalidTag},
};

/// The longest host in bytes (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// The tag that is meant when neither tag nor digest is given, as every client has it.
const DEFAULT_TAG: &str = "latest";

/// What an image is asked for by: where it is, its repository, and which one of it.
///
/// ```
/// use atoll_client::ImageRef;
///
/// let image: ImageRef = "[::1]:5000/team/app:1.0".parse()?;
/// assert_eq!(image.registry().host(), "[::1]");
/// assert_eq!(image.registry().port(), Some(5000));
/// assert_eq!(image.tag().map(|tag| tag.as_str()), Some("1.0"));
/// assert_eq!(image.to_string(), "[::1]:5000/team/app:1.0");
///
/// let error = "app:1.0".parse::<ImageRef>().unwrap_err();
/// assert!(error.to_string().contains("names no registry"));
/// # Ok::<(), atoll_client::InvalidImageRef>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageRef {
    registry: RegistryHost,
    repo: RepoName,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

impl ImageRef {
    /// Where the image is.
    pub fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    /// Its repository.
    pub fn repo(&self) -> &RepoName {
        &self.repo
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What the registry is asked for: the digest when there is one, because a tag may have moved
    /// since; else the tag; else `latest`.
    pub fn reference(&self) -> Reference {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Reference::Digest(*digest),
            (None, Some(tag)) => Reference::Tag(tag.clone()),
            (None, None) => Reference::Tag(DEFAULT_TAG.parse().expect("`latest` is a tag")),
        }
    }
}

impl FromStr for ImageRef {
    type Err = InvalidImageRef;

    fn from_str(text: &str) -> Result<Self, InvalidImageRef> {
        let no_registry = || InvalidImageRef::NoRegistry { received: shortened(text) };
        let (registry, rest) = text.split_once('/').ok_or_else(no_registry)?;
        // The rule of every client: a first component without dot, colon or `localhost` is a part
        // of the name.
        if !registry.contains(['.', ':']) && registry != "localhost" {
            return Err(no_registry());
        }
        let registry = registry.parse()?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (rest, None),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag.parse()?)),
            None => (rest, None),
        };
        Ok(ImageRef { registry, repo: name.parse()?, tag, digest })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repo)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// The address of a registry: a host name, an IPv4 address or an IPv6 address in brackets, and
/// perhaps a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegistryHost {
    host: String,
    port: Option<u16>,
}

impl RegistryHost {
    /// The host, without the port; an IPv6 address has its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if one was given.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl FromStr for RegistryHost {
    type Err = InvalidRegistryHost;

    fn from_str(text: &str) -> Result<Self, InvalidRegistryHost> {
        let invalid = || InvalidRegistryHost { received: shortened(text) };
        let after_bracket = text.find(']').map_or(0, |at| at + 1);
        let (host, port) = match text[after_bracket..].split_once(':') {
            Some((host, port)) => {
                // Digits only and no leading zero: one address has one spelling.
                let plain = port.bytes().all(|byte| byte.is_ascii_digit());
                let port = port.parse().ok().filter(|_| plain && !port.starts_with('0'));
                (&text[..after_bracket + host.len()], Some(port.ok_or_else(invalid)?))
            }
            None => (text, None),
        };
        if is_ipv6(host) || is_host_name(host) {
            return Ok(RegistryHost { host: host.to_owned(), port });
        }
        Err(invalid())
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

fn is_ipv6(host: &str) -> bool {
    let inside = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inside.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Labels of letters, digits and inner hyphens, joined by dots; an IPv4 address is one of these.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        let outside = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        outside(label.bytes().next()) && outside(label.bytes().last()) && label.bytes().all(inside)
    };
    host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label)
}

/// Characters of a refused text that an error repeats.
const ECHO_CHARS_MAX: usize = 160;

fn shortened(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}

/// The text is not an image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImageRef {
    /// No registry stands before the first slash.
    #[error("`{received}` names no registry: write `host:port/name`, such as `127.0.0.1:5000/app`")]
    NoRegistry {
        /// What was received, shortened.
        received: String,
    },
    /// The registry is not an address.
    #[error(transparent)]
    Registry(#[from] InvalidRegistryHost),
    /// The repository's name is not one.
    #[error(transparent)]
    Repo(#[from] InvalidRepoName),
    /// The tag is not one.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// The digest is not one.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// The text is not the address of a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{received}` is not a registry's address: a host name or IP address (IPv6 in brackets), then perhaps `:` and a port from 1 to 65535"
)]
pub struct InvalidRegistryHost {
    /// What was received, shortened.
    pub received: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn parsed(text: &str) -> ImageRef {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_part_is_found_and_written_back() {
        for text in [
            "localhost/app",
            "127.0.0.1:5000/app:1.0",
            "registry.example.com/a/b/c",
            "registry.example.com:443/a:v1",
            "[2001:db8::1]/app",
        ] {
            assert_eq!(parsed(text).to_string(), text);
        }
        let image = parsed(&format!("example.com/a:v1@{SHA256}"));
        assert_eq!(image.to_string(), format!("example.com/a:v1@{SHA256}"));
        assert!(matches!(image.reference(), Reference::Digest(_)), "a digest goes before a tag");
        assert_eq!(parsed("example.com/a").reference().to_string(), "latest");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let error = |text: &str| text.parse::<ImageRef>().expect_err(text);
        for text in ["", "app", "app:1.0", "library/app", "team/app@sha256:0"] {
            assert!(matches!(error(text), InvalidImageRef::NoRegistry { .. }), "{text}");
        }
        for host in [
            "a:0", "a:080", "a:65536", "a:", "a:+1", "-a.b", "a..b", "[::1", "[::g]:1", "a_b.c",
            ".:1",
        ] {
            let text = format!("{host}/app");
            assert!(matches!(error(&text), InvalidImageRef::Registry(_)), "{text}");
        }
        assert!(matches!(error("a.b/App"), InvalidImageRef::Repo(_)));
        assert!(matches!(error("a.b/"), InvalidImageRef::Repo(_)));
        assert!(matches!(error("a.b/app:"), InvalidImageRef::Tag(_)));
        assert!(matches!(error("a.b/app:1:2"), InvalidImageRef::Tag(_)));
        assert!(matches!(error("a.b/app@sha256:0"), InvalidImageRef::Digest(_)));
        assert!(matches!(error("a.b/app@"), InvalidImageRef::Digest(_)));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_accepted_has_one_spelling(text in ".{0,80}") {
            if let Ok(image) = text.parse::<ImageRef>() {
                prop_assert_eq!(image.to_string(), text);
            }
        }

        #[test]
        fn anything_like_a_reference_is_judged_without_a_panic(
            text in r"(\[?[a-z0-9:.]{0,12}\]?(:[0-9]{0,6})?/)?[a-z/._-]{0,12}(:[a-zA-Z0-9.]{0,5})?(@sha256:[0-9a-f]{0,64})?"
        ) {
            if let Ok(image) = text.parse::<ImageRef>() {
                prop_assert_eq!(image.to_string(), text);
            }
        }
    }
}
