//! A user of the replica-aware client: the library as it is, over the simulated network.
//!
//! It knows the ring and goes on elsewhere by itself, so nothing that one dead machine does may show: every
//! push and every pull succeeds, whole and verified.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use atoll_client::{
    Client, Digest, Endpoint, MemorySpool, Reference, RepoName, Seed, TlsSettings, Transport, Wire,
};
use atoll_node::io::net;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::content::{self, Blob};
use crate::{draw::Draw, history::Book};

/// As long as the library's own limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The door of the library to the simulated network.
#[derive(Clone, Copy, Debug)]
struct SimTransport;

impl Transport for SimTransport {
    fn connect<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Wire>>> {
        Box::pin(async move {
            let address = match endpoint.address {
                Some(address) => address,
                None => address_of(&endpoint.host, endpoint.port)?,
            };
            let stream = net::connect(address, CONNECT_TIMEOUT).await?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    }

    fn resolve<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> BoxFuture<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(async move { Ok(vec![address_of(host, port)?]) })
    }
}

/// There are no names in the simulated network.
fn address_of(host: &str, port: u16) -> io::Result<SocketAddr> {
    let ip = host.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(SocketAddr::new(ip, port))
}

/// An image that was acknowledged.
#[derive(Clone, Debug)]
struct Image {
    tag: String,
    manifest: Digest,
    blobs: Vec<Blob>,
}

/// The user.
pub struct Aware {
    name: String,
    client: Client,
    repo: RepoName,
    draw: Draw,
    book: Book,
    images: Vec<Image>,
}

impl Aware {
    /// A user that has heard of `seeds`.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn new(number: u64, seeds: &[SocketAddr], draw: Draw, book: Book) -> Result<Aware, String> {
        let seeds = seeds.iter().map(|seed| Seed::Node(format!("http://{seed}"))).collect();
        let client = Client::builder(seeds)
            .transport(Arc::new(SimTransport))
            .spool(Arc::new(MemorySpool))
            .tls(TlsSettings { insecure_http: true, ..TlsSettings::default() })
            .random_seed(number)
            .build()
            .map_err(|error| error.to_string())?;
        let repo = format!("aware{number}").parse().map_err(|error| format!("{error}"))?;
        let name = format!("aware{number}");
        Ok(Aware { name, client, repo, draw, book, images: Vec::new() })
    }

    /// Pushes and pulls until `end`, then pulls everything once more.
    pub async fn run(mut self, end: Instant) {
        for step in 0.. {
            if Instant::now() >= end {
                break;
            }
            let pause = self.draw.millis(50..1_500);
            tokio::time::sleep(pause).await;
            let begun = Instant::now();
            let done = if self.images.is_empty() || self.draw.chance(0.2) {
                self.push(step).await
            } else {
                let image = self.draw.pick(&self.images).clone();
                self.pull(&image).await
            };
            self.note(done, begun);
        }
        for image in std::mem::take(&mut self.images) {
            let begun = Instant::now();
            let done = self.pull(&image).await;
            self.note(done, begun);
        }
    }

    fn note(&self, done: Result<&'static str, String>, begun: Instant) {
        let mut book = self.book.lock();
        match done {
            Ok(what) => book.count(what),
            Err(why) => {
                book.violation(format!("{} failed after {:?}: {why}", self.name, begun.elapsed()));
            }
        }
    }

    async fn push(&mut self, step: u64) -> Result<&'static str, String> {
        let len = self.draw.within(1..60_000);
        let blob = content::blob(&mut self.draw, len);
        let tag = format!("t{step}");
        let image = content::manifest(std::slice::from_ref(&blob), &tag, None);
        let size = blob.bytes.len() as u64;
        let pushed = self.client.push_blob(&self.repo, &blob.digest, size, blob.bytes.clone());
        pushed.await.map_err(|error| format!("push of {}: {error}", blob.digest))?;
        let reference: Reference = tag.parse().map_err(|error| format!("{error}"))?;
        let put = self.client.push_manifest(
            &self.repo,
            &reference,
            content::MANIFEST_TYPE,
            image.bytes.clone(),
        );
        put.await.map_err(|error| format!("push of {tag}: {error}"))?;
        self.images.push(Image { tag, manifest: image.digest, blobs: vec![blob] });
        Ok("images pushed by the aware")
    }

    async fn pull(&self, image: &Image) -> Result<&'static str, String> {
        let reference: Reference = image.tag.parse().map_err(|error| format!("{error}"))?;
        let found = self.client.manifest(&self.repo, &reference, &[content::MANIFEST_TYPE]).await;
        let found = found.map_err(|error| format!("pull of {}: {error}", image.tag))?;
        if found.descriptor.digest != image.manifest {
            return Err(format!("{} is {}", image.tag, found.descriptor.digest));
        }
        for blob in &image.blobs {
            let pulled = self.client.blob(&self.repo, &blob.digest, None).await;
            let pulled = pulled.map_err(|error| format!("pull of {}: {error}", blob.digest))?;
            if pulled.as_bytes() != Some(&blob.bytes) {
                return Err(format!("{}: other bytes", blob.digest));
            }
        }
        Ok("images pulled by the aware")
    }
}
