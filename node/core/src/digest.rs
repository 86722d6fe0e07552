//! Content digests: the name of every blob and manifest, and the key of the ring.
//!
//! Grammar (OCI image-spec, "Digests"): `algorithm ":" encoded`, of which Atoll accepts exactly
//! `sha256:` + 64 and `sha512:` + 128 lower-case hexadecimal characters. Upper-case hex is refused
//! rather than folded, so that one content has one name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::Digest as _;

/// A hash function that may name content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// SHA-256, what every client uses unless told otherwise.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Every accepted algorithm, in the order they are listed to users.
    pub const ALL: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];

    /// The name before the colon.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// Length of the hash in bytes.
    pub const fn len_bytes(self) -> usize {
        match self {
            Algorithm::Sha256 => 32,
            Algorithm::Sha512 => 64,
        }
    }

    /// Starts hashing.
    pub fn hasher(self) -> Hasher {
        match self {
            Algorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Hasher::Sha512(sha2::Sha512::new()),
        }
    }
}

impl FromStr for Algorithm {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        Algorithm::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == text)
            .ok_or_else(|| InvalidDigest::new(text, InvalidDigestReason::Algorithm))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of some content: an algorithm and the hash of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The hash, padded with zeros to the longest one.
    hash: [u8; 64],
}

impl Digest {
    /// The digest of `content`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Digest {
        let mut hasher = algorithm.hasher();
        hasher.update(content);
        hasher.finish()
    }

    /// Builds a digest from a raw hash; `None` when the length is not the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Option<Digest> {
        if bytes.len() != algorithm.len_bytes() {
            return None;
        }
        let mut hash = [0; 64];
        hash[..bytes.len()].copy_from_slice(bytes);
        Some(Digest { algorithm, hash })
    }

    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The raw hash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.hash[..self.algorithm.len_bytes()]
    }

    /// The hash in lower-case hexadecimal, without the algorithm.
    pub fn hex(&self) -> String {
        write_hex(self.as_bytes(), &mut [0; 128]).to_owned()
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes `bytes` in hexadecimal to the front of `text`, which must be long enough; answers what was
/// written.
fn write_hex<'t>(bytes: &[u8], text: &'t mut [u8]) -> &'t str {
    let text = &mut text[..2 * bytes.len()];
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    std::str::from_utf8(text).expect("hexadecimal digits are ASCII")
}

fn hex_value(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = |reason| InvalidDigest::new(text, reason);
        let (algorithm, encoded) =
            text.split_once(':').ok_or_else(|| invalid(InvalidDigestReason::Colon))?;
        let algorithm: Algorithm =
            algorithm.parse().map_err(|_| invalid(InvalidDigestReason::Algorithm))?;
        if encoded.len() != 2 * algorithm.len_bytes() {
            return Err(invalid(InvalidDigestReason::Length { algorithm, found: encoded.len() }));
        }
        let mut hash = [0; 64];
        for (byte, pair) in hash.iter_mut().zip(encoded.as_bytes().chunks_exact(2)) {
            let (Some(high), Some(low)) = (hex_value(pair[0]), hex_value(pair[1])) else {
                return Err(invalid(InvalidDigestReason::Hex { algorithm }));
            };
            *byte = high << 4 | low;
        }
        Ok(Digest { algorithm, hash })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.algorithm.name())?;
        f.write_str(":")?;
        f.write_str(write_hex(self.as_bytes(), &mut [0; 128]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    /// Text for formats people read, algorithm and raw bytes for the ones they do not.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.algorithm, self.as_bytes()).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            return text.parse().map_err(de::Error::custom);
        }
        let (algorithm, bytes) = <(Algorithm, Vec<u8>)>::deserialize(deserializer)?;
        Digest::from_bytes(algorithm, &bytes)
            .ok_or_else(|| de::Error::invalid_length(bytes.len(), &"the length of the hash"))
    }
}

/// A running hash.
#[derive(Clone, Debug)]
pub enum Hasher {
    /// SHA-256 in progress.
    Sha256(sha2::Sha256),
    /// SHA-512 in progress.
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// The hash function.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Hasher::Sha256(_) => Algorithm::Sha256,
            Hasher::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Adds the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(hasher) => hasher.update(bytes),
            Hasher::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of everything added.
    pub fn finish(self) -> Digest {
        let mut hash = [0; 64];
        let algorithm = self.algorithm();
        match self {
            Hasher::Sha256(hasher) => hash[..32].copy_from_slice(&hasher.finalize()),
            Hasher::Sha512(hasher) => hash.copy_from_slice(&hasher.finalize()),
        }
        Digest { algorithm, hash }
    }
}

/// The most characters of a refused text that an error repeats.
pub(crate) const ECHO_CHARS_MAX: usize = 160;

/// Shortens what a client sent so that it fits into an error message.
pub(crate) fn echo(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
    }
}

/// The text is not a digest that Atoll accepts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{received}` is not a digest: {reason}")]
pub struct InvalidDigest {
    /// What was received, shortened.
    pub received: String,
    /// What is wrong with it.
    pub reason: InvalidDigestReason,
}

impl InvalidDigest {
    fn new(received: &str, reason: InvalidDigestReason) -> Self {
        InvalidDigest { received: echo(received), reason }
    }
}

/// What is wrong with a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigestReason {
    /// There is no colon.
    #[error("expected `algorithm:hex`, such as `sha256:` and 64 hexadecimal characters")]
    Colon,
    /// The algorithm is not one Atoll knows.
    #[error("the algorithm must be `sha256` or `sha512`")]
    Algorithm,
    /// The encoded part has the wrong length.
    #[error("`{algorithm}` takes {} hexadecimal characters, found {found}", 2 * algorithm.len_bytes())]
    Length {
        /// The algorithm that was named.
        algorithm: Algorithm,
        /// Characters after the colon.
        found: usize,
    },
    /// The encoded part is not lower-case hexadecimal.
    #[error("`{algorithm}` takes {} characters out of 0-9 and a-f, in lower case", 2 * algorithm.len_bytes())]
    Hex {
        /// The algorithm that was named.
        algorithm: Algorithm,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_empty_blob_has_its_well_known_names() {
        assert_eq!(
            Digest::of(Algorithm::Sha256, b"").to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert!(
            Digest::of(Algorithm::Sha512, b"").to_string().starts_with("sha512:cf83e1357eefb8bd")
        );
    }

    #[test]
    fn refuses_each_kind_of_wrong_digest() {
        let good = Digest::of(Algorithm::Sha256, b"x").to_string();
        for wrong in [
            "",
            ":",
            "sha256",
            "sha256:",
            &good[..good.len() - 1],
            &format!("{good}0"),
            &good.to_uppercase(),
            &good.replace("sha256:", "SHA256:"),
            &good.replace("sha256:", "sha256::"),
            &good.replace("sha256:", "sha512:"),
            &good.replace("sha256:", "md5:"),
            &good.replace("sha256:", "sha256+b64u:"),
            "sha256:../../x",
            "sha256:baddigeststring",
            &format!("sha256:{}", "é".repeat(32)),
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_error_repeats_only_the_start_of_a_long_text() {
        let error = "ü".repeat(10_000).parse::<Digest>().unwrap_err();
        assert!(error.to_string().len() < 1_000);
    }

    proptest! {
        #[test]
        fn text_and_wire_forms_round_trip(content: Vec<u8>, sha512: bool) {
            let algorithm = if sha512 { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = Digest::of(algorithm, &content);
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
            let json = serde_json::to_string(&digest).unwrap();
            prop_assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
            let wire = postcard::to_stdvec(&digest).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Digest>(&wire).unwrap(), digest);
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<Digest>();
        }

        #[test]
        fn hashing_in_pieces_is_hashing_the_whole(content: Vec<u8>, cut: proptest::sample::Index) {
            let cut = cut.index(content.len() + 1);
            for algorithm in Algorithm::ALL {
                let mut hasher = algorithm.hasher();
                hasher.update(&content[..cut]);
                hasher.update(&content[cut..]);
                prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &content));
            }
        }
    }
}
