//! Records come back as they were written, and nothing else comes back at all.

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};

use super::*;
use crate::{Algorithm, metadata::command::Refusal};

fn any_digest() -> impl Strategy<Value = Digest> {
    (any::<bool>(), any::<[u8; 64]>()).prop_map(|(long, bytes)| {
        let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
        Digest::from_bytes(algorithm, &bytes[..algorithm.len_bytes()]).unwrap()
    })
}

prop_compose! {
    fn any_manifest()(
        media_type in "\\PC{0,8}",
        size: u64,
        blobs in vec(any_digest(), 0..4),
        foreign_blobs in vec(any_digest(), 0..2),
        children in vec(any_digest(), 0..4),
        subject in option::of(any_digest()),
        artifact_type in option::of("\\PC{0,8}"),
        annotations in btree_map("\\PC{0,4}", "\\PC{0,4}", 0..3),
    ) -> ManifestRecord {
        ManifestRecord {
            media_type, size, blobs, foreign_blobs, children, subject, artifact_type, annotations,
        }
    }
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Done),
        Just(Outcome::Refused(Refusal::Expired)),
        Just(Outcome::Refused(Refusal::Reverify)),
        any::<u64>().prop_map(|epoch| {
            Outcome::Refused(Refusal::GcEpochPassed { epoch: GcEpoch(epoch) })
        }),
        vec(any_digest(), 0..3).prop_map(|missing| {
            let repo = "a/b".parse().unwrap();
            Outcome::Refused(Refusal::ManifestBlobUnknown { repo, missing })
        }),
        option::of(any_digest()).prop_map(|found| {
            let tag = "t".parse().unwrap();
            Outcome::Refused(Refusal::PreconditionFailed { tag, found })
        }),
    ]
}

fn round_trips<R: Record + PartialEq + std::fmt::Debug>(record: R) {
    let bytes = record.encode();
    assert_eq!(bytes[0], R::VERSION);
    assert_eq!(R::decode(&bytes).as_ref(), Ok(&record));
    let reason = |bytes: &[u8]| R::decode(bytes).unwrap_err().reason;
    assert_eq!(reason(&[&bytes[..], &[0]].concat()), CorruptReason::Trailing);
    assert_eq!(reason(&[]), CorruptReason::Empty);
    for length in 1..bytes.len() {
        assert_eq!(reason(&bytes[..length]), CorruptReason::Body);
    }
    let future = [&[R::VERSION + 1], &bytes[1..]].concat();
    let found = R::VERSION + 1;
    assert_eq!(reason(&future), CorruptReason::Version { found, known: R::VERSION });
}

fn decode_all(bytes: &[u8]) {
    let _ = RepoRecord::decode(bytes);
    let _ = LinkRecord::decode(bytes);
    let _ = ManifestRecord::decode(bytes);
    let _ = TagRecord::decode(bytes);
    let _ = ReferrerRecord::decode(bytes);
    let _ = DedupeRecord::decode(bytes);
    let _ = AgeRecord::decode(bytes);
    let _ = ClientRecord::decode(bytes);
    let _ = GcRecord::decode(bytes);
    let _ = CondemnedRecord::decode(bytes);
}

proptest! {
    #[test]
    fn every_record_round_trips(
        numbers: (u64, u64),
        client: u128,
        digest in any_digest(),
        artifact_type: Option<String>,
        outcome in any_outcome(),
        manifest in any_manifest(),
    ) {
        let (one, other) = numbers;
        round_trips(RepoRecord { since: one });
        round_trips(LinkRecord { size: one });
        round_trips(TagRecord { digest, version: one });
        round_trips(ReferrerRecord { artifact_type });
        round_trips(DedupeRecord { place: one, outcome });
        round_trips(AgeRecord { request: RequestId { client, sequence: one } });
        round_trips(PlaceRecord { last: one });
        round_trips(ClientRecord { floor: one, touched: other });
        round_trips(GcRecord { epoch: GcEpoch(one) });
        round_trips(CondemnedRecord { epoch: GcEpoch(other) });
        round_trips(manifest);
    }

    #[test]
    fn no_bytes_panic(mut bytes: Vec<u8>, versioned: bool) {
        if let (true, Some(first)) = (versioned, bytes.first_mut()) {
            *first = 1;
        }
        decode_all(&bytes);
    }

    #[test]
    fn no_damage_panics(manifest in any_manifest(), at: prop::sample::Index, byte: u8) {
        let mut bytes = manifest.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        decode_all(&bytes);
    }
}

/// A length of 2^63 in a body of a few bytes: refused, and not allocated for first.
#[test]
fn a_length_that_lies_is_refused() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let type_then = |rest: &[u8]| [&[1, 0, 0][..], rest].concat();
    for bytes in [
        [&[1][..], &huge].concat(),
        type_then(&huge),
        type_then(&[&[0, 0, 0, 0, 0][..], &huge].concat()),
    ] {
        assert_eq!(ManifestRecord::decode(&bytes).unwrap_err().reason, CorruptReason::Body);
    }
}

/// The bytes of version 1, written down: they are on disks.
#[test]
fn the_format_is_what_it_was() {
    let digest = Digest::from_bytes(Algorithm::Sha256, &[7; 32]).unwrap();
    let tag = TagRecord { digest, version: 300 }.encode();
    assert_eq!(tag, [&[1, 0, 32][..], &[7; 32], &[0xac, 0x02]].concat());
    assert_eq!(LinkRecord { size: 5 }.encode(), [1, 5]);
    assert_eq!(DedupeRecord { place: 1, outcome: Outcome::Done }.encode(), [1, 1, 0]);
}
