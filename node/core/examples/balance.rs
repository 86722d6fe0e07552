//! Prints how evenly rings are divided and how much a change moves.
//!
//! `cargo run --release -p atoll-core --example balance [figure9 | nodes | zones | walk]`

#![allow(clippy::disallowed_methods, reason = "how long an allocation takes is what is printed")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use atoll_core::{
    Algorithm, Digest,
    ring::{
        NodeId, Points, Ring,
        allocator::{Share, allocate},
        paper, position,
    },
    view::plan::{movement, replica_arcs},
};

type Shares = BTreeMap<NodeId, Share>;

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    if part.is_empty() || part == "figure9" {
        figure9();
    }
    if part.is_empty() || part == "nodes" {
        nodes();
    }
    if part.is_empty() || part == "zones" {
        zones();
    }
    if part.is_empty() || part == "walk" {
        walk();
    }
}

/// The share of each of six nodes of 100,000 digests, in percent.
fn figure9() {
    println!("Six nodes, 100,000 digests: share of each in percent, largest minus smallest");
    let digests: Vec<Digest> =
        (0_u32..100_000).map(|seed| Digest::of(Algorithm::Sha256, &seed.to_be_bytes())).collect();
    for set in ["node", "registry", "10.0.0."] {
        let names =
            (1..=6_u16).map(|node| (NodeId(node), (format!("{set}{node}:5000"), String::new())));
        let hashed = paper::ring(&names.collect(), paper::IDENTITIES);
        let assigned = allocate(None, &shares(6, 1, &[1]), 1 << 16, 3);
        for (kind, ring) in [("assigned", &assigned), ("paper", &hashed)] {
            let shares = percent(ring, &digests);
            let row: Vec<String> = shares.iter().map(|share| format!("{share:6.2}")).collect();
            let spread = shares.iter().fold(0.0, |a: f64, b| a.max(*b))
                - shares.iter().fold(100.0, |a: f64, b| a.min(*b));
            println!("{set:>10}1…6 {kind:>9} {} | {spread:5.2}", row.join(" "));
        }
    }
}

fn percent(ring: &Ring, digests: &[Digest]) -> Vec<f64> {
    let mut counts: BTreeMap<NodeId, usize> = BTreeMap::new();
    for digest in digests {
        *counts.entry(ring.owner(ring.point_at(&position(digest)))).or_default() += 1;
    }
    counts.values().map(|count| *count as f64 * 100.0 / digests.len() as f64).collect()
}

fn nodes() {
    println!("\nNodes without zones, R = 3, 65,536 points");
    header();
    for count in [1, 2, 3, 4, 5, 6, 10, 30, 100, 300, 1000] {
        report("", 1 << 16, count, 1, &[1]);
    }
}

fn zones() {
    println!("\nZones, R = 3");
    header();
    for (points, count, zones, weights) in [
        (1 << 14, 6, 3, &[1][..]),
        (1 << 14, 12, 3, &[1, 2, 4]),
        (1 << 14, 12, 4, &[1, 2, 4]),
        (1 << 14, 100, 5, &[1]),
        (1 << 14, 100, 5, &[1, 2, 4]),
        (1 << 16, 100, 5, &[1, 2, 4]),
        (1 << 14, 100, 6, &[1, 2, 4]),
        (1 << 14, 30, 7, &[1, 2, 4, 8]),
        (1 << 16, 300, 10, &[1, 2, 4]),
        (1 << 16, 1000, 10, &[1]),
    ] {
        report("", points, count, zones, weights);
    }
    println!("unequal zones: 40, 25, 15, 12 and 8 % of the nodes");
    for points in [1 << 14, 1 << 16] {
        report("unequal", points, 100, 5, &[1]);
    }
}

/// How long it takes to find the owners of a digest.
fn walk() {
    println!("\nOwners of a digest, R = 3, 65,536 points");
    let digests: Vec<Digest> =
        (0_u32..10_000).map(|seed| Digest::of(Algorithm::Sha256, &seed.to_be_bytes())).collect();
    for (count, zones, down) in [
        (3, 1, 0),
        (3, 1, 1),
        (100, 1, 0),
        (100, 5, 0),
        (100, 5, 20),
        (1000, 10, 0),
        (1000, 10, 100),
    ] {
        let shares = shares(count, zones, &[1]);
        let ring = allocate(None, &shares, 1 << 16, 3);
        // Those of whole zones, which is the worst for a walk that spreads over zones.
        let is_up = |node: NodeId| (node.0 / zones) >= down / zones;
        let zone_down = |node: NodeId| down == 0 || !node.0.is_multiple_of(zones);
        for (kind, up) in [("spread", &is_up as &dyn Fn(NodeId) -> bool), ("one zone", &zone_down)]
        {
            let start = Instant::now();
            let mut found = 0;
            for digest in &digests {
                found += ring.walk(ring.point_at(&position(digest)), 3, up).len();
            }
            let each = start.elapsed() / digests.len() as u32;
            println!(
                "{count:5} nodes {zones:3} zones, {down:3} down ({kind}): {each:?} ({found} found)"
            );
        }
    }
}

fn header() {
    println!(
        "points nodes zones weights | made in  max/mean min/mean repeats | after: join, leave, 20 changes: max/mean, moved / least, repeats, slowest"
    );
}

fn report(kind: &str, points: usize, count: u16, zones: u16, weights: &[u32]) {
    let zone_of = |node: u16| match kind {
        "unequal" => {
            [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4][usize::from(node) % 20]
        }
        _ => node % zones,
    };
    let mut shares = shares(count, zones, weights);
    shares.iter_mut().for_each(|(node, share)| share.zone = format!("z{}", zone_of(node.0)));
    let start = Instant::now();
    let mut ring = allocate(None, &shares, points, 3);
    let made = start.elapsed();
    let (max, min) = balance(&ring, &shares);
    let repeats = repeats(&ring, 3);
    print!(
        "{points:6} {count:5} {zones:5} {weights:7?} | {made:7.1?} {max:.4} {min:.4} {repeats:3} |"
    );
    let newcomer = Share { weight: weights[0], zone: format!("z{}", zone_of(count + 1)) };
    shares.insert(NodeId(count + 1), newcomer);
    let (mut next, _) = change(&mut ring, &shares, points);
    print!(" {next}");
    shares.remove(&NodeId(1));
    if !shares.is_empty() {
        (next, _) = change(&mut ring, &shares, points);
        print!(" {next}");
    }
    let (mut worst, mut moved, mut least, mut most, mut slowest) =
        (1.0_f64, 0, 0, 0, Duration::ZERO);
    for step in 0..20_u16 {
        let node = NodeId(count + 2 + step);
        if step % 2 == 0 || shares.len() < 4 {
            let zone = format!("z{}", zone_of(step * 7 + 3));
            let weight = weights[usize::from(step / 2) % weights.len()];
            shares.insert(node, Share { weight, zone });
        } else {
            let gone = shares.keys().nth(usize::from(step) * 13 % shares.len()).copied();
            gone.map(|gone| shares.remove(&gone));
        }
        let (_, outcome) = change(&mut ring, &shares, points);
        worst = worst.max(outcome.max);
        (moved, least) = (moved + outcome.moved, least + outcome.least);
        most = most.max(outcome.repeats);
        slowest = slowest.max(outcome.took);
    }
    let ratio = moved as f64 / least.max(1) as f64;
    println!(" 20: {worst:.4} {ratio:.3}x {most} {slowest:.1?}");
}

struct Outcome {
    max: f64,
    moved: usize,
    least: usize,
    repeats: usize,
    took: Duration,
}

fn change(ring: &mut Ring, shares: &Shares, points: usize) -> (String, Outcome) {
    let start = Instant::now();
    let next = allocate(Some(ring), shares, points, 3);
    let took = start.elapsed();
    let moves = movement(ring, &next, 3);
    let (max, _) = balance(&next, shares);
    let (moved, least) = (moves.replica_arcs_moved, moves.lower_bound);
    let outcome = Outcome { max, moved, least, repeats: repeats(&next, 3), took };
    *ring = next;
    let ratio = moved as f64 / least.max(1) as f64;
    (format!("{max:.4} {ratio:.3}x {} {took:.1?} |", outcome.repeats), outcome)
}

fn shares(count: u16, zones: u16, weights: &[u32]) -> Shares {
    let share = |node: u16| Share {
        weight: weights[usize::from((node - 1) / zones) % weights.len()],
        zone: format!("z{}", node % zones),
    };
    (1..=count).map(|node| (NodeId(node), share(node))).collect()
}

/// The largest and the smallest ratio of what a node holds to what it should hold, both in copies
/// of arcs. What it should hold is the share of its weight, no more than every arc once, and no zone
/// more than every arc once if there are R zones.
fn balance(ring: &Ring, shares: &Shares) -> (f64, f64) {
    let feasible = feasible(shares, 3);
    let copies = ring.len() * 3.min(shares.len());
    let ratios = replica_arcs(ring, 3)
        .into_iter()
        .map(|(node, arcs)| arcs as f64 / (feasible[&node] * copies as f64));
    ratios.fold((0.0, f64::MAX), |(max, min): (f64, f64), ratio| (max.max(ratio), min.min(ratio)))
}

/// Each node's share of all copies.
fn feasible(shares: &Shares, replicas: usize) -> BTreeMap<NodeId, f64> {
    let replicas = replicas.min(shares.len());
    let mut zones: BTreeMap<&str, Vec<NodeId>> = BTreeMap::new();
    for (node, share) in shares {
        zones.entry(&share.zone).or_default().push(*node);
    }
    let groups: Vec<Vec<NodeId>> = if zones.len() >= replicas {
        zones.into_values().collect()
    } else {
        shares.keys().map(|node| vec![*node]).collect()
    };
    let weight =
        |nodes: &[NodeId]| -> f64 { nodes.iter().map(|n| f64::from(shares[n].weight)).sum() };
    let mut capped: Vec<bool> = vec![false; groups.len()];
    loop {
        let rest: f64 =
            groups.iter().zip(&capped).filter(|(_, c)| !**c).map(|(nodes, _)| weight(nodes)).sum();
        let count = capped.iter().filter(|c| **c).count();
        let left = 1.0 - count as f64 / replicas as f64;
        let cap = 1.0 / replicas as f64 + 1e-9;
        let over =
            (0..groups.len()).find(|i| !capped[*i] && weight(&groups[*i]) / rest * left > cap);
        if let Some(over) = over {
            capped[over] = true;
            continue;
        }
        let mut result = BTreeMap::new();
        for (nodes, is_capped) in groups.iter().zip(&capped) {
            let group =
                if *is_capped { 1.0 / replicas as f64 } else { weight(nodes) / rest * left };
            for node in nodes {
                let part = f64::from(shares[node].weight) / weight(nodes);
                result.insert(*node, group * part);
            }
        }
        return result;
    }
}

/// Points that repeat a node, or a zone if there are enough, within the `replicas` points up to it.
fn repeats(ring: &Ring, replicas: usize) -> usize {
    let Points::Assigned { owners } = ring.points() else { return 0 };
    let names: std::collections::BTreeSet<&String> = ring.zones().values().collect();
    let replicas = replicas.min(ring.node_count());
    let spread = names.len() >= replicas;
    let alike = |a: NodeId, b: NodeId| a == b || (spread && ring.zones()[&a] == ring.zones()[&b]);
    let len = owners.len();
    (0..len)
        .filter(|i| (1..replicas).any(|step| alike(owners[*i], owners[(i + len - step) % len])))
        .count()
}
