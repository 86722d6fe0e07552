//! Credential helpers: programs that keep secrets, such as `docker-credential-pass`.
//!
//! One is called for each question. The question stands on its standard input, the answer comes on its
//! standard output, with exit code 0; any other code means that the output says what is wrong. The
//! output goes into memory that the kernel keeps (a memfd): no secret reaches a disk, no pipe can fill
//! up and block, and a helper that writes without end is seen and stopped.

use std::{
    io::{self, Read as _, Seek as _},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::entry::Login;
use crate::local_files;

/// How long a helper may take. Some ask a person to unlock a keyring first.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// The longest answer in bytes: a login is a few kilobytes at most.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// How often a helper is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// What every helper says when it knows no login.
const NOT_FOUND: &str = "credentials not found";
/// The user that helpers name when the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// Characters of a helper's complaint that are repeated.
const ECHO_CHARS_MAX: usize = 200;

/// A helper, by what follows `docker-credential-` in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Helper {
    program: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Stored {
    #[serde(default, rename = "ServerURL")]
    server: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helper {
    /// The helper that a configuration calls `name`.
    ///
    /// # Errors
    /// It is not a bare name: a configuration names helpers on the path, no files.
    pub fn named(name: &str) -> Result<Helper, HelperError> {
        let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(bare) {
            return Err(HelperError::Name { received: shortened(name) });
        }
        Ok(Helper { program: format!("docker-credential-{name}") })
    }

    #[cfg(test)]
    pub fn at(program: &str) -> Helper {
        Helper { program: program.to_owned() }
    }

    /// The name of the program.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The login for a registry, if the helper has one.
    pub async fn get(&self, registry: &str) -> Result<Option<Login>, HelperError> {
        let answer = match self.run("get", registry.as_bytes()).await {
            Err(HelperError::Refused { said, .. }) if said.contains(NOT_FOUND) => return Ok(None),
            answer => answer?,
        };
        let stored: Stored = serde_json::from_slice(&answer)
            .map_err(|_| HelperError::Answer { program: self.program.clone() })?;
        Ok(Some(match stored.username.as_str() {
            TOKEN_USER => Login::IdentityToken(stored.secret),
            _ => Login::Password { username: stored.username, password: stored.secret },
        }))
    }

    /// Keeps a login.
    pub async fn store(&self, registry: &str, login: &Login) -> Result<(), HelperError> {
        let (username, secret) = match login {
            Login::Password { username, password } => (username.as_str(), password),
            Login::IdentityToken(token) | Login::RegistryToken(token) => (TOKEN_USER, token),
        };
        let stored = Stored {
            server: registry.to_owned(),
            username: username.to_owned(),
            secret: secret.clone(),
        };
        let question = serde_json::to_vec(&stored)
            .map_err(|_| HelperError::Answer { program: self.program.clone() })?;
        self.run("store", &question).await.map(drop)
    }

    /// Forgets a login; one that is not there is no error.
    pub async fn erase(&self, registry: &str) -> Result<(), HelperError> {
        match self.run("erase", registry.as_bytes()).await {
            Err(HelperError::Refused { said, .. }) if said.contains(NOT_FOUND) => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn run(&self, action: &'static str, question: &[u8]) -> Result<Vec<u8>, HelperError> {
        let broken = |error| HelperError::Start { program: self.program.clone(), error };
        let input = local_files::in_memory(question).map_err(broken)?;
        let mut output = local_files::in_memory(b"").map_err(broken)?;
        let mut child = Command::new(&self.program)
            .arg(action)
            .stdin(input)
            .stdout(output.try_clone().map_err(broken)?)
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(broken)?;
        let written = || output.metadata().map(|about| about.len());
        let ended = timeout(ANSWER_MAX, self.ended(&mut child, written)).await;
        let status = ended.unwrap_or_else(|_| {
            let limit = ANSWER_MAX.as_secs();
            Err(HelperError::Slow { program: self.program.clone(), limit })
        });
        if status.is_err() {
            // It may have ended meanwhile; either way it is waited for and leaves no zombie.
            let _ = child.kill();
            let _ = child.wait();
        }
        let status = status?;
        let mut answer = Vec::new();
        output.rewind().and_then(|()| output.read_to_end(&mut answer)).map_err(broken)?;
        if status.success() {
            return Ok(answer);
        }
        let said = shortened(String::from_utf8_lossy(&answer).trim());
        Err(HelperError::Refused { program: self.program.clone(), action, said })
    }

    /// Waits for the end of the program, or until it has written too much.
    async fn ended(
        &self,
        child: &mut Child,
        written: impl Fn() -> io::Result<u64>,
    ) -> Result<ExitStatus, HelperError> {
        let broken = |error| HelperError::Start { program: self.program.clone(), error };
        loop {
            let status = child.try_wait().map_err(broken)?;
            if written().map_err(broken)? > ANSWER_BYTES_MAX {
                return Err(HelperError::Answer { program: self.program.clone() });
            }
            if let Some(status) = status {
                return Ok(status);
            }
            sleep(LOOK_INTERVAL).await;
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}

/// A credential helper did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// It is called what no helper is called.
    #[error("`{received}` is not the name of a credential helper: letters, digits, `-`, `_`, `.`")]
    Name {
        /// What the configuration says, shortened.
        received: String,
    },
    /// It could not be run.
    #[error(
        "cannot run the credential helper `{program}`: {error}; is it installed and on the PATH?"
    )]
    Start {
        /// The program.
        program: String,
        /// What the system says.
        error: io::Error,
    },
    /// It said no.
    #[error("the credential helper `{program} {action}` failed: {said}")]
    Refused {
        /// The program.
        program: String,
        /// What it was asked to do.
        action: &'static str,
        /// What it said, shortened.
        said: String,
    },
    /// It did not end.
    #[error("the credential helper `{program}` did not answer within {limit} s")]
    Slow {
        /// The program.
        program: String,
        /// How long it was waited for, in seconds.
        limit: u64,
    },
    /// Its answer is not one. What it is stays unsaid: it may be a secret.
    #[error("the answer of the credential helper `{program}` is not what helpers answer")]
    Answer {
        /// The program.
        program: String,
    },
}
