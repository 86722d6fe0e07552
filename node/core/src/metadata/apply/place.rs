//! The place of a request: its number among all that were applied.

use super::{ApplyError, put};
use crate::metadata::{
    keys,
    kv::Kv,
    query::read,
    record::{PlaceRecord, Record},
};

/// Gives the next request its place. The first of an entry stands at its index or behind, the others
/// of the same entry behind it.
pub(super) fn next<K: Kv>(kv: &mut K, index: u64) -> Result<u64, ApplyError<K::Error>> {
    let last = read::<K, PlaceRecord>(kv, &keys::place())?.map_or(0, |record| record.last);
    let place = index.max(last.saturating_add(1));
    put(kv, &keys::place(), &PlaceRecord { last: place }.encode())?;
    Ok(place)
}
