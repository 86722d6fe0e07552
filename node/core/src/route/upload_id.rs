//! The id of an upload session.
//!
//! 128 bits, written as a UUID in exactly one spelling: lower case, with hyphens. The last two bytes
//! are the number of the node that holds the session, so that every node knows where a request
//! belongs without asking; the others are random. Whoever knows the id may not yet use the session;
//! it only must be impossible to guess or to spell twice. The `uuid` crate would parse four more
//! spellings, each of them a second name for one session.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{digest::echo, ring::NodeId};

/// Characters of the textual form: 32 hexadecimal digits and 4 hyphens.
const TEXT_LEN: usize = 36;
/// Where the hyphens stand.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// The id of an upload session: a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(u128);

impl UploadId {
    /// Makes an id out of random bytes: a UUID of version 4 (RFC 9562, section 5.4), which keeps
    /// 122 of the 128 bits.
    pub const fn from_bytes(mut bytes: [u8; 16]) -> UploadId {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        UploadId(u128::from_be_bytes(bytes))
    }

    /// The id of a session that `node` holds: 106 random bits and the node's number.
    pub const fn of_node(node: NodeId, mut random: [u8; 16]) -> UploadId {
        let [high, low] = node.0.to_be_bytes();
        random[14] = high;
        random[15] = low;
        UploadId::from_bytes(random)
    }

    /// The node that holds the session, if it exists at all.
    pub const fn node(self) -> NodeId {
        NodeId(self.0 as u16)
    }

    /// The raw bytes, most significant first.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;

    /// Takes a UUID of any version: one that no session carries is unknown, not malformed.
    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        parse(text).ok_or_else(|| InvalidUploadId { received: echo(text) })
    }
}

fn parse(text: &str) -> Option<UploadId> {
    if text.len() != TEXT_LEN {
        return None;
    }
    let mut value = 0;
    for (position, character) in text.bytes().enumerate() {
        let digit = match character {
            b'-' if HYPHENS.contains(&position) => continue,
            _ if HYPHENS.contains(&position) => return None,
            b'0'..=b'9' => character - b'0',
            b'a'..=b'f' => character - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u128::from(digit);
    }
    Some(UploadId(value))
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for UploadId {
    /// Text for formats people read, 16 raw bytes for the ones they do not.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.to_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for UploadId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(de::Error::custom);
        }
        Ok(UploadId(u128::from_be_bytes(<[u8; 16]>::deserialize(deserializer)?)))
    }
}

/// The text is not the id of an upload session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{received}` is not the id of an upload session: expected a lower-case UUID such as `123e4567-e89b-42d3-a456-426614174000`"
)]
pub struct InvalidUploadId {
    /// What was received, shortened.
    pub received: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "123e4567-e89b-42d3-a456-426614174000";

    #[test]
    fn random_bytes_become_a_version_4_uuid() {
        assert_eq!(
            UploadId::from_bytes([0xff; 16]).to_string(),
            "ffffffff-ffff-4fff-bfff-ffffffffffff"
        );
        assert_eq!(
            UploadId::from_bytes([0; 16]).to_string(),
            "00000000-0000-4000-8000-000000000000"
        );
    }

    #[test]
    fn an_id_names_its_node() {
        for node in [0, 1, 7, 0x1234, u16::MAX] {
            let id = UploadId::of_node(NodeId(node), [0xab; 16]);
            assert_eq!(id.node(), NodeId(node));
            assert_eq!(id.to_string().parse::<UploadId>().unwrap().node(), NodeId(node));
        }
        let text = UploadId::of_node(NodeId(0x0102), [0; 16]).to_string();
        assert_eq!(text, "00000000-0000-4000-8000-000000000102");
    }

    #[test]
    fn takes_one_spelling_only() {
        assert_eq!(TEXT.parse::<UploadId>().unwrap().to_string(), TEXT);
        for wrong in [
            "",
            &TEXT.to_uppercase(),
            &TEXT.replace('-', ""),
            &format!("{{{TEXT}}}"),
            &format!("urn:uuid:{TEXT}"),
            &format!("{TEXT}0"),
            &TEXT[1..],
            &TEXT.replace('-', "0"),
            "123e4567e-89b-42d3-a456-426614174000",
            "123e4567-e89b-42d3-a456-42661417400-",
            "123e4567-e89b-42d3-a456-42661417400g",
            "../../../../../../../../../../../../",
            "ééé456-e89b-42d3-a456-42661417400000",
        ] {
            assert!(wrong.parse::<UploadId>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn text_and_wire_forms_round_trip(bytes: [u8; 16], value: u128) {
            for id in [UploadId::from_bytes(bytes), UploadId(value)] {
                prop_assert_eq!(id.to_string().parse::<UploadId>().unwrap(), id);
                let json = serde_json::to_string(&id).unwrap();
                prop_assert_eq!(serde_json::from_str::<UploadId>(&json).unwrap(), id);
                let wire = postcard::to_stdvec(&id).unwrap();
                prop_assert_eq!(wire.len(), 16);
                prop_assert_eq!(postcard::from_bytes::<UploadId>(&wire).unwrap(), id);
            }
        }

        #[test]
        fn what_parses_is_written_the_same(text in "[0-9a-fA-F-]{36}") {
            if let Ok(id) = text.parse::<UploadId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<UploadId>();
        }
    }
}
