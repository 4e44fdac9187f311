//! Which types are encoded without a description: the language's own types, text, and vectors of
//! numbers.
//!
//! Nothing that a library declares is among them, except what `TypeId` recognises. So two types of
//! one name cannot be taken for one another.
//!
//! Tests: below.

use std::any::{TypeId, type_name};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{is_built_in, is_number};

/// How many answers are kept.
const ANSWERS: usize = 256;

/// The cache: the address and length of a name, with the answer in the lowest bit. 0: empty. (All
/// types of one name have the same answer.)
static KNOWN: [AtomicUsize; ANSWERS] = [const { AtomicUsize::new(0) }; ANSWERS];

/// Whether the type can be read from its data alone: only the language's own code and serde's read
/// and write it, and that code needs no description.
///
/// ```
/// assert!(postcard_described::is_undescribed::<String>());
/// assert!(postcard_described::is_undescribed::<Vec<f64>>());
/// assert!(!postcard_described::is_undescribed::<Option<u8>>());
/// ```
#[inline]
pub fn is_undescribed<T: 'static>() -> bool {
    if is_number::<T>() || is_text_or_numbers::<T>() {
        return true;
    }
    let name = type_name::<T>();
    let address = name.as_ptr().addr();
    // An address that leaves no room for the length is not cached: its answer is computed each
    // time.
    let key = (address << 16) | ((name.len() & 0x7fff) << 1);
    let place = &KNOWN[(address ^ (address >> 8)) % ANSWERS];
    let found = place.load(Ordering::Relaxed);
    if found & !1 == key {
        return found & 1 == 1;
    }
    let answer = is_built_in::<T>();
    if key >> 16 == address && name.len() <= 0x7fff {
        place.store(key | usize::from(answer), Ordering::Relaxed);
    }
    answer
}

/// Known at compile time.
#[inline(always)]
fn is_text_or_numbers<T: 'static>() -> bool {
    let this = TypeId::of::<T>();
    macro_rules! is_vector_of {
        ($($number:ty),*) => { $(this == TypeId::of::<Vec<$number>>())||* };
    }
    this == TypeId::of::<String>()
        || is_vector_of!(u8, u16, u32, u64, u128, usize)
        || is_vector_of!(i8, i16, i32, i64, i128, isize, f32, f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_languages_types_are_and_librarys_are_not() {
        #[allow(dead_code)]
        struct Theirs;
        for _ in 0..2 {
            assert!(
                is_undescribed::<u8>()
                    && is_undescribed::<()>()
                    && is_undescribed::<([f64; 16], (char, bool))>()
            );
            assert!(is_undescribed::<String>() && is_undescribed::<Vec<i64>>());
            assert!(
                !is_undescribed::<Theirs>()
                    && !is_undescribed::<(u8, Theirs)>()
                    && !is_undescribed::<[Theirs; 2]>()
            );
            assert!(!is_undescribed::<(String, u8)>() && !is_undescribed::<Option<u8>>());
            assert!(!is_undescribed::<Box<dyn Send>>() && !is_undescribed::<Vec<Vec<u8>>>());
        }
    }
}
