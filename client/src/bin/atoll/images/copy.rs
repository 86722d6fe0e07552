//! `atoll copy`.

use atoll_client::{Place, Platforms};
use serde::Serialize;

use super::{arguments::Copy, failure::Failure, pull::json};
use crate::{cli::Output, human, print_text};

/// What was done, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    from: String,
    to: String,
    digest: String,
    manifests: u64,
    blobs_sent: u64,
    blobs_present: u64,
    bytes_sent: u64,
}

pub async fn run(call: Copy) -> Result<(), Failure> {
    let (from, to) = (call.connection.image(&call.from)?, call.connection.image(&call.to)?);
    let source = call.connection.client(from.registry())?;
    let target = if to.registry() == from.registry() {
        source.clone()
    } else {
        call.connection.client(to.registry())?
    };
    let platforms = call.choice.platform.map_or(Platforms::All, Platforms::One);
    let (from_reference, to_reference) = (from.reference(), to.reference());
    let copied = atoll_client::copy(
        Place { client: &source, repo: from.repo(), reference: &from_reference },
        Place { client: &target, repo: to.repo(), reference: &to_reference },
        &platforms,
    )
    .await?;
    let report = Report {
        from: from.to_string(),
        to: to.to_string(),
        digest: copied.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        manifests: copied.manifests,
        blobs_sent: copied.blobs,
        blobs_present: copied.blobs_present,
        bytes_sent: copied.bytes,
    };
    match (call.printing.output, call.printing.quiet) {
        (Output::Json, _) => print_text(&(json(&report) + "\n")),
        (Output::Table, true) => print_text(&format!("{}\n", report.digest)),
        (Output::Table, false) => print_text(&format!(
            "{}/{}@{}  {} manifests, {} blobs sent ({}), {} there already\n",
            to.registry(),
            to.repo(),
            report.digest,
            report.manifests,
            report.blobs_sent,
            human::bytes(report.bytes_sent),
            report.blobs_present,
        )),
    }
}
