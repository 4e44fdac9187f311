//! Vectors of bytes in one piece.
//!
//! serde passes a vector on byte by byte, and reads it so: that takes nanoseconds a byte, and in a
//! debug build some hundred. The encoding of a vector of bytes is its length and then its memory,
//! so it can be copied. Types are recognised by their ids, which is decided at compile time.
//!
//! Types with one [`typeid::of`] differ in nothing but lifetimes: everything unsafe here rests on
//! that.
//!
//! Tests: below; `crates/described/tests/values.rs`.
#![allow(unsafe_code)]

use std::any::TypeId;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;
use std::slice;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// The memory of the bytes that `items` will return, if these are the elements of a vector or slice
/// of bytes.
#[inline]
pub(crate) fn memory<I: Iterator>(items: &I) -> Option<&[u8]> {
    if typeid::of::<I>() != typeid::of::<slice::Iter<'_, u8>>() {
        return None;
    }
    // SAFETY: `I` is `slice::Iter<'a, u8>` for some `'a`, since nothing but a lifetime differs
    // between types with one id. `'a` outlives the borrow of `items`, because `I` does; and that
    // iterator may be seen as one with the shorter lifetime, because it is covariant in it.
    let bytes: &slice::Iter<'_, u8> = unsafe { &*ptr::from_ref(items).cast() };
    Some(bytes.as_slice())
}

/// Whether this is the visitor with which serde reads a `Vec<u8>`. (Another one of that result may
/// do something else with the bytes.)
#[inline]
pub(crate) fn reads_vectors<'de, V: Visitor<'de>>() -> bool {
    typeid::of::<V::Value>() == TypeId::of::<Vec<u8>>()
        && Vec::<u8>::deserialize(Asking).is_err_and(|asked| asked.0 == Some(typeid::of::<V>()))
}

/// `vector` as a `T`, if that is its type.
#[inline]
pub(crate) fn vector_as<T>(vector: Vec<u8>) -> Option<T> {
    if typeid::of::<T>() != TypeId::of::<Vec<u8>>() {
        return None;
    }
    let vector = ManuallyDrop::new(vector);
    // SAFETY: `T` is `Vec<u8>`: their ids are equal, and this type has no lifetime in which they
    // could differ. `ManuallyDrop` has the layout of what it holds, and drops nothing: the copy is
    // the vector's only owner.
    Some(unsafe { ptr::from_ref(&vector).cast::<T>().read() })
}

/// Reads nothing, and returns the id of the visitor that it gets.
struct Asking;

#[derive(Debug)]
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

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing was read")
    }
}

impl std::error::Error for Asked {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bytes_have_this_memory() {
        let vector = vec![1_u8, 2];
        assert_eq!(memory(&IntoIterator::into_iter(&vector)), Some(&[1, 2][..]));
        assert_eq!(memory(&vector[1..].iter()), Some(&[2][..]));
        assert_eq!(memory(&vector[2..].iter()), Some(&[][..]));
        let mut begun = vector.iter();
        begun.next();
        assert_eq!(memory(&begun), Some(&[2][..]));
        assert_eq!(memory(&vector.iter().rev()), None);
        assert_eq!(memory(&vector.clone().into_iter()), None);
        assert_eq!(memory(&[1_i8].iter()), None);
        assert_eq!(memory(&[true].iter()), None);
        assert_eq!(memory(&[[1_u8]].iter()), None);
        assert_eq!(memory(&[&1_u8].iter()), None);
        assert_eq!(memory(&[Some(1_u8)].iter()), None);
    }

    #[test]
    fn only_a_vector_of_bytes_is_one() {
        assert_eq!(vector_as::<Vec<u8>>(vec![1, 2]), Some(vec![1, 2]));
        assert_eq!(vector_as::<Vec<u8>>(Vec::new()), Some(Vec::new()));
        assert_eq!(vector_as::<Vec<i8>>(vec![1]), None);
        assert_eq!(vector_as::<Vec<bool>>(vec![1]), None);
        assert_eq!(vector_as::<Box<[u8]>>(vec![1]), None);
        assert_eq!(vector_as::<&[u8]>(vec![1]), None);
        assert_eq!(vector_as::<Option<Vec<u8>>>(vec![1]), None);
    }
}
