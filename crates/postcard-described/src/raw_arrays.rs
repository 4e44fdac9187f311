//! Vectors of arrays of numbers in one piece, such as `Vec<[f64; 3]>`.
//!
//! As with numbers alone (`raw_numbers`), but there are too many such types for a comparison with
//! each of them: the name of a type, or its description, says which place of a table to look at,
//! and the ids there decide. serde writes arrays of up to 32 elements.
//!
//! Everything unsafe here rests on the two sentences there: an array of numbers has no padding
//! either, and every pattern of bits is a value.
//!
//! Tests: below; `crates/postcard-described/tests/values.rs`.
#![allow(unsafe_code)]

use std::any::{TypeId, type_name};
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use serde::de::{Deserialize, Visitor};

use super::Tag;
use super::raw_numbers::{IS_ALIKE, Number, bytes_of, vector_of, visitor_of};

/// Arrays of one type of numbers and of one length.
struct Arrays {
    /// How many bytes one has.
    size: usize,
    /// The ids of the iterator over a slice of them, of a vector, and of the visitor with which
    /// serde reads a vector.
    iterator: TypeId,
    vector: TypeId,
    visitor: Option<TypeId>,
    memory: unsafe fn(*const ()) -> *const [u8],
    read: unsafe fn(&[u8], *mut ()) -> bool,
}

fn arrays<N: Number, const LENGTH: usize>() -> Arrays
where
    [N; LENGTH]: for<'de> Deserialize<'de>,
{
    Arrays {
        size: size_of::<[N; LENGTH]>(),
        iterator: typeid::of::<slice::Iter<'static, [N; LENGTH]>>(),
        vector: typeid::of::<Vec<[N; LENGTH]>>(),
        visitor: visitor_of::<[N; LENGTH]>(),
        memory: memory_of::<N, LENGTH>,
        read: read_to::<N, LENGTH>,
    }
}

/// The memory of what such an iterator will return.
///
/// # Safety
/// `items` is a borrowed `slice::Iter<'_, [N; LENGTH]>`.
unsafe fn memory_of<N: Number, const LENGTH: usize>(items: *const ()) -> *const [u8] {
    let items = items.cast::<slice::Iter<'_, [N; LENGTH]>>();
    // SAFETY: so the caller says.
    let items = unsafe { &*items };
    bytes_of(items.as_slice())
}

/// Writes the vector with this memory to a place. False: it is not a whole number of arrays.
///
/// # Safety
/// `place` has room for a `Vec<[N; LENGTH]>`.
unsafe fn read_to<N: Number, const LENGTH: usize>(memory: &[u8], place: *mut ()) -> bool {
    let Some(vector) = vector_of::<[N; LENGTH]>(memory) else {
        return false;
    };
    // SAFETY: so the caller says.
    unsafe { place.cast::<Vec<[N; LENGTH]>>().write(vector) };
    true
}

/// The numbers: their names, and how they are described.
const NUMBERS: [(&str, Tag); 14] = [
    ("u8", Tag::U8),
    ("u16", Tag::U16),
    ("u32", Tag::U32),
    ("u64", Tag::U64),
    ("u128", Tag::U128),
    ("usize", Tag::U64),
    ("i8", Tag::I8),
    ("i16", Tag::I16),
    ("i32", Tag::I32),
    ("i64", Tag::I64),
    ("i128", Tag::I128),
    ("isize", Tag::I64),
    ("f32", Tag::F32),
    ("f64", Tag::F64),
];

macro_rules! of_lengths {
    ($($length:literal)*) => {
        [$([
            arrays::<u8, $length>,
            arrays::<u16, $length>,
            arrays::<u32, $length>,
            arrays::<u64, $length>,
            arrays::<u128, $length>,
            arrays::<usize, $length>,
            arrays::<i8, $length>,
            arrays::<i16, $length>,
            arrays::<i32, $length>,
            arrays::<i64, $length>,
            arrays::<i128, $length>,
            arrays::<isize, $length>,
            arrays::<f32, $length>,
            arrays::<f64, $length>,
        ]),*]
    };
}

/// Those of length 1 first, each in the order of [`NUMBERS`].
static ALL: [[fn() -> Arrays; 14]; 32] = of_lengths!(
    1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
);

/// Arrays of this length and of such a number, if they have in memory what the encoding has.
fn find(
    length: usize,
    is_number: impl Fn(&str, Tag) -> bool,
    is_it: impl Fn(&Arrays) -> bool,
) -> Option<(Tag, Arrays)> {
    let group = ALL.get(length.checked_sub(1)?).filter(|_| IS_ALIKE)?;
    let mut all = NUMBERS.iter().zip(group);
    all.find_map(|((name, tag), arrays)| {
        if !is_number(name, *tag) {
            return None;
        }
        let arrays = arrays();
        let is_alike = tag.width().and_then(|width| width.checked_mul(length)) == Some(arrays.size);
        (is_alike && is_it(&arrays)).then_some((*tag, arrays))
    })
}

/// The arrays that `items` will return, as bytes, and the type and count of numbers in each, if
/// these are the elements of a vector or slice of arrays of numbers, and more than `most` numbers.
pub(crate) fn memory<I: Iterator>(items: &I, most: usize) -> Option<(Tag, usize, &[u8])> {
    let name = type_name::<I::Item>().strip_prefix("&[")?;
    let (number, length) = name.strip_suffix(']')?.split_once(';')?;
    let length: usize = length.trim_start().parse().ok()?;
    if items.size_hint().0.saturating_mul(length) <= most {
        return None;
    }
    let is_over = |arrays: &Arrays| arrays.iterator == typeid::of::<I>();
    let (tag, arrays) = find(length, |name, _| name == number, is_over)?;
    // SAFETY: `I` is the iterator over these arrays, but for a lifetime, since nothing else differs
    // between types with one id.
    let memory = unsafe { (arrays.memory)(ptr::from_ref(items).cast()) };
    // SAFETY: the memory of a slice that outlives the borrow of `items`, because `I` does.
    Some((tag, length, unsafe { &*memory }))
}

/// What the visitor would return that reads a `Vec` of such arrays, if it is serde's.
pub(crate) fn vector<'de, V: Visitor<'de>>(
    tag: Tag,
    length: usize,
    memory: &[u8],
) -> Option<V::Value> {
    let is_read = |arrays: &Arrays| {
        arrays.vector == typeid::of::<V::Value>() && arrays.visitor == Some(typeid::of::<V>())
    };
    let (_, arrays) = find(length, |_, its| its == tag, is_read)?;
    let mut place = MaybeUninit::<V::Value>::uninit();
    // SAFETY: `V::Value` is the vector of these arrays: their ids are equal, and this type has no
    // lifetime in which they could differ.
    let is_read = unsafe { (arrays.read)(memory, place.as_mut_ptr().cast()) };
    // SAFETY: it was written.
    is_read.then(|| unsafe { place.assume_init() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_arrays_of_numbers_have_this_memory() {
        let bytes = [[1_u8, 2, 3], [4, 5, 6]];
        let found = |memory: &'static [u8]| Some((Tag::U8, 3, memory));
        assert_eq!(memory(&bytes.iter(), 0), found(&[1, 2, 3, 4, 5, 6]));
        assert_eq!(memory(&bytes[1..].iter(), 0), found(&[4, 5, 6]));
        let mut begun = bytes.iter();
        begun.next();
        assert_eq!(memory(&begun, 0), found(&[4, 5, 6]));
        let wide = memory(&[[1_u128; 2]].iter(), 0)
            .map(|(tag, length, memory)| (tag, length, memory.len()));
        assert_eq!(wide, Some((Tag::U128, 2, 32)));
        assert_eq!(
            memory(&[[0.5_f64; 32]; 2].iter(), 0).map(|found| found.1),
            Some(32)
        );
        assert_eq!(memory(&bytes.iter().rev(), 0), None);
        assert_eq!(memory(&bytes.into_iter(), 0), None);
        assert_eq!(memory(&[[true; 3]].iter(), 0), None);
        assert_eq!(memory(&[[1_u8; 0]].iter(), 0), None);
        assert_eq!(memory(&[[1_u8; 33]].iter(), 0), None);
        assert_eq!(memory(&[[[1_u8; 2]; 2]].iter(), 0), None);
        assert_eq!(memory(&[(1_u8, 2_u8)].iter(), 0), None);
        assert_eq!(memory(&[1_u8].iter(), 0), None);
    }

    #[test]
    fn each_has_its_place() {
        for (group, length) in ALL.iter().zip(1..) {
            for ((name, tag), arrays) in NUMBERS.iter().zip(group) {
                let (arrays, width) = (arrays(), tag.width().unwrap());
                let is_wide = !cfg!(target_pointer_width = "32") || !name.ends_with("size");
                assert_eq!(arrays.size == width * length, is_wide, "[{name}; {length}]");
                assert!(arrays.visitor.is_some(), "[{name}; {length}]");
            }
        }
    }
}
