//! The commands that deal with images: pull, push, copy, look at, remove.
//!
//! Each asks the library, which knows the ring and verifies every byte; here is what stands around
//! it: where images come from and go to, what a person sees meanwhile, and what a script gets.

mod arguments;
mod blobs;
mod containerd;
mod copy;
mod docker;
mod failure;
mod inspect;
mod listing;
mod login;
mod outlet;
mod place;
mod progress;
mod pull;
mod push;
mod remove;
mod scratch;
mod session;
mod shell;
mod source;
mod status;
mod terminal;
mod whereabouts;

pub use arguments::ImageCommand;
pub use failure::Failure;

/// Decides about colours, once.
pub fn set_colour(wanted: clap::ColorChoice) {
    terminal::set_colour(wanted);
}

/// Says on standard error why a command failed.
pub fn complain(failure: &Failure) {
    let (begin, end) = if terminal::is_coloured() { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    eprintln!("{begin}error:{end} {}", failure.text);
}

/// Runs one command.
pub async fn run(command: ImageCommand) -> Result<(), Failure> {
    match command {
        ImageCommand::Pull(call) => interruptible(pull::run(call)).await,
        ImageCommand::Push(call) => interruptible(push::run(call)).await,
        ImageCommand::Copy(call) => interruptible(copy::run(call)).await,
        ImageCommand::Ls(call) => listing::repositories(call).await,
        ImageCommand::Tags(call) => listing::tags(call).await,
        ImageCommand::Inspect(call) => inspect::run(call).await,
        ImageCommand::Rm(call) => remove::run(call).await,
        ImageCommand::Where(call) => whereabouts::run(call).await,
        ImageCommand::Status(call) => status::run(call).await,
        ImageCommand::Login(call) => login::login(call).await,
        ImageCommand::Logout(call) => login::logout(call).await,
        ImageCommand::Completions { shell } => shell::completions(shell),
        ImageCommand::Man { folder } => shell::man(folder.as_deref()),
    }
}

/// Lets Ctrl-C end the work in order, so that no half-written file stays behind.
async fn interruptible(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::select! {
        biased;
        done = work => done,
        Ok(()) = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
    }
}
