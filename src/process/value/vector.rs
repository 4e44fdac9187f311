//! Vectors whose encoding is their memory, written and read in one piece.
//!
//! serde passes a vector on number by number, which takes many times as long as copying it. The
//! encoding of bytes and floats is their number and then the vector's memory. So a vector of these
//! that is the whole argument or result is copied; a large one is left out of the bytes, as a
//! [`Bulk`] is ([`whole`]). One that is a part of something else goes through serde, and bytes are
//! copied there, too (`postcard_described::raw_bytes`). One side alone may use serde, because the
//! bytes are the same.
//!
//! [`Any`] says whether a type is such a vector. For every other type nothing of this is left in an
//! optimised program.
//!
//! Tests: below.

use std::any::{Any, TypeId};

use super::bulk::Bulk;
use super::raw_plain::{Array, Plain, bytes_of, numbers_of};
use super::scope;

/// Whether this machine's memory has the order of bytes that the encoding has.
const IS_ALIKE: bool = cfg!(target_endian = "little");

/// How many numbers `value` has, and their memory, if it is such a vector.
#[inline]
pub(super) fn memory<T: Any>(value: &T) -> Option<(usize, &[u8])> {
    fn of<N: Plain>(value: &dyn Any) -> Option<(usize, &[u8])> {
        let numbers = value.downcast_ref::<Vec<N>>()?;
        Some((numbers.len(), bytes_of(numbers)))
    }
    if !IS_ALIKE {
        return None;
    }
    of::<u8>(value)
        .or_else(|| of::<i8>(value))
        .or_else(|| of::<f32>(value))
        .or_else(|| of::<f64>(value))
}

/// The numbers of `value`, if it is such a vector, or a [`Bulk`].
#[inline]
pub(super) fn whole<T: Any>(value: &mut T) -> Option<&mut dyn Array> {
    macro_rules! of {
        ($numbers:expr; $($type:ty),*) => {$(
            if TypeId::of::<T>() == TypeId::of::<$type>() {
                let value: &mut dyn Any = value;
                return value.downcast_mut::<$type>().map($numbers);
            }
        )*};
    }
    let sizes = [size_of::<Vec<u8>>(), size_of::<Bulk<u8>>()];
    if !IS_ALIKE || !sizes.contains(&size_of::<T>()) {
        return None; // (The size spares a debug build the comparisons.)
    }
    of!(|vec| vec as &mut dyn Array; Vec<u8>, Vec<i8>, Vec<f32>, Vec<f64>);
    of!(|bulk| bulk.numbers() as &mut dyn Array; Bulk<u8>, Bulk<u16>, Bulk<u32>, Bulk<u64>);
    of!(|bulk| bulk.numbers() as &mut dyn Array; Bulk<i8>, Bulk<i16>, Bulk<i32>, Bulk<i64>);
    of!(|bulk| bulk.numbers() as &mut dyn Array; Bulk<u128>, Bulk<i128>, Bulk<usize>, Bulk<isize>);
    of!(|bulk| bulk.numbers() as &mut dyn Array; Bulk<f32>, Bulk<f64>);
    None
}

/// The value that `bytes` encode, if it is such a vector. Also `None` if they encode none: then
/// serde reports the error.
#[inline]
pub(super) fn read<T: Any>(bytes: &[u8]) -> Option<Result<T, String>> {
    fn of<N: Plain, T: Any>(bytes: &[u8]) -> Option<Result<T, String>> {
        if TypeId::of::<T>() != TypeId::of::<Vec<N>>() {
            return None;
        }
        let (count, memory) = postcard::take_from_bytes::<usize>(bytes).ok()?;
        if count.checked_mul(size_of::<N>()) != Some(memory.len()) {
            return None;
        }
        let left_out = memory.is_empty().then(|| scope::find::<N>(memory));
        let numbers = match left_out.flatten() {
            Some(Err(why)) => return Some(Err(why)),
            Some(Ok(numbers)) => numbers,
            None => numbers_of(memory)?,
        };
        let mut numbers = Some(numbers);
        let numbers: &mut dyn Any = &mut numbers;
        Some(Ok(numbers.downcast_mut::<Option<T>>()?.take()?))
    }
    if !IS_ALIKE {
        return None;
    }
    of::<u8, T>(bytes)
        .or_else(|| of::<i8, T>(bytes))
        .or_else(|| of::<f32, T>(bytes))
        .or_else(|| of::<f64, T>(bytes))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::process::value::codec::{decode, encode};

    fn goes_both_ways<N>(number: impl Fn(usize) -> N)
    where
        N: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
        Vec<N>: Any,
    {
        for count in [0, 1, 3, 127, 128, 5000, 20_000] {
            let value: Vec<N> = (0..count).map(&number).collect();
            let mut out = vec![9];
            encode(&value, &mut out, &mut None).unwrap();
            assert_eq!(out[1..], postcard::to_stdvec(&value).unwrap());
            assert_eq!(decode::<Vec<N>>(&out[1..]), Ok(value));
            for wrong in [&out[1..out.len() - 1], &[&out[1..], &[0]].concat()] {
                assert!(decode::<Vec<N>>(wrong).is_err());
            }
        }
    }

    #[test]
    fn either_way_gives_the_same() {
        goes_both_ways(|n| n as u8);
        goes_both_ways(|n| n as i8);
        goes_both_ways(|n| n as f32 / 3.0);
        goes_both_ways(|n| -(n as f64) / 7.0);
        goes_both_ways(|n| n as u16);
    }

    #[test]
    fn what_is_no_such_vector_is_left_alone() {
        assert!(
            memory(&vec![1.5f32]).is_some_and(|(count, memory)| (count, memory.len()) == (1, 4))
        );
        assert!(memory(&vec![1u16]).is_none() && memory(&7u8).is_none());
        assert!(memory(&Some(vec![1u8])).is_none() && memory(&"x".to_owned()).is_none());
        assert_eq!(read(&[2, 7, 8]), Some(Ok(vec![7u8, 8])));
        assert_eq!(read::<Vec<u16>>(&[2, 7, 8]), None);
        assert_eq!(read::<Vec<f32>>(&[2, 7, 8]), None);
        assert_eq!(read::<Vec<u8>>(&[]), None);
        assert!(whole(&mut vec![1u8]).is_some() && whole(&mut Bulk::from([1u128])).is_some());
        assert!(whole(&mut vec![1u16]).is_none() && whole(&mut "x".to_owned()).is_none());
    }
}
