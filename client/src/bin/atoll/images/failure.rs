//! Why a command for images ends without having done what was asked, and its exit code.

use std::io;

use atoll_client::{
    BuildError, CopyError, Kind, PullError, PushError, RequestError, ViewError,
    docker_config::DockerConfigError, format::FormatError,
};

/// What went wrong, as scripts tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Anything that has no code of its own.
    Failed,
    /// The call is wrong: trying again without a change is useless.
    Usage,
    /// There is no such thing.
    NotFound,
    /// A login is missing, or does not suffice.
    NotAuthorised,
    /// Nobody answers.
    Unreachable,
    /// Content is not what its digest or its format says.
    Content,
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// A failure: its class, and what a person should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub class: Class,
    /// What was received, what was expected, what to do next.
    pub text: String,
}

impl Failure {
    /// A failure without a class of its own.
    pub fn failed(text: impl Into<String>) -> Failure {
        Failure { class: Class::Failed, text: text.into() }
    }

    /// A wrong call.
    pub fn usage(text: impl Into<String>) -> Failure {
        Failure { class: Class::Usage, text: text.into() }
    }

    /// An end in the middle.
    pub fn interrupted() -> Failure {
        Failure { class: Class::Interrupted, text: "interrupted; what is there is kept".to_owned() }
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self.class {
            Class::Failed => 1,
            Class::Usage => 2,
            Class::NotFound => 3,
            Class::NotAuthorised => 4,
            Class::Unreachable => 5,
            Class::Content => 6,
            // As a shell says it of a program that ended by this signal.
            Class::Interrupted => 130,
        }
    }

    fn of(kind: Kind, text: String) -> Failure {
        let class = match kind {
            Kind::NotFound => Class::NotFound,
            Kind::Denied => Class::NotAuthorised,
            Kind::Unavailable => Class::Unreachable,
            Kind::Content => Class::Content,
            Kind::Refused | Kind::Local => Class::Failed,
        };
        Failure { class, text }
    }
}

macro_rules! by_kind {
    ($($error:ty),*) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Failure {
                Failure::of(error.kind(), error.to_string())
            }
        }
    )*};
}
by_kind!(RequestError, PullError, CopyError);

impl From<PushError> for Failure {
    fn from(error: PushError) -> Failure {
        match &error {
            // What is wrong lies here, not in the registry.
            PushError::Source(failure) if failure.cause.kind() == io::ErrorKind::InvalidData => {
                Failure {
                    class: Class::Content,
                    text: format!("{error}; the image is damaged where it is: make it anew"),
                }
            }
            _ => Failure::of(error.kind(), error.to_string()),
        }
    }
}

impl From<ViewError> for Failure {
    fn from(error: ViewError) -> Failure {
        match error {
            ViewError::Request(error) => error.into(),
            invalid @ ViewError::Invalid { .. } => {
                Failure { class: Class::Content, text: invalid.to_string() }
            }
        }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Failure {
        Failure::usage(error.to_string())
    }
}

impl From<DockerConfigError> for Failure {
    fn from(error: DockerConfigError) -> Failure {
        Failure::failed(error.to_string())
    }
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Failure {
        let class = match &error {
            FormatError::Io { error, .. } if error.kind() == io::ErrorKind::NotFound => {
                Class::NotFound
            }
            FormatError::NoSuchImage { .. } | FormatError::NoPlatform { .. } => Class::NotFound,
            FormatError::NoImage { .. } | FormatError::NoLayout { .. } => Class::Usage,
            FormatError::Io { .. } | FormatError::Empty => Class::Failed,
            FormatError::Archive { .. }
            | FormatError::Missing { .. }
            | FormatError::MissingBlob { .. }
            | FormatError::Document { .. }
            | FormatError::Manifest { .. }
            | FormatError::Content { .. } => Class::Content,
        };
        Failure { class, text: error.to_string() }
    }
}
