//! The suite of [`Entropy`].

use std::collections::BTreeSet;

use crate::io::Entropy;

/// Runs all of it.
pub fn suite(entropy: &dyn Entropy) {
    fills_every_length(entropy);
    does_not_repeat(entropy);
    is_balanced(entropy);
}

/// Every byte is written: over some fills, each takes a value other than the one it had.
fn fills_every_length(entropy: &dyn Entropy) {
    for len in 0..100 {
        let mut changed = vec![false; len];
        for _ in 0..20 {
            let mut bytes = vec![0; len];
            entropy.fill(&mut bytes);
            for (changed, byte) in changed.iter_mut().zip(bytes) {
                *changed |= byte != 0;
            }
        }
        assert!(changed.iter().all(|changed| *changed), "length {len}");
    }
}

fn does_not_repeat(entropy: &dyn Entropy) {
    let mut seen = BTreeSet::new();
    for _ in 0..10_000 {
        let mut id = [0; 16];
        entropy.fill(&mut id);
        assert!(seen.insert(id), "{id:?} came twice");
    }
}

/// Of a million bits about half are set: 5,000 off is ten standard deviations.
fn is_balanced(entropy: &dyn Entropy) {
    let mut bytes = vec![0; 125_000];
    entropy.fill(&mut bytes);
    let ones: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    assert!((495_000..=505_000).contains(&ones), "{ones} of a million bits are set");
}
