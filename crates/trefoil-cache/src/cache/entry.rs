//! The format of one entry, which is a file, or is in a pack.
//!
//! ```text
//! MAGIC (8) · mark (32) · created (8) · took (8) · length (8) · result · check (16)
//! ```
//!
//! Numbers are little-endian; the times are ns, `created` since 1970. The
//! check is the beginning of the BLAKE3 hash of everything before it. The mark is a hash of
//! function, generation and key: a file under a wrong name is not believed. The result is encoded
//! as `value` says.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::key::Key;

const MAGIC: [u8; 8] = *b"trefoil1";
/// How many bytes stand before the result.
pub(crate) const HEADER: usize = 64;
const CHECK: usize = 16;

/// When an entry was computed, and how long that took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    pub(crate) created: u64,
    pub(crate) took: u64,
    pub(crate) bytes: u64,
}

impl Meta {
    pub(crate) fn new(took: Duration) -> Self {
        Self {
            created: now(),
            took: nanos(took),
            bytes: 0,
        }
    }

    /// When the computation ended, by the clock of the machine that did it.
    pub fn created(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.created)
    }

    /// How long the computation took. Of a map on an executor it is not known, and 0.
    pub fn took(&self) -> Duration {
        Duration::from_nanos(self.took)
    }

    /// How many bytes the entry has.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How long ago it was computed; 0 if that is in the future.
    pub fn age(&self) -> Duration {
        self.created().elapsed().unwrap_or_default()
    }
}

/// Now, in ns since 1970.
pub(crate) fn now() -> u64 {
    nanos(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default(),
    )
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What stands before the result, with room for the result.
pub(crate) fn begin(mark: &Key, meta: &Meta) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&mark.0);
    for number in [meta.created, meta.took, 0] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Completes an entry whose result has been written behind [`begin`].
pub(crate) fn finish(bytes: &mut Vec<u8>) {
    let length = (bytes.len() - HEADER) as u64;
    bytes[HEADER - 8..HEADER].copy_from_slice(&length.to_le_bytes());
    let check = crate::digest::hash(bytes);
    bytes.extend_from_slice(&check[..CHECK]);
}

/// When an entry was computed, if it is whole, and has this mark.
pub(crate) fn parse(bytes: &[u8], mark: &Key) -> Option<Meta> {
    let (covered, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK)?)?;
    let is_whole = look(bytes)? == (*mark, bytes.len());
    if !is_whole || crate::digest::hash(covered)[..CHECK] != *check {
        return None;
    }
    Some(Meta {
        created: number(covered, 40),
        took: number(covered, 48),
        bytes: bytes.len() as u64,
    })
}

/// The mark of the entry that these bytes begin with, and how long it is as a whole. Its check is
/// not looked at.
pub(crate) fn look(bytes: &[u8]) -> Option<(Key, usize)> {
    let header = bytes.get(..HEADER)?;
    let mark = header[8..40].try_into().ok()?;
    let length = usize::try_from(number(header, HEADER - 8)).ok()?;
    let length = length.checked_add(HEADER + CHECK)?;
    (header[..8] == MAGIC).then_some((Key(mark), length))
}

fn number(header: &[u8], at: usize) -> u64 {
    let bytes = header[at..at + 8].try_into().unwrap_or_default();
    u64::from_le_bytes(bytes)
}

/// The result in an entry that is whole.
pub(crate) fn result_in(bytes: &[u8]) -> &[u8] {
    &bytes[HEADER..bytes.len() - CHECK]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::hash_of;

    #[test]
    fn no_damaged_entry_is_read() {
        let key = hash_of(&[b"a"]);
        let mut bytes = begin(&key, &Meta::new(Duration::from_millis(3)));
        bytes.extend_from_slice(b"the result");
        finish(&mut bytes);
        let meta = parse(&bytes, &key).unwrap();
        assert_eq!(meta.took().as_millis(), 3);
        assert_eq!(result_in(&bytes), b"the result");
        assert!(meta.age() < Duration::from_secs(60));
        assert_eq!(parse(&bytes, &hash_of(&[b"b"])), None, "another key");
        for length in 0..bytes.len() {
            assert_eq!(parse(&bytes[..length], &key), None, "cut at {length}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(parse(&damaged, &key), None, "damaged at {at}");
        }
        bytes.push(0);
        assert_eq!(parse(&bytes, &key), None, "longer");
    }
}
