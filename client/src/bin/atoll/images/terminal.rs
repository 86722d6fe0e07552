//! Talking with a person: colours, questions, passwords.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::termios::{self, LocalModes, OptionalActions};

use super::failure::Failure;

/// The longest password in bytes: identity tokens are a few kilobytes.
const PASSWORD_BYTES_MAX: u64 = 64 << 10;

static COLOURED: AtomicBool = AtomicBool::new(false);

/// Decides about colours once, for standard error: that is where they are used.
pub fn set_colour(wanted: clap::ColorChoice) {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let coloured = match wanted {
        clap::ColorChoice::Always => true,
        clap::ColorChoice::Never => false,
        clap::ColorChoice::Auto => !unwanted && io::stderr().is_terminal(),
    };
    COLOURED.store(coloured, Ordering::Relaxed);
}

/// Whether colours are wanted.
pub fn is_coloured() -> bool {
    COLOURED.load(Ordering::Relaxed)
}

/// Asks a question that `y` answers; everything else means no.
///
/// # Errors
/// Nobody is there to answer.
pub fn confirmed(question: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!(
            "nobody is here to answer: {question} Say --yes if it is meant"
        )));
    }
    let answer = asked(&format!("{question} [y/N] "))?;
    Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
}

/// Asks for a line.
pub fn asked(question: &str) -> Result<String, Failure> {
    eprint!("{question}");
    let _ = io::stderr().flush();
    let mut line = String::new();
    let read = io::stdin().lock().take(PASSWORD_BYTES_MAX).read_line(&mut line);
    read.map_err(|error| Failure::failed(format!("cannot read the answer: {error}")))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Asks for a password, which does not appear on the screen.
///
/// # Errors
/// Standard input is no terminal: a password would be seen or taken from elsewhere.
pub fn password() -> Result<String, Failure> {
    let stdin = io::stdin();
    let Ok(before) = termios::tcgetattr(&stdin) else {
        return Err(Failure::usage(
            "there is no terminal to ask for the password; pass it with --password-stdin",
        ));
    };
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let set = |modes| termios::tcsetattr(&stdin, OptionalActions::Flush, modes);
    set(&silent).map_err(|error| Failure::failed(format!("cannot hide the password: {error}")))?;
    let answer = asked("Password: ");
    let restored = set(&before);
    // The end of the line was not echoed either.
    eprintln!();
    restored.map_err(|error| Failure::failed(format!("cannot restore the terminal: {error}")))?;
    answer
}

/// The password that stands on standard input, without the end of its line.
pub fn password_from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().lock().take(PASSWORD_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| Failure::failed(format!("cannot read the password: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
