//! Range headers as clients send them, as attackers send them, and at random.

use proptest::prelude::*;

use super::*;

fn resolve(header: &str, len: u64) -> Resolution {
    parse(header).resolve(len)
}

fn single(start: u64, end: u64) -> Resolution {
    Resolution::Single(ByteRange { start, end })
}

#[test]
fn single_ranges() {
    for (header, expected) in [
        ("bytes=500-1499", single(500, 1499)),
        ("bytes=500-", single(500, 2047)),
        ("bytes=-500", single(1548, 2047)),
        ("bytes=0-", single(0, 2047)),
        ("bytes=2000-5000", single(2000, 2047)),
        ("bytes=2047-2047", single(2047, 2047)),
        ("bytes=-5000", single(0, 2047)),
        ("BYTES=0-0", single(0, 0)),
        ("bytes= 0-0 ,, ", single(0, 0)),
        ("bytes=0-99999999999999999999999", single(0, 2047)),
        ("bytes=-99999999999999999999999", single(0, 2047)),
        ("bytes=00000000000000000000000001-2", single(1, 2)),
        ("bytes=0-0,5000-", single(0, 0)),
    ] {
        assert_eq!(resolve(header, 2048), expected, "{header}");
    }
}

#[test]
fn unsatisfiable_ranges() {
    for header in [
        "bytes=500-0",
        "bytes=5-3",
        "bytes=0-1,5-3",
        "bytes=5000-10000",
        "bytes=2048-",
        "bytes=-0",
        "bytes=999999999999-",
        "bytes=18446744073709551615-",
        "bytes=99999999999999999999999-99999999999999999999999",
        "bytes=5000-,6000-7000,-0",
    ] {
        assert_eq!(resolve(header, 2048), Resolution::Unsatisfiable, "{header}");
    }
}

#[test]
fn what_is_not_understood_counts_as_absent() {
    for header in [
        "",
        "=",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1 - 2",
        "bytes 0-1",
        "bytes =0-1",
        "lines=1-2",
        "bytes=0-1;2-3",
        "bytes=0-0,x",
        "bytes=5-3,x",
        "bytes=0-٣",
        "bytes=0x1-2",
        "bytes=0-1\u{a0}",
    ] {
        assert_eq!(resolve(header, 2048), Resolution::Full, "{header}");
    }
}

#[test]
fn an_empty_blob_is_sent_whole() {
    for header in ["bytes=0-", "bytes=-1", "bytes=0-0", "bytes=5-3", "bytes=7-"] {
        assert_eq!(resolve(header, 0), Resolution::Full, "{header}");
    }
}

#[test]
fn several_ranges_keep_their_order_and_number() {
    let range = |start, end| ByteRange { start, end };
    assert_eq!(
        resolve("bytes=90-,0-9,10-19,\t40-49", 100),
        Resolution::Multi(vec![range(90, 99), range(0, 9), range(10, 19), range(40, 49)])
    );
    assert_eq!(
        resolve("bytes=0-9,200-,5-14", 100),
        Resolution::Multi(vec![range(0, 9), range(5, 14)])
    );
}

#[test]
fn a_flood_of_ranges_gets_the_whole_blob() {
    let ranges = |count: u64| {
        let list: Vec<String> = (0..count).map(|n| format!("{}-{}", 2 * n, 2 * n)).collect();
        format!("bytes={}", list.join(","))
    };
    let max = RANGES_MAX as u64;
    assert!(
        matches!(resolve(&ranges(max), 1 << 20), Resolution::Multi(all) if all.len() == RANGES_MAX)
    );
    assert_eq!(resolve(&ranges(max + 1), 1 << 20), Resolution::Full);
    assert_eq!(resolve(&ranges(1_000), 1 << 20), Resolution::Full);
    // The same bytes again and again: more than the blob has, or more than two overlaps.
    assert_eq!(resolve("bytes=0-,0-", 100), Resolution::Full);
    assert_eq!(resolve("bytes=0-50,50-99,0-0", 100), Resolution::Full);
    assert_eq!(resolve("bytes=0-9,0-0,1-1,2-2", 100), Resolution::Full);
    assert!(matches!(resolve("bytes=0-9,0-0,1-1", 100), Resolution::Multi(_)));
}

#[test]
fn header_values() {
    let range = ByteRange { start: 500, end: 1499 };
    assert_eq!(range.content_range(2048), "bytes 500-1499/2048");
    assert_eq!((range.len(), range.to_string().as_str()), (1000, "500-1499"));
    assert_eq!(unsatisfiable(2048), "bytes */2048");
}

#[test]
fn a_multipart_body_is_as_the_rfc_shows_it() {
    let blob = b"0123456789";
    let ranges = vec![ByteRange { start: 7, end: 9 }, ByteRange { start: 0, end: 0 }];
    let multipart = Multipart::new(Boundary::from_bytes([7; 16]), "a/b", 10, ranges);
    let boundary = "07".repeat(16);
    assert_eq!(multipart.content_type(), format!("multipart/byteranges; boundary={boundary}"));
    let expected = format!(
        "--{boundary}\r\nContent-Type: a/b\r\nContent-Range: bytes 7-9/10\r\n\r\n789\
         \r\n--{boundary}\r\nContent-Type: a/b\r\nContent-Range: bytes 0-0/10\r\n\r\n0\
         \r\n--{boundary}--\r\n"
    );
    assert_eq!(String::from_utf8(body(&multipart, blob)).unwrap(), expected);
}

/// Puts a body together as the shell does.
fn body(multipart: &Multipart, blob: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (index, &range) in multipart.ranges().iter().enumerate() {
        body.extend(multipart.part_header(index, range).into_bytes());
        body.extend(&blob[range.start() as usize..=range.end() as usize]);
    }
    body.extend(multipart.closing().into_bytes());
    body
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..300, Just(u64::MAX), Just(u64::MAX - 1), any::<u64>()]
}

fn any_spec() -> impl Strategy<Value = RangeSpec> {
    prop_oneof![
        (any_number(), any_number())
            .prop_map(|(a, b)| RangeSpec::FromTo { first: a.min(b), last: a.max(b) }),
        any_number().prop_map(|first| RangeSpec::From { first }),
        any_number().prop_map(|length| RangeSpec::Suffix { length }),
    ]
}

fn write(spec: &RangeSpec) -> String {
    match spec {
        RangeSpec::FromTo { first, last } => format!("{first}-{last}"),
        RangeSpec::From { first } => format!("{first}-"),
        RangeSpec::Suffix { length } => format!("-{length}"),
    }
}

/// Which bytes of a short blob a spec means, said the slow way.
fn bytes_of(spec: &RangeSpec, len: u64) -> Vec<u64> {
    (0..len)
        .filter(|&at| match *spec {
            RangeSpec::FromTo { first, last } => first <= at && at <= last,
            RangeSpec::From { first } => first <= at,
            RangeSpec::Suffix { length } => len - at <= length,
        })
        .collect()
}

proptest! {
    #[test]
    fn specs_round_trip(specs in prop::collection::vec(any_spec(), 1..=RANGES_MAX)) {
        let header: Vec<String> = specs.iter().map(write).collect();
        prop_assert_eq!(parse(&format!("bytes={}", header.join(", "))), RangeHeader::Specs(specs));
    }

    #[test]
    fn a_resolution_is_inside_the_blob(specs in prop::collection::vec(any_spec(), 1..20), len in any_number()) {
        let ranges = match RangeHeader::Specs(specs).resolve(len) {
            Resolution::Full | Resolution::Unsatisfiable => vec![],
            Resolution::Single(range) => vec![range],
            Resolution::Multi(ranges) => {
                prop_assert!(ranges.len() >= 2);
                ranges
            }
        };
        let mut total = 0_u64;
        for range in ranges {
            prop_assert!(range.start() <= range.end() && range.end() < len);
            prop_assert!(range.len() >= 1);
            total += range.len();
        }
        prop_assert!(total <= len);
    }

    #[test]
    fn a_resolution_means_the_bytes_that_were_asked(specs in prop::collection::vec(any_spec(), 1..5), len in 1_u64..300) {
        let expected: Vec<Vec<u64>> =
            specs.iter().map(|spec| bytes_of(spec, len)).filter(|bytes| !bytes.is_empty()).collect();
        let found = match RangeHeader::Specs(specs).resolve(len) {
            Resolution::Full => {
                prop_assert!(expected.len() > 1, "one range is always served as asked");
                return Ok(());
            }
            Resolution::Unsatisfiable => vec![],
            Resolution::Single(range) => vec![range],
            Resolution::Multi(ranges) => ranges,
        };
        let found: Vec<Vec<u64>> = found.iter().map(|range| (range.start()..=range.end()).collect()).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn a_multipart_body_has_the_length_it_says(
        ends in prop::collection::vec((0_u64..1_000, 0_u64..1_000), 0..20),
        content_type in "[a-z]{1,9}/[a-z]{1,9}",
    ) {
        let blob = vec![b'x'; 1_000];
        let ranges = ends.into_iter().map(|(a, b)| ByteRange { start: a.min(b), end: a.max(b) }).collect();
        let multipart = Multipart::new(Boundary::from_bytes([0xab; 16]), &content_type, 1_000, ranges);
        prop_assert_eq!(multipart.content_length(), body(&multipart, &blob).len() as u64);
    }

    #[test]
    fn no_header_panics(header in "\\PC*|bytes=[0-9, -]{0,40}", len: u64) {
        let _ = resolve(&header, len);
    }
}
