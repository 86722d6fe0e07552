//! `atoll ls` and `atoll tags`.

use atoll_client::Reference;
use serde::Serialize;

use super::{
    arguments::{Ls, Tags},
    failure::Failure,
    pull::json,
};
use crate::{cli::Output, print_text};

/// The repositories of a registry, as `-o json` prints them.
#[derive(Debug, Serialize)]
struct Repositories {
    registry: String,
    repositories: Vec<String>,
}

/// The tags of a repository, as `-o json` prints them.
#[derive(Debug, Serialize)]
struct TagList {
    repository: String,
    tags: Vec<String>,
}

pub async fn repositories(call: Ls) -> Result<(), Failure> {
    let host = call.connection.host(call.host.as_deref())?;
    let found = call.connection.client(&host)?.catalog().await?;
    let repositories: Vec<String> = found.iter().map(ToString::to_string).collect();
    match call.printing.output {
        Output::Table => print_text(&lines(&repositories)),
        Output::Json => {
            print_text(&(json(&Repositories { registry: host.to_string(), repositories }) + "\n"))
        }
    }
}

pub async fn tags(call: Tags) -> Result<(), Failure> {
    let image = call.connection.image(&call.repo)?;
    let is_repo = image.tag().is_none() && matches!(image.reference(), Reference::Tag(_));
    if !is_repo {
        return Err(Failure::usage(format!("`{image}` is an image; write its repository alone")));
    }
    let found = call.connection.client(image.registry())?.tags(image.repo()).await?;
    let tags: Vec<String> = found.iter().map(ToString::to_string).collect();
    match call.printing.output {
        Output::Table => print_text(&lines(&tags)),
        Output::Json => {
            let repository = format!("{}/{}", image.registry(), image.repo());
            print_text(&(json(&TagList { repository, tags }) + "\n"))
        }
    }
}

fn lines(words: &[String]) -> String {
    words.iter().map(|word| format!("{word}\n")).collect()
}
