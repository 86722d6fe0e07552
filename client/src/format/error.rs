//! Why an image cannot be read or written.

use std::{io, path::PathBuf};

use atoll_core::Digest;

use crate::ContentError;

/// An image outside a registry cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The system refused.
    #[error("cannot {action} `{}`: {error}", path.display())]
    Io {
        /// What was tried: `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The tar is damaged, or made to do harm.
    #[error("`{}` cannot be used: {fault}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        fault: ArchiveFault,
    },
    /// A file that must be there is not.
    #[error("`{}` has no `{name}`; expected {expected}", path.display())]
    Missing {
        /// The folder or archive.
        path: PathBuf,
        /// The file inside it.
        name: String,
        /// What it would have to be.
        expected: &'static str,
    },
    /// A file of the format makes no sense.
    #[error("`{name}` in `{}` makes no sense: {reason}", path.display())]
    Document {
        /// The folder or archive.
        path: PathBuf,
        /// The file inside it.
        name: String,
        /// Why.
        reason: String,
    },
    /// A manifest makes no sense.
    #[error("the manifest `{digest}` cannot be used: {reason}")]
    Manifest {
        /// Which one.
        digest: Digest,
        /// Why.
        reason: String,
    },
    /// The bytes are not those that were announced.
    #[error("`{name}` in `{}` has other content than its name says: {error}", path.display())]
    Content {
        /// The folder or archive.
        path: PathBuf,
        /// The file inside it.
        name: String,
        /// What is different.
        error: Box<ContentError>,
    },
    /// No image is meant.
    #[error("{}", no_such_image(wanted.as_deref(), *count, known))]
    NoSuchImage {
        /// The name that was asked for.
        wanted: Option<String>,
        /// How many images there are.
        count: usize,
        /// Their names.
        known: String,
    },
    /// The index has nothing for the platform.
    #[error("there is no image for {wanted}, only for {}", if offered.is_empty() { "unnamed platforms" } else { offered })]
    NoPlatform {
        /// What was asked for.
        wanted: String,
        /// What there is.
        offered: String,
    },
    /// An image is needed and something else was found.
    #[error(
        "`{digest}` is no image but `{media_type}`; one image is needed here: choose one with --platform"
    )]
    NoImage {
        /// What was found.
        digest: Digest,
        /// What it is.
        media_type: String,
    },
    /// The folder has something else in it.
    #[error("`{}` has files in it and is no OCI layout; name a new folder, an empty one, or a layout", path.display())]
    NoLayout {
        /// The folder.
        path: PathBuf,
    },
    /// A blob is not there.
    #[error("the blob `{digest}` is missing; the image is not complete")]
    MissingBlob {
        /// Which one.
        digest: Digest,
    },
    /// Nothing was read.
    #[error("there is no image")]
    Empty,
}

fn no_such_image(wanted: Option<&str>, count: usize, known: &str) -> String {
    let has = match (count, known) {
        (0, _) => "there is no image".to_owned(),
        (1, "") => "there is one image without a name".to_owned(),
        (count, "") => format!("there are {count} images without names"),
        (_, known) => format!("there is: {known}"),
    };
    match wanted {
        Some(wanted) => format!("there is no image `{wanted}`; {has}"),
        None => format!("it must be said which image is meant; {has}"),
    }
}

/// What is wrong with a tar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveFault {
    /// It is packed.
    #[error("it is compressed with {with}; unpack it first")]
    Compressed {
        /// The program that unpacks it.
        with: &'static str,
    },
    /// A header is none.
    #[error("what stands at byte {at} is no tar header")]
    Header {
        /// Where, in bytes from the start.
        at: u64,
    },
    /// It ends too early.
    #[error("`{name}` is announced with {size} bytes, but the archive ends before")]
    Truncated {
        /// The file.
        name: String,
        /// Its length as announced.
        size: u64,
    },
    /// A path leads out of it.
    #[error("`{name}` leads out of the archive")]
    Outside {
        /// The path or the target of a link, shortened.
        name: String,
    },
    /// Two files have one name: two readers could take different ones.
    #[error("`{name}` is in it twice")]
    Twice {
        /// The file.
        name: String,
    },
    /// A link leads nowhere, or in a circle.
    #[error("the link `{name}` leads to no file")]
    Link {
        /// The link.
        name: String,
    },
    /// It is larger than any image's archive.
    #[error("it has more than {max} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: u64,
    },
}
