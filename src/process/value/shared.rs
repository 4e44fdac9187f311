//! Numbers in memory that processes share: [`Shared`] and [`SharedAtomics`].
//!
//! **Job.** Both stand for a memfd (`host::segment`) that this process has mapped (`mapped`). In an
//! argument or a result they are encoded as two numbers: which of the descriptors that travel
//! with it (`attachments`), and how many bytes. The receiver checks both against what it got, and
//! maps the memory, unless it has already.
//!
//! If the system refuses the memory, `from` does not fail: the numbers stay in this process's own
//! memory. They can be read there; sending them tries once more, if possible.
//!
//! That `SharedAtomics` cannot be sent to a plain worker: `value/scope.rs`. How long a worker keeps
//! a `Shared`: `value/memory_kept_by_worker.rs`.
//!
//! Tests: `tests/process/shared.rs`, `tests/process/memory.rs`.
#![allow(clippy::disallowed_types)] // atomics shared with other processes: never loom's

use std::io;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, AtomicUsize,
};

use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bulk::Bulk;
use super::mapped::Mapped;
use super::raw_plain::{MappedSlice, Plain, PlainAtomic, bytes_of};
use super::reason;
use super::scope;

/// Where the elements are stored.
enum Storage<T> {
    Shared(MappedSlice<T>),
    /// In this process only, because there was no shared memory.
    Own(Arc<Vec<T>>),
}

impl<T> Storage<T> {
    /// Writes the descriptor's number and the number of bytes. Elements that are in this process
    /// only are shared with `again`, if that works now.
    fn serialize<S: Serializer>(
        &self,
        serializer: S,
        again: impl FnOnce(&[T]) -> io::Result<Arc<Mapped>>,
    ) -> Result<S::Ok, S::Error> {
        let number = match self {
            Self::Shared(slice) => scope::attach(&slice.mapped().attachment),
            Self::Own(own) => match again(own) {
                Ok(mapped) => scope::attach(&mapped.attachment),
                Err(error) => Err(reason::set(&format!(
                    "no shared memory was available: {error}"
                ))),
            },
        };
        let number = number.map_err(S::Error::custom)?;
        (number, size_of_val::<[T]>(self) as u64).serialize(serializer)
    }

    /// Reads these two numbers, and maps the memory: for atomics of `atomic_size` bytes, or as
    /// memory that never changes (0). `slice` makes the slice.
    fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
        atomic_size: usize,
        slice: impl FnOnce(Arc<Mapped>, u64) -> io::Result<MappedSlice<T>>,
    ) -> Result<Self, D::Error> {
        let (number, bytes): (u64, u64) = Deserialize::deserialize(deserializer)?;
        let open = || {
            let mapped = Mapped::open(scope::attached(number)?, atomic_size);
            let slice = mapped.and_then(|mapped| slice(mapped, bytes));
            slice.map_err(|error| reason::set(&error.to_string()))
        };
        open().map(Self::Shared).map_err(D::Error::custom)
    }
}

impl<T> Deref for Storage<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Shared(slice) => slice.elements(),
            Self::Own(own) => own,
        }
    }
}

impl<T> Clone for Storage<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared(slice) => Self::Shared(slice.clone()),
            Self::Own(own) => Self::Own(own.clone()),
        }
    }
}

/// A read-only `[T]` of [plain numbers](crate::process::Plain) that processes share instead of
/// copying it.
///
/// It is made from a vector, which is copied once into sealed memory: no process can change or
/// truncate it from then on. In an argument, a context or a result of a
/// [`ProcessPool`](crate::ProcessPool)'s calls, alone or as a part of a tuple, a struct, a vector
/// or an option, it is not copied but mapped: sending a gigabyte costs as much as sending an empty
/// one, and all processes share one copy. A process that has it already does not map it again.
///
/// Send numbers that many items need as the context of [`map_with`](crate::ProcessPool::map_with):
/// then each worker decodes it once, for all items. A worker keeps a large one (from 256 KiB on)
/// mapped from one call to the next, so keep a clone of it as long as there may be another call.
///
/// ```
/// use trefoil::{ProcessPool, Shared};
///
/// # trefoil::init();
/// let table = Shared::from(vec![2.0, 3.0, 5.0]);
/// let procs = ProcessPool::with_workers(2)?;
/// let third = procs.spawn((table.clone(), 2), |(table, at): (Shared<f64>, usize)| table[at]);
/// assert_eq!(third.join()?, 5.0);
/// let all = procs.map_with(&table, 0..3, |table: &Shared<f64>, at: usize| 2.0 * table[at])?;
/// assert_eq!(all, [4.0, 6.0, 10.0]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Cost
/// One descriptor and one mapping in each process that has it, until the last clone there is
/// dropped; clones share them. A worker keeps a large one until the last clone in the process that
/// has sent it is dropped, or until it has received 64 others. The memory is freed when no process
/// has it any more, however they ended: it has no name in `/dev/shm` or anywhere else.
///
/// # Errors
/// One argument or result can contain 253 of them. If the system has no descriptor or no memory to
/// share, `from` keeps the numbers in this process; if sending them fails again, the call fails.
///
/// Outside a call (as JSON, in a file) it is a byte string, as a [`Bulk`] is.
pub struct Shared<T: Plain>(Storage<T>);

as_slice!(Shared<T: Plain>);

impl<T: Plain> Shared<T> {
    /// What is in this memory.
    fn over(slice: MappedSlice<T>) -> Self {
        Self(Storage::Shared(slice))
    }

    /// Numbers that stay in this process until they are sent.
    fn own(numbers: Vec<T>) -> Self {
        Self(Storage::Own(Arc::new(numbers)))
    }
}

fn copy<T: Plain>(numbers: &[T]) -> io::Result<MappedSlice<T>> {
    let bytes = bytes_of(numbers);
    MappedSlice::fixed(Mapped::fixed(bytes)?, bytes.len() as u64)
}

impl<T: Plain> From<Vec<T>> for Shared<T> {
    fn from(numbers: Vec<T>) -> Self {
        copy(&numbers).map_or_else(|_| Self::own(numbers), Self::over)
    }
}

impl<T: Plain> From<&[T]> for Shared<T> {
    fn from(numbers: &[T]) -> Self {
        copy(numbers).map_or_else(|_| Self::own(numbers.to_vec()), Self::over)
    }
}

impl<T: Plain, const N: usize> From<[T; N]> for Shared<T> {
    fn from(numbers: [T; N]) -> Self {
        Self::from(&numbers[..])
    }
}

impl<T: Plain> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Plain> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Plain + Eq> Eq for Shared<T> {}

impl<T: Plain> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !scope::is_encoding() {
            return serializer.serialize_bytes(bytes_of(self));
        }
        let again = |own: &[T]| Mapped::fixed(bytes_of(own));
        self.0.serialize(serializer, again)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !scope::is_decoding() {
            return Bulk::deserialize(deserializer).map(|bulk| bulk.into_vec().into());
        }
        Storage::deserialize(deserializer, 0, MappedSlice::fixed).map(Self)
    }
}

/// An array of [atomic numbers](crate::process::PlainAtomic) in shared memory: the same words in
/// every process.
///
/// All clones, also those in other processes, are the same memory. So workers can count together,
/// check a flag that the parent sets, or claim entries in a table, without messages. In calls it is
/// sent like a [`Shared`].
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use trefoil::{ProcessPool, SharedAtomics};
///
/// # trefoil::init();
/// let counts = SharedAtomics::<AtomicU64>::new(2)?;
/// let procs = ProcessPool::with_workers(2)?;
/// procs.map_with(&counts, 0..100, |counts: &SharedAtomics<AtomicU64>, n: usize| {
///     counts[n % 2].fetch_add(n as u64, Ordering::Relaxed);
/// })?;
/// assert_eq!(counts[0].load(Ordering::Relaxed), 2450);
/// assert_eq!(counts[1].load(Ordering::Relaxed), 2500);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// A killed worker's writes stay; a lock made of atomics would stay locked.
///
/// # Cost
/// As [`Shared`]'s, but a worker keeps none: each call maps it again, unless the worker itself has
/// a clone. The pages are reserved when it is made.
///
/// # Errors
/// Serializing it outside a call fails with an error that explains why: there it would be only a
/// number. Otherwise as [`Shared`]'s. If `from` has found no memory to share, a call that sends the
/// atomics fails, because a copy would be different words. ([`new`](Self::new) fails at once.) A call of a pool
/// with [plain workers](crate::ProcessPoolBuilder::plain_workers), the only kind on macOS, FreeBSD
/// and Windows, fails with [`TaskError::Codec`](crate::TaskError::Codec): there the atomics work
/// within one process only.
pub struct SharedAtomics<A: PlainAtomic>(Storage<A>);

as_slice!(SharedAtomics<A: PlainAtomic>);

impl<A: PlainAtomic> SharedAtomics<A> {
    /// `len` atomics, all zero.
    ///
    /// # Errors
    /// If the system has no descriptor left for this process, or the machine does not have enough
    /// memory, which is checked before any is taken.
    pub fn new(len: usize) -> io::Result<Self> {
        let message = "so many atomics do not fit into memory";
        let too_many = || io::Error::new(io::ErrorKind::OutOfMemory, message);
        let bytes = len.checked_mul(size_of::<A>()).ok_or_else(too_many)?;
        let mapped = Mapped::atomics(bytes, size_of::<A>())?;
        Ok(Self(Storage::Shared(MappedSlice::atomics(
            mapped,
            bytes as u64,
        )?)))
    }
}

impl<A: PlainAtomic> From<Vec<A>> for SharedAtomics<A> {
    fn from(atomics: Vec<A>) -> Self {
        let Ok(shared) = Self::new(atomics.len()) else {
            return Self(Storage::Own(Arc::new(atomics)));
        };
        for (word, atomic) in shared.iter().zip(atomics) {
            word.set(atomic.value());
        }
        shared
    }
}

/// `From` for vectors of initial values.
macro_rules! from_values {
    ($($atomic:ty: $value:ty),*) => {$(
        impl From<Vec<$value>> for SharedAtomics<$atomic> {
            #[inline] // not compiled for those who do not use it
            fn from(values: Vec<$value>) -> Self {
                values.into_iter().map(<$atomic>::new).collect()
            }
        }
    )*};
}

from_values!(
    AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize,
    AtomicI8: i8, AtomicI16: i16, AtomicI32: i32, AtomicI64: i64, AtomicIsize: isize
);

impl<A: PlainAtomic> Clone for SharedAtomics<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: PlainAtomic> Serialize for SharedAtomics<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A copy would not be the same atomics.
        let again = |_: &[A]| Err(io::ErrorKind::OutOfMemory.into());
        self.0.serialize(serializer, again)
    }
}

impl<'de, A: PlainAtomic> Deserialize<'de> for SharedAtomics<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Storage::deserialize(deserializer, size_of::<A>(), MappedSlice::atomics).map(Self)
    }
}
