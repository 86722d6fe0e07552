//! Many objects from several servers at once, by clients that know who has what.
//!
//! `atoll-bench mix` is one row of a comparison between whole installations: whoever started them says
//! which objects there are, how often each is asked for, and which addresses may be asked for it. A
//! client that knows the owners lists them; behind a load balancer there is only one address. The loop
//! is closed, as everywhere here, and an answer that is not exactly right voids the row.

use crate::{
    content::format_digest,
    histogram::Histogram,
    http1::Connection,
    load::{Object, get_request},
    procfs,
};
use anyhow::Context;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::{
    cell::RefCell,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::LocalSet;

/// Every so-manieth answer of a client is hashed in full.
const HASHED_EVERY: u64 = 64;
/// What spreads the clients' sequences of requests (the golden ratio in 64 bits).
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// One row: so many clients, for so long.
#[derive(clap::Args)]
pub struct Options {
    /// Where the installation can be reached
    #[arg(long, value_delimiter = ',', required = true)]
    addresses: Vec<SocketAddr>,
    /// Roots of its process trees
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
    /// Lines of `digest<TAB>size<TAB>path<TAB>weight<TAB>address numbers from 0, by commas`
    #[arg(long)]
    objects: PathBuf,
    /// Clients
    #[arg(long)]
    clients: usize,
    /// Seconds before the window
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Length of the window, seconds
    #[arg(long, default_value_t = 5.0)]
    window: f64,
    /// Threads of the load generator
    #[arg(long, default_value_t = 2)]
    generators: usize,
}

/// What came of the row.
#[derive(Serialize)]
pub struct Row {
    clients: usize,
    requests: u64,
    per_second: f64,
    bytes_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    cpu_seconds: f64,
}

/// An object and who may be asked for it.
struct Item {
    object: Object,
    /// Sum of the weights up to and with this one.
    weight_until: u64,
    nodes: Vec<usize>,
}

#[derive(Default)]
struct Tally {
    bytes: u64,
    latency: Histogram,
    error: Option<anyhow::Error>,
}

#[derive(Clone, Copy)]
struct Window {
    start: Instant,
    end: Instant,
}

/// Runs the row.
///
/// # Errors
/// Objects that cannot be read, a connection that fails, an answer that is not exactly right.
pub fn run(options: &Options) -> anyhow::Result<Row> {
    let items: Arc<[Item]> = read_items(options)?.into();
    let start = Instant::now() + Duration::from_secs_f64(options.warm_up);
    let window = Window { start, end: start + Duration::from_secs_f64(options.window) };
    let threads = options.generators.clamp(1, options.clients);
    let (tallies, cpu_seconds) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let items = items.clone();
                let clients = (thread..options.clients).step_by(threads).collect::<Vec<_>>();
                scope.spawn(move || drive(&clients, &options.addresses, items, window))
            })
            .collect();
        std::thread::sleep(window.start.saturating_duration_since(Instant::now()));
        let before = cpu_seconds(&options.pids);
        std::thread::sleep(window.end.saturating_duration_since(Instant::now()));
        let used = cpu_seconds(&options.pids) - before;
        let tallies: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
        (tallies, used)
    });
    let mut sum = Tally::default();
    for tally in tallies {
        let tally = tally.map_err(|_| anyhow::anyhow!("a load thread panicked"))??;
        sum.bytes += tally.bytes;
        sum.latency.merge(&tally.latency);
    }
    let millis = |q| sum.latency.quantile(q).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    Ok(Row {
        clients: options.clients,
        requests: sum.latency.count(),
        per_second: sum.latency.count() as f64 / options.window,
        bytes_per_second: sum.bytes as f64 / options.window,
        p50_ms: millis(0.5),
        p99_ms: millis(0.99),
        cpu_seconds,
    })
}

/// Of all trees together; one that has ended counts nothing.
fn cpu_seconds(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|pid| procfs::usage(*pid).ok()).map(|usage| usage.cpu_seconds).sum()
}

fn read_items(options: &Options) -> anyhow::Result<Vec<Item>> {
    let text = std::fs::read_to_string(&options.objects)
        .with_context(|| format!("read {}", options.objects.display()))?;
    let mut weights = 0;
    let items = text
        .lines()
        .map(|line| {
            let item = read_item(line, &mut weights, options.addresses.len());
            item.with_context(|| format!("an object cannot be read: `{line}`"))
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    anyhow::ensure!(weights > 0, "there is no object to ask for");
    Ok(items)
}

fn read_item(line: &str, weights: &mut u64, addresses: usize) -> anyhow::Result<Item> {
    let mut fields = line.split('\t');
    let mut next = || fields.next().context("a field is missing");
    let digest = next()?.to_owned();
    let size = next()?.parse()?;
    let path = next()?.to_owned();
    *weights += next()?.parse::<u64>()?;
    let nodes = next()?.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    anyhow::ensure!(nodes.iter().all(|node| *node < addresses), "there is no such address");
    Ok(Item { object: Object { path, size, digest }, weight_until: *weights, nodes })
}

/// One thread: its clients, until the window closes.
fn drive(
    clients: &[usize],
    addresses: &[SocketAddr],
    items: Arc<[Item]>,
    window: Window,
) -> anyhow::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let set = LocalSet::new();
    for &client in clients {
        let (items, tally) = (items.clone(), tally.clone());
        let client = Client::new(client, addresses);
        set.spawn_local(async move {
            let end = tokio::time::Instant::from_std(window.end);
            // What is under way at the end is dropped.
            let gets = client.get_until(&items, window, &tally);
            if let Ok(Err(error)) = tokio::time::timeout_at(end, gets).await {
                tally.borrow_mut().error.get_or_insert(error);
            }
        });
    }
    runtime.block_on(set);
    let mut tally = Rc::into_inner(tally).context("a client outlived its row")?.into_inner();
    tally.error.take().map_or(Ok(tally), Err)
}

/// One client: a connection to each address it has met, and its own sequence of requests.
struct Client {
    addresses: Vec<SocketAddr>,
    connections: Vec<Option<Connection>>,
    state: u64,
}

impl Client {
    fn new(number: usize, addresses: &[SocketAddr]) -> Self {
        let connections = addresses.iter().map(|_| None).collect();
        let state = (number as u64 + 1).wrapping_mul(SEED);
        Self { addresses: addresses.to_vec(), connections, state }
    }

    /// The next number below `end` (xorshift64*).
    fn draw(&mut self, end: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (number * end) >> 32
    }

    async fn get_until(
        mut self,
        items: &[Item],
        window: Window,
        tally: &RefCell<Tally>,
    ) -> anyhow::Result<()> {
        let weights = items.last().map_or(0, |item| item.weight_until);
        for sequence in 1.. {
            let drawn = self.draw(weights);
            let item = &items[items.partition_point(|item| item.weight_until <= drawn)];
            let node = item.nodes[self.draw(item.nodes.len() as u64) as usize];
            let began = Instant::now();
            let hashed = sequence % HASHED_EVERY == 0;
            self.get(node, &item.object, hashed).await.with_context(|| {
                format!("GET of {} at {}", item.object.digest, self.addresses[node])
            })?;
            let now = Instant::now();
            if (window.start..window.end).contains(&now) {
                let mut tally = tally.borrow_mut();
                tally.bytes += item.object.size;
                tally.latency.record(now - began);
            }
        }
        Ok(())
    }

    async fn get(&mut self, node: usize, object: &Object, hashed: bool) -> anyhow::Result<()> {
        if self.connections[node].is_none() {
            self.connections[node] = Some(Connection::open(self.addresses[node]).await?);
        }
        let connection = self.connections[node].as_mut().context("it was opened just now")?;
        let mut hasher = hashed.then(Sha256::new);
        connection.send(&[get_request(&object.path).as_bytes()]).await?;
        let hash = |piece: &[u8]| {
            if let Some(hasher) = &mut hasher {
                hasher.update(piece);
            }
        };
        let head = connection.receive(hash).await?;
        anyhow::ensure!(head.status == 200, "it was answered {}", head.status);
        let length = head.content_length;
        anyhow::ensure!(length == object.size, "it has {length} bytes, not {}", object.size);
        if let Some(found) = hasher.map(format_digest) {
            anyhow::ensure!(found == object.digest, "its bytes are those of {found}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_drawn_by_their_weight_and_from_who_has_them() {
        let mut weights = 0;
        let lines = ["a\t1\t/a\t1\t0", "b\t1\t/b\t3\t0,1"];
        let items: Vec<Item> =
            lines.iter().map(|line| read_item(line, &mut weights, 2).expect("item")).collect();
        assert_eq!(weights, 4);
        let mut client = Client::new(0, &[]);
        let second = (0..4000)
            .filter(|_| {
                let drawn = client.draw(weights);
                items.partition_point(|item| item.weight_until <= drawn) == 1
            })
            .count();
        assert!((2850..3150).contains(&second), "three quarters of 4,000, not {second}");
    }

    #[test]
    fn an_address_that_is_not_there_is_refused() {
        assert!(read_item("a\t1\t/a\t1\t2", &mut 0, 2).is_err());
        assert!(read_item("a\t1\t/a", &mut 0, 2).is_err());
    }
}
