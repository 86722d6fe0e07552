//! Join tokens: the secret by which a node gets in, once.
//!
//! ```text
//! atoll1.<SHA-256 of the cluster's CA certificate, or `plain`>.<id>.<secret>
//! ```
//!
//! The fingerprint is for the newcomer: it checks whom it talks to before it gives the secret away.
//! The cluster keeps, under the id, a hash of the secret, when it ends, and how often it may be used;
//! a use is one conditional write, so of two nodes that race with one token one gets in. A token
//! that is used up stays until it would have ended: "used already" helps more than "unknown".
//!
//! The secret is random and long, so a plain hash keeps it; there is nothing to guess.

use std::{
    fmt,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    coordination::{CoordinationError, CreateMode, Op, Refusal, Session},
    io::{Clock, Entropy, Io},
    wire::{Protection, Security, tls::Fingerprint},
};

/// Where the tokens are kept, one znode for each, named by its id.
pub const TOKENS: &str = "/atoll/tokens";

/// How long a token may be used unless its maker says otherwise.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// What a token of this format begins with.
const FORMAT: &str = "atoll1";

/// Stands for the fingerprint in a cluster that speaks plaintext.
const PLAIN: &str = "plain";

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 16;

/// Version of the encoding of a [`TokenRecord`].
const RECORD_VERSION: u8 = 1;

/// The public name of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenId([u8; ID_BYTES]);

/// A join token with its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    authority: Option<Fingerprint>,
    id: TokenId,
    secret: [u8; SECRET_BYTES],
}

/// What the cluster keeps of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    secret_sha256: [u8; 32],
    /// When it ends, in seconds since 1970.
    ends: u64,
    uses_left: u32,
}

/// A text that is no join token. It never repeats the text: that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// Parts are missing, or there are more.
    #[error(
        "a join token has 4 parts with dots between them, like {FORMAT}.<fingerprint>.<id>.<secret>; \
         this text has {parts} ({length} characters in all): was it copied whole?"
    )]
    Parts {
        /// How many there are.
        parts: usize,
        /// Characters in all.
        length: usize,
    },
    /// It begins otherwise.
    #[error("a join token of this version begins with `{FORMAT}.`; this text does not")]
    Format,
    /// The part for the CA is wrong.
    #[error(
        "the second part of a join token is 64 hexadecimal digits or `{PLAIN}`; here it has {0} characters"
    )]
    Authority(usize),
    /// The id or the secret is wrong.
    #[error(
        "the {part} of a join token is {expected} hexadecimal digits; here it has {found} characters"
    )]
    Hex {
        /// Which part.
        part: &'static str,
        /// How many digits there are to be.
        expected: usize,
        /// How many characters there are.
        found: usize,
    },
}

/// A token of a cluster that protects its connections otherwise than this node would.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongProtection {
    /// The token is of a plaintext cluster.
    #[error(
        "the join token is of a cluster that speaks plaintext, and this node would speak TLS: set \
         `cluster.insecure = true` if the network is to be trusted"
    )]
    ClusterIsPlaintext,
    /// The token is of a cluster with TLS.
    #[error(
        "the join token is of a cluster that speaks TLS, and this node would speak plaintext: set \
         `cluster.tls = \"always\"` and not `cluster.insecure`"
    )]
    ClusterIsSecured,
}

/// A token that does not open.
#[derive(Debug, thiserror::Error)]
pub enum TokenRefused {
    /// The cluster has none of this id.
    #[error("no join token {0} is known: it was made for another cluster, or ended long ago")]
    Unknown(TokenId),
    /// The id is right and the secret is not.
    #[error("the secret of join token {0} is wrong")]
    WrongSecret(TokenId),
    /// Its time is over.
    #[error("join token {0} has expired: make another")]
    Expired(TokenId),
    /// It was used as often as it may be.
    #[error("join token {0} was used already: make another")]
    Used(TokenId),
    /// Group 0 does not answer; it may be tried again.
    #[error("the join token cannot be looked up: {0}")]
    Unavailable(#[from] CoordinationError),
    /// What is kept under the id is no record.
    #[error("what is kept of join token {0} does not decode")]
    Damaged(TokenId),
}

impl Token {
    /// A new token for the cluster whose CA has this fingerprint; `None` for plaintext.
    pub fn draw(authority: Option<Fingerprint>, entropy: &dyn Entropy) -> Token {
        let mut token = Token { authority, id: TokenId([0; ID_BYTES]), secret: [0; SECRET_BYTES] };
        entropy.fill(&mut token.id.0);
        entropy.fill(&mut token.secret);
        token
    }

    /// Its public name.
    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The CA that a member of the cluster must show; `None` in plaintext.
    pub fn authority(&self) -> Option<Fingerprint> {
        self.authority
    }

    /// How a node that is set up for `protection` makes the call by which it joins: with TLS it
    /// gives the secret to nobody who does not show the CA that the token names.
    ///
    /// # Errors
    /// The cluster of the token is set up otherwise.
    pub fn security(
        &self,
        protection: Protection,
        clock: Arc<dyn Clock>,
    ) -> Result<Security, WrongProtection> {
        match (protection, self.authority) {
            (Protection::Mtls, Some(authority)) => Ok(Security::joining(clock, authority)),
            (Protection::Mtls, None) => Err(WrongProtection::ClusterIsPlaintext),
            (Protection::Local | Protection::Exposed, None) => Ok(Security::plaintext()),
            (Protection::Local | Protection::Exposed, Some(_)) => {
                Err(WrongProtection::ClusterIsSecured)
            }
        }
    }

    /// The text to hand to an operator, secret included.
    pub fn reveal(&self) -> String {
        let authority = self.authority.map_or(PLAIN.to_owned(), |it| it.to_string());
        format!("{FORMAT}.{authority}.{}.{}", self.id, hex(&self.secret))
    }

    /// What the cluster keeps.
    pub fn record(&self, now: SystemTime, lifetime: Duration, uses: u32) -> TokenRecord {
        let ends = seconds(now).saturating_add(lifetime.as_secs());
        TokenRecord { secret_sha256: self.hash(), ends, uses_left: uses }
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.secret).into()
    }
}

impl TokenRecord {
    /// What is left of it after `token` was used at `now`.
    ///
    /// # Errors
    /// [`TokenRefused`] but for unknown ids.
    pub fn used_by(&self, token: &Token, now: SystemTime) -> Result<TokenRecord, TokenRefused> {
        if self.secret_sha256 != token.hash() {
            return Err(TokenRefused::WrongSecret(token.id));
        }
        let uses_left = self.uses_left.checked_sub(1).ok_or(TokenRefused::Used(token.id))?;
        if self.has_ended(now) {
            return Err(TokenRefused::Expired(token.id));
        }
        Ok(TokenRecord { uses_left, ..self.clone() })
    }

    /// Is its time over?
    pub fn has_ended(&self, now: SystemTime) -> bool {
        seconds(now) >= self.ends
    }

    /// The data of its znode.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![RECORD_VERSION]).expect("memory takes any record")
    }

    /// The record that a znode holds, if it is one.
    pub fn decode(data: &[u8]) -> Option<TokenRecord> {
        let (&RECORD_VERSION, body) = data.split_first()? else { return None };
        postcard::from_bytes(body).ok()
    }
}

/// Makes a token known to the cluster.
///
/// # Errors
/// Those of group 0.
pub async fn issue(
    session: &dyn Session,
    token: &Token,
    record: &TokenRecord,
) -> Result<(), CoordinationError> {
    let path = path(token.id);
    session.create(&path, &record.encode(), CreateMode::PERSISTENT).await.map(drop)
}

/// Makes a token that lets one node in, within `lifetime`, and makes it known to the cluster.
///
/// # Errors
/// Those of group 0, and `Failed` as long as a node that speaks TLS has no certificate.
pub async fn mint(
    session: &dyn Session,
    security: &Security,
    io: &Io,
    lifetime: Duration,
) -> Result<Token, CoordinationError> {
    let authority = security.authority();
    if authority.is_none() && !security.is_plaintext() {
        return Err(CoordinationError::Failed("this node has no certificate yet".to_owned()));
    }
    let token = Token::draw(authority, io.entropy.as_ref());
    issue(session, &token, &token.record(io.clock.wall(), lifetime, 1)).await?;
    Ok(token)
}

/// The conditional write that uses `token` up. It is refused with `BadVersion` when somebody else
/// was first: put it into one `multi` with what the use is for, or see [`redeem`].
///
/// # Errors
/// The token does not open; see [`TokenRefused`].
pub async fn redemption(
    session: &dyn Session,
    token: &Token,
    now: SystemTime,
) -> Result<Op, TokenRefused> {
    let path = path(token.id);
    session.sync(&path).await?;
    let (data, stat) = match session.get(&path).await {
        Ok(found) => found,
        Err(error) if matches!(error.refusal(), Some(Refusal::NoNode(_))) => {
            return Err(TokenRefused::Unknown(token.id));
        }
        Err(error) => return Err(error.into()),
    };
    let record = TokenRecord::decode(&data).ok_or(TokenRefused::Damaged(token.id))?;
    let left = record.used_by(token, now)?;
    Ok(Op::Set { path, data: left.encode(), version: Some(stat.version) })
}

/// Uses a token up, together with `with`: all of it, or nothing.
///
/// After [`TokenRefused::Unavailable`] it may be used up or not.
///
/// # Errors
/// See [`TokenRefused`]; a refusal of `with` is in `Unavailable`.
pub async fn redeem(
    session: &dyn Session,
    token: &Token,
    now: SystemTime,
    with: Vec<Op>,
) -> Result<(), TokenRefused> {
    loop {
        let mut ops = vec![redemption(session, token, now).await?];
        ops.extend(with.iter().cloned());
        match session.multi(ops).await {
            Ok(_) => return Ok(()),
            // Somebody else used it just now. What is left, the next look tells; each time round the
            // record has fewer uses left, so this ends.
            Err(CoordinationError::Refused { at: 0, refusal: Refusal::BadVersion { .. } }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes the tokens whose time is over; answers how many.
///
/// # Errors
/// Those of group 0.
pub async fn sweep(session: &dyn Session, now: SystemTime) -> Result<usize, CoordinationError> {
    let mut swept = 0;
    for name in session.children(TOKENS).await?.0 {
        let path = format!("{TOKENS}/{name}");
        let gone = |error: &CoordinationError| matches!(error.refusal(), Some(Refusal::NoNode(_)));
        match session.get(&path).await {
            Ok((data, _)) if TokenRecord::decode(&data).is_some_and(|it| !it.has_ended(now)) => {}
            Ok(_) => match session.delete(&path, None).await {
                Ok(()) => swept += 1,
                Err(error) if gone(&error) => {}
                Err(error) => return Err(error),
            },
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(swept)
}

fn path(id: TokenId) -> String {
    format!("{TOKENS}/{id}")
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(part: &'static str, text: &str) -> Result<[u8; N], BadToken> {
    let bad = || BadToken::Hex { part, expected: 2 * N, found: text.chars().count() };
    let digits = text.as_bytes();
    let lower = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.iter().all(lower) {
        return Err(bad());
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
    }
    Ok(bytes)
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Token, BadToken> {
        let text = text.trim();
        let parts: Vec<&str> = text.split('.').collect();
        let [format, authority, id, secret] = parts[..] else {
            return Err(BadToken::Parts { parts: parts.len(), length: text.chars().count() });
        };
        if format != FORMAT {
            return Err(BadToken::Format);
        }
        let bad_authority = |_| BadToken::Authority(authority.chars().count());
        let authority = match authority {
            PLAIN => None,
            fingerprint => Some(fingerprint.parse().map_err(bad_authority)?),
        };
        let id = TokenId(unhex("id", id)?);
        Ok(Token { authority, id, secret: unhex("secret", secret)? })
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenId({self})")
    }
}

impl fmt::Debug for Token {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
