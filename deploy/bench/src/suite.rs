//! The order of things: which server runs when, with what data.
//!
//! For reads every server holds the same bytes and stays up through all cells. For pushes each run
//! has a freshly started server on an empty directory, after everything written before has been
//! flushed: nobody pays for another's dirty pages or for a directory that others filled.

use crate::{
    Options,
    bars::Verb,
    content::Template,
    load::{self, Object, Operation, Setting},
    pulls,
    report::{Cell, Report, Run, format_size},
    servers::{Kind, Server},
};
use anyhow::Context;
use std::{collections::BTreeMap, fs, io::Write, path::Path, time::Duration};

/// Repository that holds the blobs.
const REPOSITORY: &str = "bench";
/// Ports that belong to one server (a node takes several).
const PORTS_EACH: u16 = 10;
/// Bytes of answers in flight that make the window of a read twice as long.
const BYTES_IN_FLIGHT_FOR_DOUBLE: f64 = (2u64 << 30) as f64;

/// Measures everything that `options` names.
///
/// # Errors
/// A server that does not start, data that cannot be laid. A cell that fails is in the report.
pub fn run(options: &Options) -> anyhow::Result<Report> {
    let mut report = Report::default();
    raise_open_files();
    if options.get.is_some() || options.pulls.is_some() {
        let servers = start_all(options)?;
        for &size in options.get.iter().flatten() {
            let object = lay(&servers, size)?;
            for &connections in &options.connections {
                report.cells.push(get_cell(options, &servers, &object, connections));
            }
        }
        if let Some(count) = options.pulls {
            run_pulls(options, &servers, count, &mut report)?;
        }
        servers.into_iter().try_for_each(Server::discard)?;
    }
    for &size in options.push.iter().flatten() {
        let template = Template::new(size)?;
        for &connections in &options.connections {
            report.cells.push(push_cell(options, &template, connections));
        }
    }
    Ok(report)
}

/// The generator holds a thousand connections and more.
fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Refused, a cell with too many connections says so.
    let _ = setrlimit(Resource::Nofile, limit);
}

fn start(options: &Options, kind: Kind) -> anyhow::Result<Server> {
    let port = options.port + PORTS_EACH * kind as u16;
    Server::start(kind, &options.atolld, &options.directory.join(kind.name()), port)
}

fn start_all(options: &Options) -> anyhow::Result<Vec<Server>> {
    options.servers.iter().map(|&kind| start(options, kind)).collect()
}

/// Gives every server the same blob.
fn lay(servers: &[Server], size: u64) -> anyhow::Result<Object> {
    let template = Template::new(size)?;
    let fresh = template.fresh(u64::MAX, 0);
    let path = format!("/v2/{REPOSITORY}/blobs/{}", fresh.digest);
    for server in servers {
        if server.kind.takes_pushes() {
            load::push_one(server.address, REPOSITORY, &template)
                .with_context(|| format!("push to {}", server.kind.name()))?;
        } else {
            write_file(&server.files(), &path, &[template.block(), &fresh.suffix])?;
        }
    }
    Ok(Object { path, size, digest: fresh.digest })
}

fn write_file(root: &Path, path: &str, parts: &[&[u8]]) -> anyhow::Result<()> {
    let file = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().context("a file has a directory")?)?;
    let mut file = fs::File::create(file)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    Ok(())
}

/// Where the connections' answers together are large, the window is longer, so that each of them
/// is complete at least once: latency is of whole answers.
fn setting(options: &Options, size: u64, connections: usize) -> Setting {
    let in_flight = size as f64 * connections as f64;
    let factor = 1.0 + in_flight / BYTES_IN_FLIGHT_FOR_DOUBLE;
    let window = Duration::from_secs_f64(options.seconds * factor);
    Setting { connections, threads: options.threads, window }
}

fn get_cell(options: &Options, servers: &[Server], object: &Object, connections: usize) -> Cell {
    let operation = Operation::Get(object.clone());
    let mut cell = empty_cell(Verb::Get, object.size, connections);
    for _ in 0..options.rounds {
        for server in servers {
            let setting = setting(options, object.size, connections);
            let outcome = load::run(server.address, server.pid, &operation, setting);
            record(&mut cell, server.kind, outcome);
        }
    }
    cell
}

fn push_cell(options: &Options, template: &Template, connections: usize) -> Cell {
    let mut cell = empty_cell(Verb::Push, template.size(), connections);
    for _ in 0..options.rounds {
        for &kind in options.servers.iter().filter(|kind| kind.takes_pushes()) {
            record(&mut cell, kind, push_run(options, kind, template, connections));
        }
    }
    cell
}

fn push_run(
    options: &Options,
    kind: Kind,
    template: &Template,
    connections: usize,
) -> anyhow::Result<load::Outcome> {
    let server = start(options, kind)?;
    load::push_one(server.address, REPOSITORY, template).context("first push")?;
    rustix::fs::sync();
    let operation = Operation::Push { repository: REPOSITORY.into(), template: template.clone() };
    let setting = setting(options, 0, connections);
    let outcome = load::run(server.address, server.pid, &operation, setting);
    server.discard()?;
    outcome
}

fn empty_cell(verb: Verb, size: u64, connections: usize) -> Cell {
    Cell { verb, size, connections, runs: BTreeMap::new(), failures: BTreeMap::new() }
}

/// Notes one run, and shows it at once: a whole comparison takes many minutes.
fn record(cell: &mut Cell, kind: Kind, outcome: anyhow::Result<load::Outcome>) {
    let what = format!(
        "{:?} {} × {} {}",
        cell.verb,
        format_size(cell.size),
        cell.connections,
        kind.name()
    );
    let runs = cell.runs.entry(kind).or_default();
    match outcome {
        Ok(outcome) => {
            let run = Run::of(&outcome, cell.size);
            eprintln!(
                "{what}: {:.1}/s, {:.0} MB/s, {:.2} CPU s/GB, {} operations",
                run.per_second,
                run.bytes_per_second / 1e6,
                run.cpu_per_gb,
                outcome.operations
            );
            runs.push(run);
        }
        Err(error) => {
            eprintln!("{what}: FAILED: {error:#}");
            cell.failures.insert(kind, format!("{error:#}"));
        }
    }
}

fn run_pulls(
    options: &Options,
    servers: &[Server],
    count: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let object = lay(servers, options.pull_size)?;
    for server in servers {
        let name = server.kind.name();
        match pulls::run(server.address, server.pid, &object, count, options.pull_rate) {
            Ok(pulls) => {
                eprintln!("{count} pulls {name}: {:.1} s", pulls.seconds);
                report.pulls.insert(server.kind, pulls);
            }
            Err(error) => {
                eprintln!("{count} pulls {name}: FAILED: {error:#}");
                report.failures.push(format!("{count} pulls of {name}: {error:#}"));
            }
        }
    }
    Ok(())
}
