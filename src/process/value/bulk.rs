//! `Bulk`: many plain numbers in one argument or result.
//!
//! **Job.** serde passes a vector on number by number. A [`Bulk`] passes its memory to the codec in
//! one piece, and is read back in one piece. In a pool's calls a large one is copied into shared
//! memory, and out of it again (`lent_arrays`), or sent ahead of the bytes (`copies`).
//!
//! Bytes from outside are checked: they must make a whole number of elements. They are copied to
//! aligned memory; every pattern of bits is a number (`raw_plain`).
//!
//! Tests: `tests/process/bulk.rs`, `tests/process/shared.rs`, `tests/process/memory.rs`.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::DerefMut;

use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::raw_plain::{Array, Plain, bytes_of, numbers_of};
use super::reason;
use super::scope;
use crate::sys::large_pages;

/// A vector of [plain numbers](crate::process::Plain) that is sent in its memory layout.
///
/// Use it for large arrays of numbers that are a part of an argument or result of calls in worker
/// processes. It costs as much as copying memory. In a pool's calls a large one (from 16 KiB up to
/// 64 MiB) does not go through the pool's sockets: it is copied into reused shared memory, and from
/// there to its destination. A larger one goes through the sockets.
///
/// A `Vec` of numbers that is the whole argument or result travels in the same way. As a part of
/// something else it is copied through the codec, which costs two copies more and goes through the
/// sockets: write `Bulk<f64>` there. So is a vector of arrays of two, three or four numbers, of 9
/// or 16 floats, or of 8, 16, 20 or 32 bytes, also one that is the whole argument. A vector of
/// other arrays, or of tuples of numbers, is passed on by serde number by number, which takes
/// longer.
///
/// ```
/// use trefoil::{Bulk, ProcessPool};
///
/// # trefoil::init();
/// let procs = ProcessPool::with_workers(1)?;
/// let samples = Bulk::from(vec![1.0, 2.0, 3.0]);
/// let doubled = procs.spawn(samples, |mut samples: Bulk<f64>| {
///     samples.iter_mut().for_each(|x| *x *= 2.0);
///     samples
/// });
/// assert_eq!(doubled.join()?.into_vec(), [2.0, 4.0, 6.0]);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// If the machine has no memory for a copy of an argument, the call fails
/// ([`Codec`](crate::TaskError::Codec)) before anything is copied.
///
/// # Memory
/// At most 256 MiB of a pool's arguments are in shared memory at a time, and 64 MiB of each
/// worker's results; beyond that, numbers go through the sockets. An argument's numbers stay in the
/// pool's process until the call has ended, because it may have to be sent again. When no shared
/// memory is in use, 32 MiB of each are kept for later calls. It does not count in a worker's
/// [`memory_limit`](crate::ProcessPoolBuilder::memory_limit); the worker's own copy does, as any
/// argument does.
///
/// With other serializers, even inside an argument's `Serialize`, it is a byte string: the numbers
/// in this machine's byte order. For numbers that many calls only read, use
/// [`Shared`](crate::Shared).
#[derive(Default)]
pub struct Bulk<T: Plain>(Vec<T>);

as_slice!(Bulk<T: Plain>);

impl<T: Plain> Bulk<T> {
    /// Returns the numbers as a vector, without a copy.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }

    pub(super) fn numbers(&mut self) -> &mut Vec<T> {
        &mut self.0
    }
}

impl<T: Plain> PartialEq for Bulk<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Plain + Eq> Eq for Bulk<T> {}

impl<T: Plain + Hash> Hash for Bulk<T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.hash(hasher);
    }
}

fn copy<T: Plain>(numbers: &[T]) -> Vec<T> {
    let mut copy = Vec::with_capacity(numbers.len());
    large_pages::advise(&mut copy);
    copy.extend_from_slice(numbers);
    copy
}

impl<T: Plain> Clone for Bulk<T> {
    fn clone(&self) -> Self {
        Self(copy(&self.0))
    }
}

impl<T: Plain> From<Vec<T>> for Bulk<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self(numbers)
    }
}

impl<T: Plain> From<&[T]> for Bulk<T> {
    fn from(numbers: &[T]) -> Self {
        copy(numbers).into()
    }
}

impl<T: Plain, const N: usize> From<[T; N]> for Bulk<T> {
    fn from(numbers: [T; N]) -> Self {
        copy(&numbers).into()
    }
}

impl<T: Plain> From<Bulk<T>> for Vec<T> {
    fn from(bulk: Bulk<T>) -> Self {
        bulk.into_vec()
    }
}

impl<T: Plain> IntoIterator for Bulk<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}

impl<'a, T: Plain> IntoIterator for &'a mut Bulk<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T: Plain> DerefMut for Bulk<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Plain> Serialize for Bulk<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let bytes = bytes_of(&self.0);
        scope::offering(bytes, self.0.kind(), || serializer.serialize_bytes(bytes))
    }
}

impl<'de, T: Plain> Deserialize<'de> for Bulk<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(BytesVisitor(PhantomData))
    }
}

struct BytesVisitor<T>(PhantomData<T>);

impl<'de, T: Plain> Visitor<'de> for BytesVisitor<T> {
    type Value = Bulk<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = std::any::type_name::<T>();
        write!(f, "the bytes of a whole number of {name}")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bulk<T>, E> {
        if bytes.is_empty()
            && let Some(numbers) = scope::find(bytes)
        {
            return numbers.map(Bulk::from).map_err(E::custom);
        }
        numbers_of(bytes).map(Bulk::from).ok_or_else(|| {
            let message = format!("{} bytes are not a whole number of elements", bytes.len());
            E::custom(reason::set(&message))
        })
    }

    /// Formats without byte strings give a list of numbers.
    fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Bulk<T>, S::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = list.next_element()? {
            bytes.push(byte);
        }
        self.visit_bytes(&bytes)
    }
}
