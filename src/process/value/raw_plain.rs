//! Plain numbers as bytes, and bytes as plain numbers.
//!
//! **Job.** The three ways in which [`Bulk`](crate::process::Bulk),
//! [`Shared`](crate::process::Shared) and [`SharedAtomics`](crate::process::SharedAtomics) look at
//! memory: numbers as the bytes that they are made of; bytes copied into numbers; shared memory as
//! numbers or as atomics. What may be a number is decided by two sealed traits, [`Plain`] and
//! [`PlainAtomic`].
//!
//! **Invariants.**
//! - **W30** The types that are `Plain` or `PlainAtomic` are those listed here: numbers of the
//!   standard library, without padding, for which every pattern of bits is a value, aligned to a
//!   power of two that is no more than 16, which divides the size of a page.
//! - **W31** A [`MappedSlice`] holds a mapping of the right kind, at least as long as its `len`
//!   elements, which is checked when it is made; neither changes afterwards. A process has one
//!   `Mapped` of a file at a time, so changing memory is accessed as atomics of one size there. It
//!   is made of [`Plain`] elements on memory that never changes, or of [`PlainAtomic`] ones on
//!   memory of their size.
//! - **W52** What is in memory that another process may write to is never borrowed as numbers or
//!   bytes. It is copied ([`mapping::copy`]), and becomes numbers in memory of our own.
//!
//! **Rejected.** `bool`, `char` and `AtomicBool`: most patterns of their bits are undefined
//! behaviour, and another process writes the bits. (`AtomicU8` can do what `AtomicBool` does.) A
//! dependency for such traits: they take ten lines.
//!
//! Tests: below; `tests/process/shared.rs`.
#![allow(unsafe_code)]
#![allow(clippy::disallowed_types)] // atomics shared with other processes: never loom's

use std::any::Any;
use std::fmt::{self, Debug};
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, AtomicUsize, Ordering,
};

use super::attachments::AttachedFile;
use super::mapped::Mapped;
use crate::loom::atomic::AtomicU64 as Word;
use crate::sys::large_pages;
use trefoil_os::host::mapping;

/// A type that other crates cannot name, so that they cannot implement [`Plain`] and
/// [`PlainAtomic`]. It has the number of the type in the protocol ([`Array::kind`]).
#[derive(Debug)]
pub struct Seal(u8);

/// The plain numbers: `u8` to `u128`, `i8` to `i128`, `usize`, `isize`, `f32` and `f64`.
///
/// Every pattern of bits is a value, so arrays of them can be sent and shared in their memory
/// layout. The trait is sealed.
pub trait Plain: Copy + PartialEq + Debug + Default + Send + Sync + 'static {
    #[doc(hidden)]
    const SEAL: Seal;
}

/// The atomic numbers: `AtomicU8` to `AtomicU64`, `AtomicI8` to `AtomicI64`, `AtomicUsize` and
/// `AtomicIsize`.
///
/// Not `AtomicBool`: all but two values of its byte are undefined behaviour, and a mistake of
/// another process could cause them. Use `AtomicU8` instead. The trait is sealed.
pub trait PlainAtomic: Debug + Send + Sync + 'static {
    /// The number that it holds.
    type Value: Plain;

    #[doc(hidden)]
    const SEAL: Seal;

    #[doc(hidden)]
    fn set(&self, value: Self::Value);

    #[doc(hidden)]
    fn value(self) -> Self::Value;
}

macro_rules! impl_plain {
    ($($type:ty: $kind:literal),*) => {
        $(
            #[doc(hidden)]
            impl Plain for $type {
                const SEAL: Seal = Seal($kind);
            }
            const _: () = assert!(align_of::<$type>() <= 16);
        )*

        /// An empty array for numbers of this kind.
        pub(crate) fn array(kind: u8) -> Option<Box<dyn Array>> {
            match kind {
                $($kind => Some(Box::new(Vec::<$type>::new())),)*
                _ => None,
            }
        }
    };
}

macro_rules! atomic {
    ($($type:ty: $value:ty),*) => {$(
        #[doc(hidden)]
        impl PlainAtomic for $type {
            type Value = $value;
            const SEAL: Seal = Seal(<$value>::SEAL.0);

            fn set(&self, value: $value) {
                self.store(value, Ordering::Relaxed);
            }

            fn value(self) -> $value {
                self.into_inner()
            }
        }
        const _: () = assert!(align_of::<$type>() <= 16);
    )*};
}

impl_plain!(
    u8: 1, u16: 2, u32: 3, u64: 4, u128: 5, usize: 6, i8: 7, i16: 8, i32: 9, i64: 10, i128: 11,
    isize: 12, f32: 13, f64: 14
);
atomic!(
    AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize,
    AtomicI8: i8, AtomicI16: i16, AtomicI32: i32, AtomicI64: i64, AtomicIsize: isize
);

/// A vector of plain numbers whose type is known at run time only.
pub(crate) trait Array: Any + Send + Sync {
    /// Which type the numbers have: never 0.
    fn kind(&self) -> u8;

    fn bytes(&self) -> &[u8];

    /// Moves the vector out, and leaves an empty one.
    fn take(&mut self) -> Box<dyn Array>;

    /// Appends the numbers with the memory `bytes`. The array will have `length` bytes, or so says
    /// the sender: room is made for [`GROWTH`] times what is there, and for no more than that. (No
    /// large pages are requested: a kernel may take three times as long to find them as small ones,
    /// and these cost little compared with the way through a socket.)
    fn fill(&mut self, bytes: &[u8], length: usize) -> io::Result<()>;
}

/// (Not the numbers: code for each type.)
impl Debug for dyn Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Array({})", self.kind())
    }
}

/// How many times more memory an array may take while it arrives than what has arrived.
const GROWTH: usize = 16;

impl<T: Plain> Array for Vec<T> {
    fn kind(&self) -> u8 {
        T::SEAL.0
    }

    fn bytes(&self) -> &[u8] {
        bytes_of(self)
    }

    fn take(&mut self) -> Box<dyn Array> {
        Box::new(std::mem::take(self))
    }

    fn fill(&mut self, bytes: &[u8], length: usize) -> io::Result<()> {
        let there = size_of_val(&**self) + bytes.len();
        if !bytes.len().is_multiple_of(size_of::<T>()) || there > length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let count = bytes.len() / size_of::<T>();
        if self.capacity() - self.len() < count {
            let most = length.min(there.saturating_mul(GROWTH)) / size_of::<T>();
            self.try_reserve_exact(most - self.len())
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        let room = self.spare_capacity_mut().as_mut_ptr().cast();
        // SAFETY: W30: there is room for this many numbers, which is not part of `bytes`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), room, bytes.len()) };
        // SAFETY: W30: they were just written, and whatever was written is a number.
        unsafe { self.set_len(self.len() + count) };
        Ok(())
    }
}

/// The numbers of `array`, which is copied only if they are of another type; `None` if its bytes
/// are not a whole number of elements.
pub(crate) fn numbers_in<T: Plain>(array: Box<dyn Array>) -> Option<Vec<T>> {
    if array.kind() != T::SEAL.0 {
        return numbers_of(array.bytes());
    }
    let array: Box<dyn Any> = array;
    array.downcast().ok().map(|numbers| *numbers)
}

/// The memory of `numbers`.
pub(crate) fn bytes_of<T: Plain>(numbers: &[T]) -> &[u8] {
    let start = numbers.as_ptr().cast();
    // SAFETY: W30: initialised, without padding, and borrowed from `numbers`.
    unsafe { std::slice::from_raw_parts(start, size_of_val(numbers)) }
}

/// The numbers with the memory `bytes`; `None` if that is not a whole number of them.
pub(crate) fn numbers_of<T: Plain>(bytes: &[u8]) -> Option<Vec<T>> {
    let (mut numbers, count) = room::<T>(bytes.len())?;
    let start = numbers.as_mut_ptr().cast();
    // SAFETY: W30: the room is as long as `bytes`, and new, so not part of them.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
    // SAFETY: W30: all of them were just written, and whatever was written is a number.
    unsafe { numbers.set_len(count) };
    Some(numbers)
}

/// Copies numbers from the first `length` bytes of `words`, to which others may write meanwhile;
/// `None` if that is not a whole number of them, or `words` is shorter.
pub(crate) fn numbers_from<T: Plain>(words: &[Word], length: usize) -> Option<Vec<T>> {
    if length > size_of_val(words) {
        return None;
    }
    let (mut numbers, count) = room::<T>(length)?;
    // SAFETY: W52: `words` are at least `length` bytes, and so is the room, which is new.
    unsafe { mapping::copy(words, length, numbers.as_mut_ptr().cast()) };
    // SAFETY: W30: all of them were just written, and whatever was written is a number.
    unsafe { numbers.set_len(count) };
    Some(numbers)
}

/// Room for numbers with `length` bytes of memory, and how many these are; `None` if that is not a
/// whole number of them.
fn room<T: Plain>(length: usize) -> Option<(Vec<T>, usize)> {
    if !length.is_multiple_of(size_of::<T>()) {
        return None;
    }
    let count = length / size_of::<T>();
    let mut numbers = Vec::with_capacity(count);
    large_pages::advise(&mut numbers);
    Some((numbers, count))
}

/// Shared memory as a slice: of numbers that never change, or of atomics.
pub(crate) struct MappedSlice<T> {
    mapped: Arc<Mapped>,
    len: usize,
    _elements: PhantomData<fn() -> T>,
}

impl<T: Plain> MappedSlice<T> {
    /// The first `bytes` bytes of `mapped` as numbers, if that memory never changes and is long
    /// enough, and they make a whole number of elements.
    pub(crate) fn fixed(mapped: Arc<Mapped>, bytes: u64) -> io::Result<Self> {
        Self::new(mapped, bytes, 0)
    }

    /// All of an attachment's memory, if it never changes.
    pub(crate) fn of(attachment: Arc<AttachedFile>) -> io::Result<Self> {
        let mapped = Mapped::open(attachment, 0)?;
        let bytes = mapped.mapping.length() as u64;
        Self::fixed(mapped, bytes)
    }
}

impl<A: PlainAtomic> MappedSlice<A> {
    /// The first `bytes` bytes of `mapped` as atomics, under the same conditions.
    pub(crate) fn atomics(mapped: Arc<Mapped>, bytes: u64) -> io::Result<Self> {
        Self::new(mapped, bytes, size_of::<A>())
    }
}

// Only the two functions above make one, so an element is a number or an atomic of W30.
impl<T> MappedSlice<T> {
    fn new(mapped: Arc<Mapped>, bytes: u64, atomic_size: usize) -> io::Result<Self> {
        let len = count(&mapped, bytes, size_of::<T>(), atomic_size)?;
        Ok(Self {
            mapped,
            len,
            _elements: PhantomData,
        })
    }

    pub(crate) fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    pub(crate) fn elements(&self) -> &[T] {
        let start = self.mapped.mapping.at(0).cast::<T>();
        // SAFETY: W30, W31, H22: elements of those, mapped, long enough, aligned, and mapped as
        // long as `self` is borrowed. H61, H23: numbers (atomic size 0) never change, and
        // everything else is only accessed as atomics.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }
}

/// How many elements of `size` bytes these bytes of the memory are, if it is for those.
fn count(mapped: &Mapped, bytes: u64, size: usize, atomic_size: usize) -> io::Result<usize> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    let error = if bytes > mapped.mapping.length() {
        "there is less shared memory than its length says"
    } else if !bytes.is_multiple_of(size) || mapped.atomic_size != atomic_size {
        "its memory is not a whole number of elements"
    } else {
        return Ok(bytes / size);
    };
    Err(io::Error::other(error))
}

impl<T> Clone for MappedSlice<T> {
    fn clone(&self) -> Self {
        Self {
            mapped: self.mapped.clone(),
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bytes_and_back() {
        let numbers = [1.5f64, -0.0, f64::NAN];
        let bytes = bytes_of(&numbers);
        assert_eq!(bytes.len(), 24);
        // Anywhere in memory.
        for shift in 0..8 {
            let moved = [&vec![7; shift], bytes].concat();
            let back = numbers_of::<f64>(&moved[shift..]).unwrap();
            assert_eq!(bytes_of(&back), bytes);
        }
        assert_eq!(numbers_of::<f64>(&bytes[1..]), None);
        assert_eq!(numbers_of::<u128>(&[]), Some(vec![]));
    }

    #[cfg(not(loom))]
    #[test]
    fn words_become_numbers_of_every_length() {
        let bytes: Vec<u8> = (0..80).collect();
        let words = bytes.as_chunks().0.iter();
        let words: Vec<Word> = words
            .map(|word| Word::new(u64::from_ne_bytes(*word)))
            .collect();
        for length in 0..=80 {
            assert_eq!(numbers_from::<u8>(&words, length).unwrap(), bytes[..length]);
            let wide = numbers_from::<u32>(&words, length);
            assert_eq!(wide, numbers_of(&bytes[..length]));
        }
        assert_eq!(numbers_from::<u8>(&words, 81), None);
    }

    /// It takes little more memory than has arrived, no more than it needs, and is seldom moved.
    #[test]
    fn an_array_grows_with_what_arrives() {
        const PART: usize = 1 << 10;
        let length = 600 * PART;
        let mut all = Vec::<u16>::new();
        let mut room = vec![0];
        for count in 1..=600 {
            all.fill(&[7; PART], length).unwrap();
            let bytes = all.capacity() * size_of::<u16>();
            assert!(
                bytes <= length.min(GROWTH * count * PART),
                "{bytes} of {count}"
            );
            room.push(bytes);
        }
        room.dedup();
        assert!(room.len() <= 5, "{room:?}");
        assert!(all.fill(&[7; 2], length).is_err(), "more than it has");
        assert!(all.fill(&[7], length + 2).is_err(), "half a number");
        assert!(Array::fill(&mut Vec::<u64>::new(), &[], usize::MAX).is_ok());
        assert_eq!(all.len(), length / 2);
    }

    #[test]
    fn each_type_has_a_kind_of_its_own() {
        for kind in 1..=14 {
            assert_eq!(array(kind).unwrap().kind(), kind);
        }
        assert!(array(0).is_none() && array(15).is_none());
        assert_eq!(numbers_in(Box::new(vec![1u32, 2])), Some(vec![1u32, 2]));
        assert_eq!(
            numbers_in(Box::new([[1u8; 8], [0; 8]].concat())),
            Some(vec![0x0101_0101_0101_0101u64, 0])
        );
        assert_eq!(numbers_in::<u64>(Box::new(vec![1u32])), None);
    }

    #[test]
    fn a_view_is_inside_of_its_memory() {
        let mapped = Mapped::fixed(bytes_of(&[1u32, 2, 3])).unwrap();
        let slice = MappedSlice::<u32>::fixed(mapped.clone(), 8).unwrap();
        assert_eq!(slice.clone().elements(), [1, 2]);
        assert!(MappedSlice::<u32>::fixed(mapped.clone(), 13).is_err());
        assert!(MappedSlice::<u32>::fixed(mapped.clone(), u64::MAX).is_err());
        assert!(MappedSlice::<u32>::fixed(mapped, 7).is_err());
    }
}
