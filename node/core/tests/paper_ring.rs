//! The paper's ring against vectors that an independent script made (`vectors/paper_ring.py`).

#![allow(clippy::unwrap_used, reason = "a test panics when something is wrong")]

use std::collections::BTreeMap;

use atoll_core::ring::{NodeId, Position, paper};

const VECTORS: &str = include_str!("vectors/paper_ring.tsv");

fn sets() -> BTreeMap<&'static str, Vec<String>> {
    let node = |k: u16| format!("node{k}:5000");
    let lan = |k: &u16| format!("10.0.0.{k}:5000");
    BTreeMap::from([
        ("six", (1..=6).map(node).collect()),
        ("lan", [3, 7, 8, 21].iter().map(lan).collect()),
        ("one", vec!["registry.example:443".to_owned()]),
    ])
}

fn place(hex: &str) -> Position {
    let mut place = [0; 32];
    for (index, byte) in place.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap();
    }
    place
}

#[test]
fn identities_are_the_scripts() {
    let mut seen = 0;
    for line in VECTORS.lines() {
        let [kind, name, index, hex] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        if kind == "identity" {
            let at = index.parse().unwrap();
            let identity = paper::identities(name, paper::IDENTITIES).nth(at);
            assert_eq!(identity, Some(place(hex)), "{name} {index}");
            seen += 1;
        }
    }
    assert_eq!(seen, 11 * 4);
}

#[test]
fn owners_are_the_scripts() {
    let mut seen = 0;
    for line in VECTORS.lines().filter(|line| line.starts_with("owners\t")) {
        let [_, set, hex, expected] = line.split('\t').collect::<Vec<_>>()[..] else { panic!() };
        let names = &sets()[set];
        let numbered =
            names.iter().zip(1..).map(|(name, node)| (NodeId(node), (name.clone(), String::new())));
        let ring = paper::ring(&numbered.collect(), paper::IDENTITIES);
        let owners = ring.walk(ring.point_at(&place(hex)), 3, |_| true);
        let owners: Vec<&str> =
            owners.iter().map(|node| names[usize::from(node.0) - 1].as_str()).collect();
        assert_eq!(owners.join(","), expected, "{set} {hex}");
        seen += 1;
    }
    assert_eq!(seen, 3 * 68);
}
