//! The znodes of a cluster, and how their data is written.
//!
//! ```text
//! /atoll/view                the newest view
//! /atoll/registries/<node>   ephemeral: the node is up; incarnation and addresses
//! /atoll/members/<node>      what the node is meant to be: name, zone, weight, intent
//! /atoll/synced/<node>       up to which epoch the node holds everything it owns
//! /atoll/next-node           the number of the next node that joins
//! /atoll/joins/<nonce>       which number a join was given
//! /atoll/tokens/<id>         join tokens that may still be used
//! /atoll/plan                a change that an operator has staged
//! /atoll/ca                  what certificates are signed with
//! ```
//!
//! Data is one version byte, then postcard; the view has an encoding of its own.

use atoll_core::view::NodeId;
use serde::{Serialize, de::DeserializeOwned};

/// The newest view.
pub const VIEW: &str = "/atoll/view";
/// Who is up.
pub const REGISTRIES: &str = "/atoll/registries";
/// Who belongs to the cluster.
pub const MEMBERS: &str = "/atoll/members";
/// Who has synchronised.
pub const SYNCED: &str = "/atoll/synced";
/// The number of the next node.
pub const NEXT_NODE: &str = "/atoll/next-node";
/// Joins that were granted.
pub const JOINS: &str = "/atoll/joins";
/// Join tokens.
pub const TOKENS: &str = "/atoll/tokens";
/// What certificates are signed with.
pub const CA: &str = "/atoll/ca";
/// The root of it all.
pub const ROOT: &str = "/atoll";

/// Folders that exist from the founding on, parents first.
pub const FOLDERS: [&str; 6] = [ROOT, REGISTRIES, MEMBERS, SYNCED, JOINS, TOKENS];

/// Version of the encoding.
const VERSION: u8 = 1;

/// The znode of `node` below `folder`.
pub fn of(folder: &str, node: NodeId) -> String {
    format!("{folder}/{node}")
}

/// Whose znode has this name; `None` for a name that is no number of a node.
pub fn node(name: &str) -> Option<NodeId> {
    let number: u16 = name.parse().ok()?;
    (number > 0 && number.to_string() == name).then_some(NodeId(number))
}

/// Data that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data of a znode does not decode: {0}")]
pub struct BadData(String);

/// The data of `value`.
///
/// # Errors
/// None for the types that are used here.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, BadData> {
    postcard::to_extend(value, vec![VERSION]).map_err(|error| BadData(error.to_string()))
}

/// The value of `data`.
///
/// # Errors
/// Another version, or not this type.
pub fn decode<T: DeserializeOwned>(data: &[u8]) -> Result<T, BadData> {
    match data.split_first() {
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(BadData(format!("{} bytes too many", rest.len()))),
            Err(error) => Err(BadData(error.to_string())),
        },
        Some((version, _)) => Err(BadData(format!("version {version} is not known"))),
        None => Err(BadData("there is none".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_of_a_number_is_a_node() {
        assert_eq!(node("7"), Some(NodeId(7)));
        assert_eq!(of(MEMBERS, NodeId(7)), "/atoll/members/7");
        for name in ["", "0", "07", "+7", "7 ", "65536", "x"] {
            assert_eq!(node(name), None, "{name:?}");
        }
    }

    #[test]
    fn data_of_another_kind_is_told() {
        assert_eq!(decode::<u16>(&encode(&300_u16).unwrap()), Ok(300));
        for data in [&[][..], &[2, 1], &[1], &[1, 1, 1]] {
            assert!(decode::<u16>(data).is_err(), "{data:?}");
        }
    }
}
