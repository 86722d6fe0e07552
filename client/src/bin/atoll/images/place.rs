//! Where images are outside a registry, as they are written: `oci:DIR`, `docker:`, ….

use std::{fmt, path::PathBuf, str::FromStr};

/// The namespace of containerd that its tools use unless told otherwise.
const NAMESPACE: &str = "default";

/// Where a pull leaves an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The docker daemon of this machine.
    Docker,
    /// The containerd of this machine.
    Containerd {
        /// Its namespace.
        namespace: String,
    },
    /// A file or a folder.
    Stored(Stored),
}

/// Where a push finds an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourcePlace {
    /// The docker daemon, and the image's name there.
    Docker(String),
    /// The containerd, and the image's name there.
    Containerd {
        /// Its namespace.
        namespace: String,
        /// The image's name.
        name: String,
    },
    /// A file or a folder.
    Stored(Stored),
}

/// A file or a folder with images, and which image in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// What it is.
    pub format: Format,
    /// Where it is.
    pub path: PathBuf,
    /// The image's name in it.
    pub name: Option<String>,
}

/// How images are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An OCI layout in a folder.
    Oci,
    /// An OCI layout in a tar.
    OciArchive,
    /// What `docker save` writes.
    DockerArchive,
}

impl Format {
    const ALL: [Format; 3] = [Format::Oci, Format::OciArchive, Format::DockerArchive];

    fn word(self) -> &'static str {
        match self {
            Format::Oci => "oci",
            Format::OciArchive => "oci-archive",
            Format::DockerArchive => "docker-archive",
        }
    }
}

fn stored(word: &str, rest: &str) -> Result<Option<Stored>, String> {
    let Some(format) = Format::ALL.into_iter().find(|format| format.word() == word) else {
        return Ok(None);
    };
    // As other tools have it: the path ends at the first colon.
    let (path, name) = match rest.split_once(':') {
        Some((path, name)) => (path, Some(name.to_owned())),
        None => (rest, None),
    };
    if path.is_empty() || name.as_deref() == Some("") {
        return Err(format!("`{word}:` needs a path, then perhaps `:` and a name: {word}:./image"));
    }
    Ok(Some(Stored { format, path: path.into(), name }))
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        match (word, rest) {
            ("docker", "") => Ok(Place::Docker),
            ("docker", _) => Err("write `docker:`; the image keeps its name there".to_owned()),
            ("containerd", "") => Ok(Place::Containerd { namespace: NAMESPACE.to_owned() }),
            ("containerd", namespace) if is_namespace(namespace) => {
                Ok(Place::Containerd { namespace: namespace.to_owned() })
            }
            _ => stored(word, rest)?.map(Place::Stored).ok_or_else(|| unknown(text)),
        }
    }
}

impl FromStr for SourcePlace {
    type Err = String;

    fn from_str(text: &str) -> Result<SourcePlace, String> {
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        match word {
            "docker" | "containerd" if rest.is_empty() => Err(format!(
                "say which image: {word}:NAME, such as {word}:docker.io/library/app:1.0"
            )),
            "docker" => Ok(SourcePlace::Docker(rest.to_owned())),
            "containerd" => Ok(containerd(rest)),
            _ => stored(word, rest)?.map(SourcePlace::Stored).ok_or_else(|| unknown(text)),
        }
    }
}

/// `NAMESPACE/HOST/NAME` or `HOST/NAME`: a host has a dot or a colon, or is `localhost`.
fn containerd(rest: &str) -> SourcePlace {
    let is_host = |text: &str| text.contains(['.', ':']) || text == "localhost";
    let (namespace, name) = match rest.split_once('/') {
        Some((first, name)) if !is_host(first) && is_namespace(first) => (first, name),
        _ => (NAMESPACE, rest),
    };
    SourcePlace::Containerd { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn is_namespace(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && !text.starts_with('-') && text.bytes().all(good)
}

fn unknown(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    format!(
        "`{shown}` is no place for images; there are docker:, containerd:NAMESPACE, oci:DIR, \
         oci-archive:FILE and docker-archive:FILE"
    )
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.format.word(), self.path.display())?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Docker => f.write_str("docker:"),
            Place::Containerd { namespace } => write!(f, "containerd:{namespace}"),
            Place::Stored(stored) => stored.fmt(f),
        }
    }
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourcePlace::Docker(name) => write!(f, "docker:{name}"),
            SourcePlace::Containerd { namespace, name } => {
                write!(f, "containerd:{namespace}/{name}")
            }
            SourcePlace::Stored(stored) => stored.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_written_back() {
        for text in [
            "docker:",
            "containerd:k8s.io",
            "oci:a/b",
            "oci:a:v1",
            "docker-archive:/x.tar:h:1/a:v1",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        assert_eq!("containerd:".parse::<Place>().unwrap().to_string(), "containerd:default");
        assert_eq!("docker".parse::<Place>().unwrap(), Place::Docker);
        for wrong in
            ["", "oci:", "oci::v1", "oci:a:", "docker:x", "containerd:-n", "zip:x", "a/b:c"]
        {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_source_says_which_image() {
        let read = |text: &str| text.parse::<SourcePlace>();
        assert_eq!(read("docker:app:1.0").unwrap(), SourcePlace::Docker("app:1.0".into()));
        for (text, namespace, name) in [
            ("containerd:reef-1:5000/app:1", "default", "reef-1:5000/app:1"),
            ("containerd:k8s/docker.io/library/app:1", "k8s", "docker.io/library/app:1"),
            ("containerd:localhost/app", "default", "localhost/app"),
        ] {
            let expected =
                SourcePlace::Containerd { namespace: namespace.into(), name: name.into() };
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        assert!(read("docker:").unwrap_err().contains("docker:NAME"));
    }
}
