//! The ordered key space under the state machine.

use std::{collections::BTreeMap, convert::Infallible, ops::Bound};

/// An ordered map from byte keys to byte values, with the error of whatever holds it.
pub trait KvRead {
    /// What may go wrong beneath (a disk).
    type Error;

    /// The value at `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Self::Error>;

    /// Visits rows in key order from `from` up to but without `to`, until `visit` says stop
    /// (`false`). `None` for `to` means to the end.
    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Self::Error>;
}

/// A key space that can change. It reads its own writes.
///
/// The shell implements this over one write transaction; a test over a `BTreeMap`.
pub trait Kv: KvRead {
    /// Sets the value at `key`.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Self::Error>;

    /// Removes `key`; removing nothing is fine.
    fn delete(&mut self, key: &[u8]) -> Result<(), Self::Error>;
}

/// The key space in memory: the reference for every other one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryKv(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl KvRead for MemoryKv {
    type Error = Infallible;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Option<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Infallible> {
        let end = to.map_or(Bound::Unbounded, Bound::Excluded);
        if let (Bound::Included(low) | Bound::Excluded(low), Some(high)) = (from, to)
            && low >= high
        {
            return Ok(());
        }
        for (key, value) in self.0.range::<[u8], _>((from, end)) {
            if !visit(key, value) {
                break;
            }
        }
        Ok(())
    }
}

impl Kv for MemoryKv {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Infallible> {
        self.0.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), Infallible> {
        self.0.remove(key);
        Ok(())
    }
}
