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

/// Whether `T` may be a vector or a [`Bulk`], by its size. (What stands behind this is not compiled
/// at all for most other types, not even in a debug build.)
const fn may_be_vector<T>() -> bool {
    size_of::<T>() == size_of::<Vec<u8>>() || size_of::<T>() == size_of::<Bulk<u8>>()
}

/// Whether `T` is a vector of such numbers.
#[inline(always)]
fn is_vector<T: Any, N: Plain>() -> bool {
    TypeId::of::<T>() == TypeId::of::<Vec<N>>()
}

/// How many numbers `value` has, and their memory, if it is such a vector.
#[inline]
pub(super) fn memory<T: Any>(value: &T) -> Option<(usize, &[u8])> {
    if const { !may_be_vector::<T>() } {
        return None;
    }
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
    if const { !may_be_vector::<T>() } {
        return None;
    }
    let value: &mut dyn Any = value;
    for_each_number!(N => {
        if is_vector::<T, N>() {
            return value.downcast_mut().map(|vector: &mut Vec<N>| vector as _);
        }
        if TypeId::of::<T>() == TypeId::of::<Bulk<N>>() {
            return value.downcast_mut().map(|bulk: &mut Bulk<N>| bulk.numbers() as _);
        }
    });
    None
}

/// The value that `bytes` encode, if its type is such a vector.
#[inline]
pub(super) fn read<T: Any>(bytes: &[u8]) -> Option<Result<T, String>> {
    if const { !may_be_vector::<T>() } {
        return None;
    }
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
    let memory = memory_in(bytes, size_of::<N>())?;
    if memory.is_empty()
        && let Some(left_out) = scope::find(memory)
    {
        return left_out;
    }
    numbers_of(memory).ok_or_else(|| not_numbers(bytes))
}

/// The memory of the vector that `bytes` encode, whose elements have `size` bytes.
fn memory_in(bytes: &[u8], size: usize) -> Result<&[u8], String> {
    let taken = postcard::take_from_bytes::<usize>(bytes);
    let (count, memory) = taken.map_err(|_| not_numbers(bytes))?;
    if count.checked_mul(size) != Some(memory.len()) {
        return Err(not_numbers(bytes));
    }
    Ok(memory)
}

#[cold]
fn not_numbers(bytes: &[u8]) -> String {
    format!("its {} bytes are not a vector of numbers", bytes.len())
}

#[cfg(all(test, not(loom)))]
mod tests;
