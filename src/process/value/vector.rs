//! Vectors of numbers, written and read in one piece.
//!
//! serde passes a vector on number by number, which takes many times as long as copying it. So a
//! vector of numbers that is the whole argument or result is written as their number and its
//! memory, and a large one is left out of the bytes, as a [`Bulk`] is ([`whole`]). (Both sides do
//! so: they are the same program.) One that is a part of something else goes through serde, where
//! many numbers are copied, too (`postcard_described::raw_numbers`).
//!
//! [`Any`] says whether a type is such a vector. For every other type nothing of this is left in an
//! optimised program.
//!
//! Tests: below.

use std::any::{Any, TypeId};

use super::bulk::Bulk;
use super::raw_plain::{Array, Plain, bytes_of, numbers_of};
use super::scope;

/// Does something for each type of numbers.
macro_rules! for_each_number {
    ($number:ident => $do:expr) => {
        for_each_number!(@ $number, $do; u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64)
    };
    (@ $number:ident, $do:expr; $($type:ty)*) => {$(
        {
            type $number = $type;
            $do
        }
    )*};
}
pub(in crate::process) use for_each_number;

/// Whether `T` is a vector of such numbers.
#[inline(always)]
fn is_vector<T: Any, N: Plain>() -> bool {
    // (The size spares a debug build most of the other comparisons.)
    size_of::<T>() == size_of::<Vec<N>>() && TypeId::of::<T>() == TypeId::of::<Vec<N>>()
}

/// How many numbers `value` has, and their memory, if it is such a vector.
#[inline]
pub(super) fn memory<T: Any>(value: &T) -> Option<(usize, &[u8])> {
    let value: &dyn Any = value;
    for_each_number!(N => {
        if is_vector::<T, N>() {
            let numbers = value.downcast_ref::<Vec<N>>()?;
            return Some((numbers.len(), bytes_of(numbers)));
        }
    });
    None
}

/// The numbers of `value`, if it is such a vector, or a [`Bulk`].
#[inline]
pub(super) fn whole<T: Any>(value: &mut T) -> Option<&mut dyn Array> {
    let value: &mut dyn Any = value;
    for_each_number!(N => {
        if is_vector::<T, N>() {
            return value.downcast_mut().map(|vector: &mut Vec<N>| vector as _);
        }
        if size_of::<T>() == size_of::<Bulk<N>>() && TypeId::of::<T>() == TypeId::of::<Bulk<N>>() {
            return value.downcast_mut().map(|bulk: &mut Bulk<N>| bulk.numbers() as _);
        }
    });
    None
}

/// The value that `bytes` encode, if its type is such a vector.
#[inline]
pub(super) fn read<T: Any>(bytes: &[u8]) -> Option<Result<T, String>> {
    for_each_number!(N => {
        if is_vector::<T, N>() {
            let mut numbers = numbers::<N>(bytes).map(Some);
            let numbers: &mut dyn Any = match &mut numbers {
                Ok(numbers) => numbers,
                Err(error) => return Some(Err(std::mem::take(error))),
            };
            return Some(Ok(numbers.downcast_mut::<Option<T>>()?.take()?));
        }
    });
    None
}

fn numbers<N: Plain>(bytes: &[u8]) -> Result<Vec<N>, String> {
    let wrong = || format!("its {} bytes are not a vector of numbers", bytes.len());
    let (count, memory) = postcard::take_from_bytes::<usize>(bytes).map_err(|_| wrong())?;
    if count.checked_mul(size_of::<N>()) != Some(memory.len()) {
        return Err(wrong());
    }
    if memory.is_empty()
        && let Some(left_out) = scope::find(memory)
    {
        return left_out;
    }
    numbers_of(memory).ok_or_else(wrong)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::process::value::codec::{decode, encode};

    fn goes_both_ways<N>(number: impl Fn(usize) -> N)
    where
        N: Plain + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static,
        Vec<N>: Any,
    {
        for count in [0, 1, 3, 127, 128, 5000, 20_000] {
            let value: Vec<N> = (0..count).map(&number).collect();
            let mut out = vec![9];
            encode(&value, &mut out, &mut None).unwrap();
            let own = [&postcard::to_stdvec(&count).unwrap(), bytes_of(&value)].concat();
            assert_eq!(out[1..], own);
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
        goes_both_ways(|n| !n as u64);
        goes_both_ways(|n| !n);
        goes_both_ways(|n| -(n as i32) * 99);
        goes_both_ways(|n| -(n as i128) << 90);
    }

    #[test]
    fn what_is_no_such_vector_is_left_alone() {
        assert!(
            memory(&vec![1.5f32]).is_some_and(|(count, memory)| (count, memory.len()) == (1, 4))
        );
        assert!(memory(&vec![true]).is_none() && memory(&7u8).is_none());
        assert!(memory(&Some(vec![1u8])).is_none() && memory(&"x".to_owned()).is_none());
        assert_eq!(read(&[2, 7, 8]), Some(Ok(vec![7u8, 8])));
        assert_eq!(read::<Vec<bool>>(&[2, 1, 1]), None);
        assert!(read::<Vec<u16>>(&[2, 7, 8]).is_some_and(|read| read.is_err()));
        assert!(read::<Vec<f32>>(&[2, 7, 8]).is_some_and(|read| read.is_err()));
        assert!(read::<Vec<u8>>(&[]).is_some_and(|read| read.is_err()));
        assert!(whole(&mut vec![1u8]).is_some() && whole(&mut Bulk::from([1u128])).is_some());
        assert!(whole(&mut vec![true]).is_none() && whole(&mut "x".to_owned()).is_none());
    }
}
