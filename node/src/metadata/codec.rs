//! How Raft's values look on disk and on the wire: one version byte, then postcard.
//!
//! Postcard writes fields in order without names, so a changed type is a new version; a reader that
//! meets a version it does not know says so and never guesses. The rows of the state machine have
//! their own records in the core; this is for log entries, votes, applied positions and messages.

use serde::{Serialize, de::DeserializeOwned};

/// The version this node writes and reads.
pub const VERSION: u8 = 1;

/// Bytes that are not what they should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There is nothing at all.
    #[error("the value is empty")]
    Empty,
    /// Written by another version.
    #[error("the value has format version {found}, this node reads {VERSION}")]
    Version {
        /// Which.
        found: u8,
    },
    /// The version is right, the rest is not.
    #[error("the value does not decode: {reason}")]
    Corrupt {
        /// postcard's word for it.
        reason: String,
    },
    /// A value that postcard cannot write (a sequence of unknown length).
    #[error("the value does not encode: {reason}")]
    Encode {
        /// postcard's word for it.
        reason: String,
    },
}

/// The bytes of `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    postcard::to_extend(value, vec![VERSION])
        .map_err(|error| CodecError::Encode { reason: error.to_string() })
}

/// The value of `bytes`; every byte must be used.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    let corrupt = |reason: String| CodecError::Corrupt { reason };
    let (version, body) = bytes.split_first().ok_or(CodecError::Empty)?;
    if *version != VERSION {
        return Err(CodecError::Version { found: *version });
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(corrupt(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(corrupt(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_what_is_wrong() {
        assert_eq!(decode::<u64>(&[]), Err(CodecError::Empty));
        assert_eq!(decode::<u64>(&[9, 1]), Err(CodecError::Version { found: 9 }));
        assert!(matches!(decode::<u64>(&[VERSION, 1, 1]), Err(CodecError::Corrupt { .. })));
        assert!(matches!(decode::<u64>(&[VERSION]), Err(CodecError::Corrupt { .. })));
    }

    proptest! {
        #[test]
        fn round_trip(value: (u64, String, Option<Vec<u8>>)) {
            prop_assert_eq!(decode(&encode(&value).unwrap()), Ok(value));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes: Vec<u8>) {
            let _ = decode::<(Vec<String>, Option<u64>)>(&bytes);
        }
    }
}
