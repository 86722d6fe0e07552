//! `atoll completions` and `atoll man`: made from the declaration of the commands, so they are never
//! out of date.

use std::{io, path::Path};

use clap::CommandFactory as _;

use super::failure::Failure;
use crate::{cli::Cli, print_text};

pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "atoll", &mut text);
    print_text(&String::from_utf8_lossy(&text))
}

pub fn man(folder: Option<&Path>) -> Result<(), Failure> {
    let Some(folder) = folder else {
        let mut text = Vec::new();
        let made = clap_mangen::Man::new(Cli::command()).render(&mut text);
        made.map_err(|error| Failure::failed(format!("cannot make the page: {error}")))?;
        return print_text(&String::from_utf8_lossy(&text));
    };
    let failed = |error: io::Error| {
        Failure::failed(format!("cannot write pages into `{}`: {error}", folder.display()))
    };
    // With a folder that is not there every page would fail.
    if !folder.is_dir() {
        return Err(failed(io::Error::new(io::ErrorKind::NotFound, "there is no such folder")));
    }
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)
}
