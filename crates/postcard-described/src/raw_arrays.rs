//! Vectors of arrays of numbers in one piece, such as `Vec<[f64; 3]>`.
//!
//! As with numbers alone (`raw_numbers`), but there are too many such types for a comparison with
//! each of them. So a table has the usual ones; the name of a type, or its description, says which
//! row to look at, and the ids there decide.
//!
//! - **E3** A row's functions are for the types whose ids the row has.
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
    // SAFETY: E3: it is such an iterator, as the caller has made sure.
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
    // SAFETY: E3: it has room for such a vector, as the caller has made sure.
    unsafe { place.cast::<Vec<[N; LENGTH]>>().write(vector) };
    true
}

/// The name of a number's type, how it is described, a length, and the arrays.
type Row = (&'static str, Tag, usize, fn() -> Arrays);

macro_rules! of_numbers {
    ($($number:ident $tag:ident: $($length:literal)*;)*) => {
        &[$($((stringify!($number), Tag::$tag, $length, arrays::<$number, $length>)),*),*]
    };
}

/// Points and colours, matrices, addresses and hashes. (Each row is compiled into every program.
/// Others are written number by number.)
static ALL: &[Row] = of_numbers! {
    u8 U8: 2 3 4 8 16 20 32;
    u16 U16: 2 3 4;
    u32 U32: 2 3 4;
    u64 U64: 2 3 4;
    u128 U128: 2 3 4;
    usize U64: 2 3 4;
    i8 I8: 2 3 4;
    i16 I16: 2 3 4;
    i32 I32: 2 3 4;
    i64 I64: 2 3 4;
    i128 I128: 2 3 4;
    isize I64: 2 3 4;
    f32 F32: 2 3 4 9 16;
    f64 F64: 2 3 4 9 16;
};

/// Arrays of this length and of such a number, if they have in memory what the encoding has.
fn find(
    length: usize,
    is_number: impl Fn(&str, Tag) -> bool,
    is_it: impl Fn(&Arrays) -> bool,
) -> Option<(Tag, Arrays)> {
    let mut all = ALL.iter().filter(|_| IS_ALIKE);
    all.find_map(|&(name, tag, its, arrays)| {
        if its != length || !is_number(name, tag) {
            return None;
        }
        let arrays = arrays();
        let is_alike = tag.width().and_then(|width| width.checked_mul(length)) == Some(arrays.size);
        (is_alike && is_it(&arrays)).then_some((tag, arrays))
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
    // SAFETY: E1, E3: `I` is the iterator over these arrays, but for a lifetime, since nothing else
    // differs between types with one id.
    let memory = unsafe { (arrays.memory)(ptr::from_ref(items).cast()) };
    // SAFETY: E2: initialised, without padding, and the memory of a slice that outlives the borrow
    // of `items`, because `I` does.
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
    // SAFETY: E1, E3: `V::Value` is the vector of these arrays: their ids are equal, and this type
    // has no lifetime in which they could differ.
    let is_read = unsafe { (arrays.read)(memory, place.as_mut_ptr().cast()) };
    // SAFETY: E3: it was written, as the vector that it is.
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
            memory(&[[0.5_f64; 16]; 2].iter(), 0).map(|found| found.1),
            Some(16)
        );
        assert_eq!(memory(&[[0.5_f64; 5]].iter(), 0), None, "not in the table");
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
    fn each_is_what_its_row_says() {
        for (name, tag, length, arrays) in ALL {
            let (arrays, width) = (arrays(), tag.width().unwrap());
            let is_wide = !cfg!(target_pointer_width = "32") || !name.ends_with("size");
            assert_eq!(arrays.size == width * length, is_wide, "[{name}; {length}]");
            assert!(arrays.visitor.is_some(), "[{name}; {length}]");
        }
    }
}
