//! `atoll where`: who owns the blobs of an image, by the client's own ring.
//!
//! This is what a pull goes by. What the nodes really have on their disks is the operator's question:
//! `atoll ctl where`.

use atoll_client::{Client, Digest, ImageRef, format::Graph};
use serde::Serialize;

use super::{
    arguments::Where,
    blobs::graph,
    failure::{Class, Failure},
    pull::json,
};
use crate::{
    cli::Output,
    human, print_text,
    table::{
        Column::{Left, Right},
        Table,
    },
};

/// Where an image is, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Placed {
    image: String,
    digest: String,
    epoch: u64,
    blobs: Vec<PlacedBlob>,
}

#[derive(Debug, Serialize)]
struct PlacedBlob {
    kind: &'static str,
    digest: String,
    size: u64,
    /// The master first.
    owners: Vec<Owner>,
    /// The number of the node that is read from first.
    preferred: Option<u16>,
}

#[derive(Debug, Serialize)]
struct Owner {
    node: u16,
    name: String,
    address: String,
}

pub async fn run(call: Where) -> Result<(), Failure> {
    let image = call.connection.image(&call.image)?;
    let client = call.connection.client(image.registry())?;
    client.refresh().await?;
    let graph = graph(&client, image.repo(), &image.reference(), call.platform).await?;
    let placed = placed(&client, &image, &graph)?;
    match call.printing.output {
        Output::Json => print_text(&(json(&placed) + "\n")),
        Output::Table => print_text(&text(&placed)),
    }
}

fn placed(client: &Client, image: &ImageRef, graph: &Graph) -> Result<Placed, Failure> {
    let view = client.view().ok_or_else(|| Failure {
        class: Class::Failed,
        text: format!("{} knows no ring: it is no Atoll cluster", client.registry()),
    })?;
    let config = graph.image().ok().map(|(config, _)| config.digest);
    let manifests = graph.documents.iter().map(|(descriptor, _)| ("manifest", descriptor));
    let blobs = graph.blobs.iter().map(|blob| {
        let kind = if Some(blob.digest) == config { "config" } else { "layer" };
        (kind, blob)
    });
    let blobs = manifests
        .chain(blobs)
        .map(|(kind, descriptor)| placed_blob(client, kind, &descriptor.digest, descriptor.size))
        .collect();
    Ok(Placed {
        image: image.to_string(),
        digest: graph.root.digest.to_string(),
        epoch: view.epoch.0,
        blobs,
    })
}

fn placed_blob(client: &Client, kind: &'static str, digest: &Digest, size: u64) -> PlacedBlob {
    let found = client.whereabouts(digest);
    let owner = |node: &atoll_client::Node| Owner {
        node: node.id.0,
        name: node.name.clone(),
        address: node.address.clone(),
    };
    PlacedBlob {
        kind,
        digest: digest.to_string(),
        size,
        owners: found.iter().flat_map(|found| &found.owners).map(owner).collect(),
        preferred: found.and_then(|found| found.preferred).map(|node| node.id.0),
    }
}

fn text(placed: &Placed) -> String {
    let mut table = Table::new(&[
        Left("KIND"),
        Left("DIGEST"),
        Right("SIZE"),
        Left("OWNERS"),
        Left("READ FROM"),
    ]);
    for blob in &placed.blobs {
        let owners: Vec<String> = blob.owners.iter().map(|owner| owner.node.to_string()).collect();
        let preferred = blob.owners.iter().find(|owner| Some(owner.node) == blob.preferred);
        table.row([
            blob.kind.to_owned(),
            human::digest(&blob.digest),
            human::bytes(blob.size),
            owners.join(" "),
            preferred.map_or("-".to_owned(), |owner| owner.address.clone()),
        ]);
    }
    format!(
        "{}  epoch {}\n\n{}\nBy the ring, the master first; `atoll ctl where` asks the nodes what they \
         have.\n",
        placed.image,
        placed.epoch,
        table.text()
    )
}
