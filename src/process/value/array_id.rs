//! Numbers that stand for the contents of arrays.
//!
//! **Job.** Hashing a large array takes milliseconds. A serializer that hashes what it is given can
//! remember the hash by the array's number: no two arrays with different contents have the same
//! one in a process. A number is drawn when somebody asks, and forgotten when the array is
//! borrowed for a change.
//!
//! Tests: `tests/process/shared.rs`.
#![allow(clippy::disallowed_types)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering}; // counters: no protocol to model

use crate::loom::per_thread;

/// Arrays of so many bytes have numbers.
const LARGE: usize = 16 << 10;

per_thread! {
    /// The address, the length and the number of the array that is passed to a serializer.
    static PASSED: Cell<Option<(usize, usize, u64)>> = Cell::new(None);
}

/// The number of an array; 0: it has none yet.
#[derive(Debug, Default)]
pub(crate) struct ArrayId(AtomicU64);

impl ArrayId {
    pub(super) fn get(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let drawn = match self.0.load(Ordering::Relaxed) {
            0 => NEXT.fetch_add(1, Ordering::Relaxed),
            known => return known,
        };
        let relaxed = Ordering::Relaxed;
        match self.0.compare_exchange(0, drawn, relaxed, relaxed) {
            Ok(_) => drawn,
            Err(known) => known,
        }
    }

    /// The contents may change.
    #[inline]
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}

/// That of an array with the same contents.
impl Clone for ArrayId {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

/// Passes `bytes`, an array with this number, to a serializer.
pub(crate) fn passing<T>(bytes: &[u8], id: &ArrayId, write: impl FnOnce() -> T) -> T {
    if bytes.len() < LARGE {
        return write();
    }
    struct Passed;
    impl Drop for Passed {
        fn drop(&mut self) {
            PASSED.with(|passed| passed.set(None));
        }
    }
    let array = (bytes.as_ptr().addr(), bytes.len(), id.get());
    PASSED.with(|passed| passed.set(Some(array)));
    let _passed = Passed;
    write()
}

/// For serializers that hash: a number for the contents of the large array that is being passed to
/// `serialize_bytes` as `bytes`.
///
/// A [`Bulk`](crate::Bulk) and a [`Shared`](crate::Shared) of 16 KiB or more pass their memory to
/// any serializer in one piece. During that call of `serialize_bytes`, this returns a number that
/// no array with other contents has had in this process. A `Shared` and its clones keep theirs; a
/// `Bulk` keeps it until it is borrowed mutably. So what was computed from the bytes can be
/// remembered by the number. `None` for any other bytes, and while a call is being encoded.
///
/// ```
/// use std::collections::HashMap;
/// use trefoil::process::array_id;
///
/// /// What a hashing serializer does with a byte string.
/// fn hash(bytes: &[u8], known: &mut HashMap<u64, u64>) -> u64 {
///     let compute = || bytes.iter().fold(7, |hash: u64, byte| hash.rotate_left(5) ^ u64::from(*byte));
///     match array_id(bytes) {
///         Some(id) => *known.entry(id).or_insert_with(compute),
///         None => compute(),
///     }
/// }
/// assert_eq!(hash(b"a", &mut HashMap::new()), 0x81); // not of an array
/// ```
pub fn array_id(bytes: &[u8]) -> Option<u64> {
    let (address, length, id) = PASSED.with(Cell::get)?;
    ((address, length) == (bytes.as_ptr().addr(), bytes.len())).then_some(id)
}
