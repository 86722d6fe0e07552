//! Logs of earlier builds are read, and new commands come back as they were written.

use crate::{
    Algorithm, Digest, RepoName,
    gc::GcEpoch,
    metadata::{Command, Precondition, PutManifest, Request, RequestId, command::TagProtection},
};

fn digest(content: &str) -> Digest {
    Digest::of(Algorithm::Sha256, content.as_bytes())
}

fn repo() -> RepoName {
    "a/b".parse().unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16));
    pairs.collect::<Result<_, _>>().unwrap()
}

/// Every command of the build before collection, as it stood in its logs, in order.
const FIRST_VERSION: [&str; 5] = [
    "07000003612f620020fa2c8cc4f28176bbeed4b736df569a34c79cd3723e9ec42f9674b4d46ac6b8b804",
    "07010103612f620020fa2c8cc4f28176bbeed4b736df569a34c79cd3723e9ec42f9674b4d46ac6b8b8",
    "07020203612f62002062c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a03\
     742f7801010020fa2c8cc4f28176bbeed4b736df569a34c79cd3723e9ec42f9674b4d46ac6b8b8000001\
     0020043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf8901016b01026f6601\
     6d0102763103010102762a",
    "07030303612f62002062c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a00",
    "07040403612f620276310200",
];

/// The same commands now.
fn now(vg: GcEpoch) -> [Command; 5] {
    let tag = || "v1".parse().unwrap();
    [
        Command::LinkBlob { repo: repo(), digest: digest("blob"), size: 4, vg },
        Command::UnlinkBlob { repo: repo(), digest: digest("blob") },
        Command::PutManifest(PutManifest {
            repo: repo(),
            digest: digest("m"),
            media_type: "t/x".into(),
            size: 1,
            blobs: vec![digest("blob")],
            foreign_blobs: vec![],
            children: vec![],
            subject: Some(digest("s")),
            artifact_type: Some("k".into()),
            annotations: [("of".to_owned(), "m".to_owned())].into(),
            tags: vec![tag()],
            precondition: Precondition::Absent,
            protected: TagProtection::Patterns(vec!["v*".into()]),
            vg,
        }),
        Command::DeleteManifest {
            repo: repo(),
            digest: digest("m"),
            protected: TagProtection::None,
        },
        Command::DeleteTag {
            repo: repo(),
            tag: tag(),
            precondition: Precondition::Exists,
            protected: TagProtection::None,
        },
    ]
}

#[test]
fn a_log_of_the_first_version_is_read() {
    for (number, (text, command)) in FIRST_VERSION.iter().zip(now(GcEpoch(0))).enumerate() {
        let id = RequestId { client: 7, sequence: number as u64 };
        let read: Request = postcard::from_bytes(&unhex(text)).unwrap();
        assert_eq!(read, Request { id, command });
    }
}

#[test]
fn every_command_comes_back() {
    let (e, digests) = (GcEpoch(300), vec![digest("x"), digest("y")]);
    let collection = [
        Command::Condemn { e, digests: digests.clone() },
        Command::CondemnAbort { e, digests: digests.clone() },
        Command::CondemnFinish { e, digests },
    ];
    for command in now(e).into_iter().chain(collection) {
        let bytes = postcard::to_allocvec(&command).unwrap();
        assert_eq!(postcard::take_from_bytes(&bytes), Ok((command, &[][..])));
    }
}

/// The numbers are on disks: a variant that moves would be read as another.
#[test]
fn the_numbers_of_the_variants_stay() {
    let (e, digests) = (GcEpoch(1), Vec::new());
    let collection = [
        Command::Condemn { e, digests: digests.clone() },
        Command::CondemnAbort { e, digests: digests.clone() },
        Command::CondemnFinish { e, digests },
    ];
    let commands = now(e).into_iter().chain(collection);
    let numbers: Vec<u8> = commands.map(|one| postcard::to_allocvec(&one).unwrap()[0]).collect();
    assert_eq!(numbers, [5, 1, 6, 3, 4, 7, 8, 9]);
}
