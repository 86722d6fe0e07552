//! A retry is answered, not applied.
//!
//! The answer to a request is kept for the next [`ANSWERS_KEPT_MAX`] requests. When it is
//! forgotten, its client's *floor* rises to its sequence, and a request at or below the floor that
//! has no answer is refused: it may be a duplicate that a slow network delivers after the tag was
//! moved on, and applying it would move the tag back. So the size of the window decides only how
//! late a retry may come, not whether one is applied twice.
//!
//! Everything goes by place in the log, the one clock that replicas share.
//!
//! Not one row per client with all its answers: such a row is rewritten whole with every command.

use super::{ApplyError, put, remove};
use crate::metadata::{
    command::{Outcome, Refusal, RequestId},
    keys,
    kv::Kv,
    query::{read, scan},
    record::{AgeRecord, ClientRecord, DedupeRecord, Record},
};

/// How many answers are kept. Retries end after seconds; at 10,000
/// commands per second this is 13 s. About 100 bytes each.
pub const ANSWERS_KEPT_MAX: u64 = 131_072;

/// For how many requests the floor of a client is kept after its last answer was forgotten. A
/// client is one start of one node, so there are few; a floor is worth keeping long, since with it
/// goes the last protection from a duplicate.
pub const CLIENTS_KEPT_ENTRIES: u64 = 1 << 24;

const _: () = assert!(ANSWERS_KEPT_MAX < CLIENTS_KEPT_ENTRIES, "floors outlive answers");

/// How many answers one command may make forgotten. More than one, so that the backlog behind a gap
/// in the log shrinks; few, so that no command pays for many.
const FORGOTTEN_PER_COMMAND_MAX: usize = 4;

/// The answer to a request that is not to be applied.
pub(super) fn answer<K: Kv>(
    kv: &K,
    request: RequestId,
) -> Result<Option<Outcome>, ApplyError<K::Error>> {
    if let Some(record) = read::<K, DedupeRecord>(kv, &keys::dedupe(request))? {
        return Ok(Some(record.outcome));
    }
    let client = read::<K, ClientRecord>(kv, &keys::client(request.client))?;
    let expired = client.is_some_and(|client| request.sequence <= client.floor);
    Ok(expired.then_some(Outcome::Refused(Refusal::Expired)))
}

/// Keeps the answer to a request, and forgets old ones.
pub(super) fn remember<K: Kv>(
    kv: &mut K,
    place: u64,
    request: RequestId,
    outcome: &Outcome,
) -> Result<(), ApplyError<K::Error>> {
    let record = DedupeRecord { place, outcome: outcome.clone() };
    put(kv, &keys::dedupe(request), &record.encode())?;
    put(kv, &keys::age(place), &AgeRecord { request }.encode())?;
    for (key, AgeRecord { request }) in outdated(kv, place)? {
        remove(kv, &key)?;
        remove(kv, &keys::dedupe(request))?;
        raise_floor(kv, place, request)?;
        sweep_client_after(kv, place, request.client)?;
    }
    Ok(())
}

type AgeRow = (Vec<u8>, AgeRecord);

/// The oldest answers that are out of the window.
fn outdated<K: Kv>(kv: &K, place: u64) -> Result<Vec<AgeRow>, ApplyError<K::Error>> {
    let Some(newest) = place.checked_sub(ANSWERS_KEPT_MAX) else { return Ok(Vec::new()) };
    let newest = keys::age(newest);
    let mut found = Vec::new();
    let mut corrupt = None;
    scan(kv, &keys::ages(), None, &mut |key, value| {
        if key > newest.as_slice() || found.len() == FORGOTTEN_PER_COMMAND_MAX {
            return false;
        }
        match AgeRecord::decode(value) {
            Ok(record) => found.push((key.to_vec(), record)),
            Err(error) => corrupt = Some(error),
        }
        corrupt.is_none()
    })?;
    corrupt.map_or(Ok(found), |error| Err(error.into()))
}

fn raise_floor<K: Kv>(
    kv: &mut K,
    place: u64,
    request: RequestId,
) -> Result<(), ApplyError<K::Error>> {
    let key = keys::client(request.client);
    let floor = read::<K, ClientRecord>(kv, &key)?.map_or(0, |client| client.floor);
    let record = ClientRecord { floor: floor.max(request.sequence), touched: place };
    put(kv, &key, &record.encode())
}

/// Forgets the client after this one, around the circle of clients, if it has been silent for long.
/// Every silent client comes to stand right after a speaking one, so all of them go in time, each
/// for the price of one look.
fn sweep_client_after<K: Kv>(
    kv: &mut K,
    place: u64,
    client: u128,
) -> Result<(), ApplyError<K::Error>> {
    let next = match first_client(kv, Some(&keys::client(client)))? {
        Some(next) => Some(next),
        None => first_client(kv, None)?,
    };
    match next {
        Some((key, record)) if record.touched.saturating_add(CLIENTS_KEPT_ENTRIES) < place => {
            remove(kv, &key)
        }
        _ => Ok(()),
    }
}

type ClientRow = (Vec<u8>, ClientRecord);

fn first_client<K: Kv>(
    kv: &K,
    after: Option<&[u8]>,
) -> Result<Option<ClientRow>, ApplyError<K::Error>> {
    let mut first = None;
    scan(kv, &keys::clients(), after, &mut |key, value| {
        first = Some(ClientRecord::decode(value).map(|record| (key.to_vec(), record)));
        false
    })?;
    Ok(first.transpose()?)
}
