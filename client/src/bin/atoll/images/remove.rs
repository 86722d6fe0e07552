//! `atoll rm`.

use serde::Serialize;

use super::{arguments::Rm, failure::Failure, pull::json, terminal};
use crate::{cli::Output, print_text};

/// What was done, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Removed {
    image: String,
    removed: &'static str,
}

pub async fn run(call: Rm) -> Result<(), Failure> {
    let image = call.connection.image(&call.image)?;
    let client = call.connection.client(image.registry())?;
    // Nobody means `latest` who does not say so, where something is taken away.
    let (removed, question) = match (image.tag(), image.digest()) {
        (_, Some(_)) => ("manifest", format!("Remove the manifest {image} and every tag of it?")),
        (Some(_), None) => ("tag", format!("Remove the tag {image}?")),
        (None, None) => {
            return Err(Failure::usage(format!(
                "which image of `{image}`? Write {image}:TAG for a tag, or {image}@DIGEST for a \
                 manifest with all its tags"
            )));
        }
    };
    if !call.yes && !terminal::confirmed(&question)? {
        return Err(Failure::failed("nothing was removed"));
    }
    match (image.tag(), image.digest()) {
        (_, Some(digest)) => client.delete_manifest(image.repo(), digest).await?,
        (Some(tag), None) => client.delete_tag(image.repo(), tag).await?,
        (None, None) => {}
    }
    match (call.printing.output, call.printing.quiet) {
        (Output::Json, _) => {
            print_text(&(json(&Removed { image: image.to_string(), removed }) + "\n"))
        }
        (Output::Table, true) => Ok(()),
        (Output::Table, false) => print_text(&format!("removed the {removed} {image}\n")),
    }
}
