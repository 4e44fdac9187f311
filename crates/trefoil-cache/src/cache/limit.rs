//! Limits of a cache.

use std::time::Duration;

/// 24 hours, for [`Age`]: `Age(30 * DAY)`.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many bytes of the disk all entries of a cache may take together: see
/// [`Cache::limit`](crate::Cache::limit). Entries of more than 1 KiB are files, which take whole
/// blocks of 4 KiB. Smaller ones share up to 256 files for each function, version and pair of
/// types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// How old an entry may be, from when it was computed: see
/// [`Cache::limit`](crate::Cache::limit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

/// One limit of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// For all entries together.
    Bytes(u64),
    /// For each entry.
    Age(Duration),
}

impl From<Bytes> for Limit {
    fn from(Bytes(most): Bytes) -> Self {
        Self::Bytes(most)
    }
}

impl From<Age> for Limit {
    fn from(Age(most): Age) -> Self {
        Self::Age(most)
    }
}
