//! The words of the command line.

use std::time::Duration;

use atoll_core::admin::{Change, NodeChange, Target};
use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};

use crate::{admin::AdminAddress, human, images::ImageCommand};

/// Images in and out of a registry that is its own storage cluster, and tools for who runs one.
#[derive(Debug, Parser)]
#[command(name = "atoll", version)]
pub struct Cli {
    /// Colours on standard error
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Images(ImageCommand),
    /// Look at a cluster and change who belongs to it
    Ctl(Ctl),
    /// A registry on loopback for docker, containerd and podman of this machine
    Agent(crate::agent::Agent),
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 done; 1 refused, failed, or not finished in time; 2 wrong \
    call; 3 the admin listener cannot be reached; 4 `status --check` found the cluster not well.")]
pub struct Ctl {
    #[command(flatten)]
    pub options: Options,
    #[command(subcommand)]
    pub command: CtlCommand,
}

#[derive(Debug, Args)]
pub struct Options {
    /// Admin listener of any node, HOST:PORT
    #[arg(
        long,
        global = true,
        env = "ATOLL_ADMIN",
        value_name = "ADDR",
        default_value = "127.0.0.1:5002"
    )]
    pub admin: AdminAddress,
    /// How answers are printed
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
    /// How long one answer may take
    #[arg(long, global = true, value_name = "TIME", default_value = "30s",
        value_parser = human::parse_duration)]
    pub timeout: Duration,
}

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned, for people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub enum CtlCommand {
    /// Show members, health, progress
    Status(StatusOptions),
    /// Show who has how much of the ring
    Ring,
    /// Show where an image or a blob is, and who really has a copy
    Where {
        /// repo:tag, repo@digest, or a digest alone
        #[arg(value_name = "REF", value_parser = parse_target)]
        target: Target,
    },
    /// Move a node's copies elsewhere; it stays a member
    Drain(ChangeOptions),
    /// Take a drained node back into the ring
    Undrain(ChangeOptions),
    /// Move a node's copies elsewhere and forget it; for a dead node, restore its copies from others
    Remove(ChangeOptions),
    /// Put one node in another's place
    Replace {
        #[command(flatten)]
        options: ChangeOptions,
        /// The node that takes over, by number or name; it must have joined
        #[arg(long, value_name = "NODE")]
        by: String,
    },
    /// Stage, look at, commit or discard a change of several nodes
    #[command(subcommand)]
    Plan(PlanCommand),
    /// Compare copies among all owners now
    Repair,
    /// Collect garbage now
    Gc {
        /// Only say what would be collected
        #[arg(long)]
        dry_run: bool,
    },
    /// Tokens with which new nodes join
    #[command(subcommand)]
    Token(TokenCommand),
}

#[derive(Debug, Args)]
pub struct StatusOptions {
    /// Show it again and again until Ctrl-C
    #[arg(long)]
    pub watch: bool,
    /// Pause between two looks
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = human::parse_duration)]
    pub interval: Duration,
    /// End with exit code 4 when the cluster is degraded or worse
    #[arg(long)]
    pub check: bool,
    /// Wait until the cluster is well and nothing moves; exit code 1 when it takes longer
    #[arg(long, value_name = "TIME", value_parser = human::parse_duration, conflicts_with = "watch")]
    pub wait: Option<Duration>,
}

#[derive(Debug, Args)]
pub struct ChangeOptions {
    /// The node, by number or name
    #[arg(value_name = "NODE")]
    pub node: String,
    /// Only show what would move
    #[arg(long)]
    pub dry_run: bool,
    /// Do it although the node warns of it
    #[arg(long)]
    pub force: bool,
    /// Show progress until it is done
    #[arg(long, conflicts_with = "dry_run")]
    pub watch: bool,
}

#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Show the staged plan
    Show,
    /// Stage a plan and show what it would move
    Stage {
        /// Changes like drain:3 or remove:4, with the numbers of nodes
        #[arg(value_name = "CHANGE", required = true, value_parser = parse_change)]
        changes: Vec<NodeChange>,
        /// Only show what would move
        #[arg(long)]
        dry_run: bool,
    },
    /// Carry the staged plan out
    Commit {
        /// Do it although copies still move for an earlier change
        #[arg(long)]
        force: bool,
    },
    /// Throw the staged plan away
    Discard,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it works once
    Create {
        /// How long it is good for
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = human::parse_duration)]
        ttl: Duration,
    },
}

fn parse_target(text: &str) -> Result<Target, String> {
    let example = "write repo:tag, repo@sha256:…, or sha256:…";
    text.parse().map_err(|error| format!("{error}; {example}"))
}

fn parse_change(text: &str) -> Result<NodeChange, String> {
    let wrong = || format!("`{text}` is not a change like drain:3, undrain:3 or remove:4");
    let (word, node) = text.split_once(':').ok_or_else(wrong)?;
    let change = Change::ALL.into_iter().find(|change| change.to_string() == word);
    let node = node.parse().map_err(|_| wrong())?;
    Ok(NodeChange { node, change: change.ok_or_else(wrong)? })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn ctl(words: &[&str]) -> Result<Ctl, clap::Error> {
        match Cli::try_parse_from(["atoll", "ctl"].iter().chain(words))?.command {
            Command::Ctl(ctl) => Ok(ctl),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_declaration_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_stand_before_or_after_the_command() {
        for words in [&["-o", "json", "status"], &["status", "-o", "json"]] {
            assert_eq!(ctl(words).unwrap().options.output, Output::Json);
        }
        let ctl = ctl(&["drain", "3", "--watch", "--admin", "reef-1:7002"]).unwrap();
        assert_eq!(ctl.options.admin.to_string(), "reef-1:7002");
        assert!(matches!(ctl.command, CtlCommand::Drain(ChangeOptions { watch: true, .. })));
    }

    #[test]
    fn wrong_calls_say_what_would_be_right() {
        let said = |words: &[&str]| ctl(words).unwrap_err().to_string();
        assert!(said(&["where", "app"]).contains("write repo:tag"));
        assert!(said(&["plan", "stage", "drain3"]).contains("a change like drain:3"));
        assert!(said(&["plan", "stage", "eat:3"]).contains("a change like drain:3"));
        assert!(said(&["replace", "3"]).contains("--by"));
        assert!(said(&["drain"]).contains("NODE"));
        assert!(said(&["token", "create", "--ttl", "soon"]).contains("30s"));
        assert!(said(&["status", "--admin", "https://x:1"]).contains("https"));
        assert!(said(&["drain", "3", "--watch", "--dry-run"]).contains("cannot be used with"));
    }
}
