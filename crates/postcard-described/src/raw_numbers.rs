//! Vectors of numbers in one piece.
//!
//! serde passes a vector on number by number, and reads it so: that takes nanoseconds each, and in
//! a debug build some hundred. So the memory of many numbers is written as a byte string, and
//! copied when a `Vec` of them is read. Types are recognised by their ids, which is decided at
//! compile time.
//!
//! - **E1** Types with one [`typeid::of`] differ in nothing but lifetimes.
//! - **E2** [`Number`] is implemented here alone: for numbers of the language, which have no
//!   padding, and for which every pattern of bits is a value.
//!
//! Tests: below; `crates/postcard-described/tests/values.rs`.
#![allow(unsafe_code)]

use std::any::TypeId;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;
use std::slice;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::Tag;

/// Whether this machine's memory has the order of bytes that the encoding has.
const IS_ALIKE: bool = cfg!(target_endian = "little");

trait Number: Copy + 'static {}

macro_rules! numbers {
    ($($tag:ident: $number:ty),*) => {
        $(impl Number for $number {})*

        /// The tag for this type, or for what it is a reference to, if that is one of serde's
        /// numbers: known when it is compiled.
        #[inline(always)]
        pub(crate) fn tag_of<T: ?Sized>() -> Option<Tag> {
            let this = typeid::of::<T>();
            $(if this == typeid::of::<$number>() || this == typeid::of::<&$number>() {
                return Some(Tag::$tag);
            })*
            None
        }

        /// The numbers that `items` will return, as bytes, and the type of each, if these are the
        /// elements of a vector or slice of numbers.
        #[inline]
        pub(crate) fn memory<I: Iterator>(items: &I) -> Option<(Tag, &[u8])> {
            let tag = tag_of::<I::Item>().filter(|_| IS_ALIKE)?;
            $(if tag == Tag::$tag
                && tag.width() == Some(size_of::<$number>())
                && let Some(numbers) = elements::<I, $number>(items)
            {
                return Some((tag, bytes_of(numbers)));
            })*
            None
        }

        /// What the visitor would return that reads a `Vec` of such numbers, if it is serde's.
        #[inline]
        pub(crate) fn vector<'de, V: Visitor<'de>>(tag: Tag, memory: &[u8]) -> Option<V::Value> {
            $(if tag == Tag::$tag
                && IS_ALIKE
                && tag.width() == Some(size_of::<$number>())
                && reads_vectors::<V, $number>()
            {
                return vector_as(vector_of::<$number>(memory)?);
            })*
            None
        }
    };
}

numbers! {
    U8: u8, U16: u16, U32: u32, U64: u64, U64: usize, U128: u128, I8: i8, I16: i16, I32: i32,
    I64: i64, I64: isize, I128: i128, F32: f32, F64: f64
}

/// The numbers that `items` will return, if these are the elements of a slice of such numbers.
#[inline]
fn elements<I: Iterator, N: Number>(items: &I) -> Option<&[N]> {
    if typeid::of::<I>() != typeid::of::<slice::Iter<'_, N>>() {
        return None;
    }
    // SAFETY: E1: `I` is `slice::Iter<'a, N>` for some `'a`, since nothing but a lifetime differs
    // between types with one id. `'a` outlives the borrow of `items`, because `I` does; and that
    // iterator may be seen as one with the shorter lifetime, because it is covariant in it.
    let numbers: &slice::Iter<'_, N> = unsafe { &*ptr::from_ref(items).cast() };
    Some(numbers.as_slice())
}

fn bytes_of<N: Number>(numbers: &[N]) -> &[u8] {
    // SAFETY: E2: initialised, without padding, and borrowed from `numbers`.
    unsafe { slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// The numbers with this memory; `None`: it is not a whole number of them.
fn vector_of<N: Number>(memory: &[u8]) -> Option<Vec<N>> {
    if !memory.len().is_multiple_of(size_of::<N>()) {
        return None;
    }
    let count = memory.len().checked_div(size_of::<N>())?;
    let mut numbers = Vec::<N>::with_capacity(count);
    let room = numbers.as_mut_ptr().cast();
    // SAFETY: E2: any bytes are numbers. There is room for so many, which is new, and so no part of
    // `memory`.
    unsafe { ptr::copy_nonoverlapping(memory.as_ptr(), room, memory.len()) };
    // SAFETY: E2: they were just written, and whatever was written is a number.
    unsafe { numbers.set_len(count) };
    Some(numbers)
}

/// Whether this is the visitor with which serde reads a vector of such numbers. (Another one of
/// that result may do something else with them.)
#[inline]
fn reads_vectors<'de, V: Visitor<'de>, N: Number + Deserialize<'de>>() -> bool {
    typeid::of::<V::Value>() == TypeId::of::<Vec<N>>()
        && visitor_of::<N>() == Some(typeid::of::<V>())
}

/// The id of the visitor with which serde reads a vector of these.
#[inline]
fn visitor_of<'de, N: Deserialize<'de>>() -> Option<TypeId> {
    Vec::<N>::deserialize(Asking).err()?.0
}

/// `vector` as a `T`, if that is its type.
#[inline]
fn vector_as<N: Number, T>(vector: Vec<N>) -> Option<T> {
    if typeid::of::<T>() != TypeId::of::<Vec<N>>() {
        return None;
    }
    let vector = ManuallyDrop::new(vector);
    // SAFETY: E1: `T` is `Vec<N>`: their ids are equal, and this type has no lifetime in which they
    // could differ. `ManuallyDrop` has the layout of what it holds, and drops nothing: the copy is
    // the vector's only owner.
    Some(unsafe { ptr::from_ref(&vector).cast::<T>().read() })
}

/// Reads nothing, and returns the id of the visitor that it gets.
struct Asking;

#[derive(Debug, thiserror::Error)]
#[error("nothing was read")]
struct Asked(Option<TypeId>);

impl<'de> Deserializer<'de> for Asking {
    type Error = Asked;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked(None))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Asked> {
        Err(Asked(Some(typeid::of::<V>())))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl de::Error for Asked {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_have_this_memory() {
        let vector = vec![1_u8, 2];
        let bytes = |memory: &'static [u8]| Some((Tag::U8, memory));
        assert_eq!(memory(&IntoIterator::into_iter(&vector)), bytes(&[1, 2]));
        assert_eq!(memory(&vector[1..].iter()), bytes(&[2]));
        assert_eq!(memory(&vector[2..].iter()), bytes(&[]));
        let mut begun = vector.iter();
        begun.next();
        assert_eq!(memory(&begun), bytes(&[2]));
        assert_eq!(memory(&[-2_i8].iter()), Some((Tag::I8, &[254][..])));
        let wide = [1, 0, 0, 2];
        assert_eq!(memory(&[1_u16, 512].iter()), Some((Tag::U16, &wide[..])));
        let float = 0.5_f64.to_le_bytes();
        assert_eq!(memory(&[0.5_f64].iter()), Some((Tag::F64, &float[..])));
        assert_eq!(memory(&vector.iter().rev()), None);
        assert_eq!(memory(&vector.clone().into_iter()), None);
        assert_eq!(memory(&[true].iter()), None);
        assert_eq!(memory(&[[1_u8]].iter()), None);
        assert_eq!(memory(&[&1_u8].iter()), None);
        assert_eq!(memory(&[Some(1_u8)].iter()), None);
    }

    #[test]
    fn only_a_vector_of_such_numbers_is_one() {
        assert_eq!(vector_as::<_, Vec<u8>>(vec![1_u8, 2]), Some(vec![1, 2]));
        assert_eq!(vector_as::<_, Vec<u64>>(vec![7_u64]), Some(vec![7]));
        assert_eq!(vector_as::<u8, Vec<u8>>(Vec::new()), Some(Vec::new()));
        assert_eq!(vector_as::<_, Vec<i8>>(vec![1_u8]), None);
        assert_eq!(vector_as::<_, Vec<i64>>(vec![1_u64]), None);
        assert_eq!(vector_as::<_, Vec<bool>>(vec![1_u8]), None);
        assert_eq!(vector_as::<_, Box<[u8]>>(vec![1_u8]), None);
        assert_eq!(vector_as::<_, &[u8]>(vec![1_u8]), None);
        assert_eq!(vector_as::<_, Option<Vec<u8>>>(vec![1_u8]), None);
        assert_eq!(vector_of::<u16>(&[1, 0, 0, 2]), Some(vec![1, 512]));
        assert_eq!(vector_of::<u16>(&[1, 0, 0]), None);
    }
}
