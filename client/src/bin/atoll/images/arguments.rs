//! The words of the commands for images.

use std::{path::PathBuf, time::Duration};

use atoll_client::Platform;
use clap::{Args, Subcommand};

use super::place::{Place, SourcePlace};
use crate::{cli::Output, human};

/// What stands under the help of each command.
const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 wrong call; 3 not found; 4 not authorised; \
    5 nobody reachable; 6 content is not what it should be.";

/// What stands under the help of commands that know places.
const PLACES: &str = "Places: docker: · containerd:[NAMESPACE] · oci:DIR[:NAME] · \
    oci-archive:FILE[:NAME] · docker-archive:FILE[:NAME]\n\nExit codes: 0 done; 1 failed; 2 wrong \
    call; 3 not found; 4 not authorised; 5 nobody reachable; 6 content is not what it should be.";

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Fetch an image from a registry
    Pull(Pull),
    /// Put an image into a registry
    Push(Push),
    /// Copy an image from one registry or name to another
    Copy(Copy),
    /// List the repositories of a registry
    Ls(Ls),
    /// List the tags of a repository
    Tags(Tags),
    /// Show what an image is made of
    Inspect(Inspect),
    /// Remove a tag, or a manifest with all its tags
    Rm(Rm),
    /// Show which nodes own the blobs of an image
    Where(Where),
    /// Show the nodes of a cluster, as its clients see it
    Status(Status),
    /// Log in to a registry
    Login(Login),
    /// Log out of a registry
    Logout(Logout),
    /// Print what a shell needs to complete commands
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them into a folder
    Man {
        /// Where to write one page for each command
        #[arg(long = "dir", value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

/// How a registry is reached.
#[derive(Clone, Debug, Args)]
pub struct Connection {
    /// Nodes of the cluster, where the name of an image has no host of its own, or that host
    #[arg(
        long,
        env = "ATOLL_REGISTRY",
        hide_env_values = true,
        value_name = "HOST:PORT,…",
        value_delimiter = ','
    )]
    pub registry: Vec<String>,
    /// Speak HTTP without TLS; to this machine that is done anyway
    #[arg(long, visible_alias = "insecure")]
    pub plain_http: bool,
    /// PEM file with certificates to trust beside the system's
    #[arg(long = "ca-file", value_name = "FILE")]
    pub ca_files: Vec<PathBuf>,
    /// How long it is tried while nobody answers
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = human::parse_duration)]
    pub timeout: Duration,
}

/// What is printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Printing {
    /// How the result is printed
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Output,
    /// Print the result only, no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// Which images of an index.
#[derive(Clone, Debug, Args)]
pub struct Choice {
    /// One of the platforms behind an index, such as linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    /// All platforms, and the index itself
    #[arg(long, conflicts_with = "platform")]
    pub all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = PLACES)]
pub struct Pull {
    /// [HOST[:PORT]/]NAME[:TAG][@DIGEST]
    pub image: String,
    /// Where it goes
    #[arg(long, value_name = "PLACE", default_value = "docker:")]
    pub to: Place,
    /// Without either: all platforms into OCI layouts, this machine's everywhere else
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub printing: Printing,
}

#[derive(Debug, Args)]
#[command(after_help = PLACES)]
pub struct Push {
    /// Where the image is; docker:NAME and containerd:[NAMESPACE/]NAME say which one
    #[arg(value_name = "SOURCE")]
    pub from: SourcePlace,
    /// [HOST[:PORT]/]NAME[:TAG]
    pub image: String,
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub printing: Printing,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Copy {
    /// The image to copy
    #[arg(value_name = "FROM")]
    pub from: String,
    /// Its new name
    #[arg(value_name = "TO")]
    pub to: String,
    /// Without either: all platforms
    #[command(flatten)]
    pub choice: Choice,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub printing: Printing,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Ls {
    /// HOST[:PORT]
    #[arg(value_name = "REGISTRY")]
    pub host: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub printing: Printing,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Tags {
    /// [HOST[:PORT]/]NAME
    #[arg(value_name = "REPOSITORY")]
    pub repo: String,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub printing: Printing,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Inspect {
    /// [HOST[:PORT]/]NAME[:TAG][@DIGEST]
    pub image: String,
    /// Print the manifest's bytes as the registry has them, and nothing else
    #[arg(long, conflicts_with_all = ["output", "quiet"])]
    pub raw: bool,
    /// Look at one of the platforms behind an index
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub printing: Printing,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Rm {
    /// [HOST[:PORT]/]NAME:TAG removes the tag; …@DIGEST the manifest with all its tags
    pub image: String,
    /// Do not ask first
    #[arg(short, long)]
    pub yes: bool,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub printing: Printing,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Where {
    /// [HOST[:PORT]/]NAME[:TAG][@DIGEST]
    pub image: String,
    /// Look at one of the platforms behind an index
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub printing: Printing,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Status {
    /// HOST[:PORT]
    #[arg(value_name = "REGISTRY")]
    pub host: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub printing: Printing,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Login {
    /// HOST[:PORT]
    #[arg(value_name = "REGISTRY")]
    pub host: Option<String>,
    /// The user; asked for when it is not given
    #[arg(short, long, value_name = "USER")]
    pub username: Option<String>,
    /// Read the password from standard input
    #[arg(long, requires = "username")]
    pub password_stdin: bool,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Logout {
    /// HOST[:PORT]
    #[arg(value_name = "REGISTRY")]
    pub host: Option<String>,
    #[command(flatten)]
    pub connection: Connection,
}
