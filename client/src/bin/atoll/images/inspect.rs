//! `atoll inspect`.

use std::{fmt::Write as _, io::Write as _};

use atoll_client::{
    Client, ImageRef, Manifest, Platform,
    format::{Descriptor, Document},
};
use serde::Serialize;
use serde_json::Value;

use super::{arguments::Inspect, blobs, failure::Failure, pull::json};
use crate::{
    cli::Output,
    human, print_text,
    table::{
        Column::{Left, Right},
        Table,
    },
};

/// The longest config that is looked at, in bytes: there is one line of history for each layer.
const CONFIG_BYTES_MAX: u64 = 4 << 20;

/// An image, as `-o json` prints it.
#[derive(Debug, Serialize)]
pub struct Inspected {
    image: String,
    digest: String,
    media_type: String,
    size: u64,
    kind: &'static str,
    /// Bytes of config and layers together; of an index nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    layers: Vec<Part>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    manifests: Vec<Part>,
    manifest: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Value>,
}

/// A layer, or a manifest of an index.
#[derive(Debug, Serialize)]
struct Part {
    digest: String,
    media_type: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
}

pub async fn run(call: Inspect) -> Result<(), Failure> {
    let image = call.connection.image(&call.image)?;
    let client = call.connection.client(image.registry())?;
    let manifest =
        blobs::manifest(&client, image.repo(), &image.reference(), call.platform.as_ref()).await?;
    if call.raw {
        let mut out = std::io::stdout().lock();
        let written = out.write_all(&manifest.bytes).and_then(|()| out.flush());
        return match written {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::failed(format!("cannot write to standard output: {error}")))
            }
            _ => Ok(()),
        };
    }
    let inspected = inspected(&client, &image, &manifest).await?;
    match call.printing.output {
        Output::Json => print_text(&(json(&inspected) + "\n")),
        Output::Table => print_text(&text(&inspected)),
    }
}

async fn inspected(
    client: &Client,
    image: &ImageRef,
    manifest: &Manifest,
) -> Result<Inspected, Failure> {
    let described = &manifest.descriptor;
    let descriptor = Descriptor::new(&described.media_type, described.digest, described.size);
    let document = Document::read(&descriptor, &manifest.bytes)?;
    let value = serde_json::from_slice(&manifest.bytes).unwrap_or(Value::Null);
    let mut inspected = Inspected {
        image: image.to_string(),
        digest: described.digest.to_string(),
        media_type: described.media_type.clone(),
        size: described.size,
        kind: "artifact",
        content_bytes: None,
        layers: Vec::new(),
        manifests: Vec::new(),
        manifest: value,
        config: None,
    };
    match document {
        Document::Image { config, layers } => {
            let bytes = std::iter::once(&*config).chain(&layers).map(|part| part.size);
            inspected.content_bytes = Some(bytes.fold(0, u64::saturating_add));
            if config.size <= CONFIG_BYTES_MAX {
                let blob = client.blob(image.repo(), &config.digest, Some(config.size)).await?;
                let unreadable =
                    |error| Failure::failed(format!("cannot read the config: {error}"));
                let bytes = blob.into_bytes().await.map_err(unreadable)?;
                // The config of an artifact can be anything.
                inspected.config = serde_json::from_slice(&bytes).ok();
            }
            let is_image =
                inspected.config.as_ref().is_some_and(|config| config.get("rootfs").is_some());
            inspected.kind = if is_image { "image" } else { "artifact" };
            inspected.layers = layers.iter().map(part).collect();
        }
        Document::Index(manifests) => {
            inspected.kind = "index";
            inspected.manifests = manifests.iter().map(part).collect();
        }
        Document::Opaque => {}
    }
    Ok(inspected)
}

fn part(descriptor: &Descriptor) -> Part {
    Part {
        digest: descriptor.digest.to_string(),
        media_type: descriptor.media_type.clone(),
        size: descriptor.size,
        platform: descriptor.platform().map(|platform| platform.to_string()),
    }
}

fn text(found: &Inspected) -> String {
    let mut text = format!("{}\n", found.image);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10}  {value}");
    };
    line("digest", &found.digest);
    line("type", &found.media_type);
    if let Some(bytes) = found.content_bytes {
        line("content", &format!("{} in {} layers", human::bytes(bytes), found.layers.len()));
    }
    if let Some(config) = &found.config {
        for (name, value) in configured(config) {
            line(name, &value);
        }
    }
    if !found.layers.is_empty() {
        let mut table = Table::new(&[Right("LAYER"), Left("DIGEST"), Right("SIZE"), Left("TYPE")]);
        for (at, layer) in found.layers.iter().enumerate() {
            let size = human::bytes(layer.size);
            table.row([(at + 1).to_string(), layer.digest.clone(), size, layer.media_type.clone()]);
        }
        let _ = write!(text, "\n{}", table.text());
    }
    if !found.manifests.is_empty() {
        let mut table = Table::new(&[Left("PLATFORM"), Left("DIGEST"), Right("SIZE")]);
        for manifest in &found.manifests {
            let platform = manifest.platform.clone().unwrap_or_else(|| "-".to_owned());
            table.row([platform, manifest.digest.clone(), human::bytes(manifest.size)]);
        }
        let _ = write!(text, "\n{}", table.text());
    }
    text
}

/// What a person looks for in a config.
fn configured(config: &Value) -> Vec<(&'static str, String)> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            (!words.is_empty()).then(|| words.join(" "))
        }
        _ => None,
    };
    let inner = &config["config"];
    let mut found = Vec::new();
    if let Ok(platform) = serde_json::from_value::<Platform>(config.clone()) {
        found.push(("platform", platform.to_string()));
    }
    let fields = [
        ("created", &config["created"]),
        ("entrypoint", &inner["Entrypoint"]),
        ("command", &inner["Cmd"]),
        ("folder", &inner["WorkingDir"]),
        ("user", &inner["User"]),
    ];
    for (name, value) in fields {
        if let Some(value) = text(value).filter(|value| !value.is_empty()) {
            found.push((name, value));
        }
    }
    found
}
