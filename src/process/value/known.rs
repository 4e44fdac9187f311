//! Decides by the name of a type whether it is encoded without a description: numbers, text, and
//! the standard library's collections of these are.
//!
//! The name is enough, because types of other crates have other names. Both sides are the same
//! program, so they come to the same answer.

use std::any::type_name;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering}; // a cache: no protocol to model

use super::bulk::Bulk;
use super::described;
use super::shared::{Shared, SharedAtomics};

/// Whether the type is a number: nothing else travels with it, and its serializer reports no error
/// of its own. This is known at compile time, and a large `map` of numbers takes three quarters of
/// the time because of it.
#[inline(always)]
pub(crate) fn is_number<T: ?Sized>() -> bool {
    described::is_number::<T>()
}

/// How many answers are kept.
const ANSWERS: usize = 256;

/// The cache: the address and length of a name, with the answer in the lowest bit. 0: empty.
static KNOWN: [AtomicUsize; ANSWERS] = [const { AtomicUsize::new(0) }; ANSWERS];

/// Whether only code of serde, the standard library and this crate reads and writes the type, none
/// of which needs a description.
#[inline]
pub(crate) fn is_plain<T: ?Sized>() -> bool {
    if is_number::<T>() {
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
    look_up(name, key, place)
}

#[cold]
fn look_up(name: &str, key: usize, place: &AtomicUsize) -> bool {
    let plain = is_plain_name(name);
    if key >> 16 == name.as_ptr().addr() && name.len() <= 0x7fff {
        place.store(key | usize::from(plain), Ordering::Relaxed);
    }
    plain
}

fn is_plain_name(name: &str) -> bool {
    let ours = [
        type_name::<Bulk<u8>>(),
        type_name::<Shared<u8>>(),
        type_name::<SharedAtomics<AtomicU8>>(),
    ];
    let is_ours =
        |word: &str| (ours.iter()).any(|ours| ours.split_once('<').is_some_and(|it| it.0 == word));
    is_made_of(name, |word| match word {
        "alloc::collections::vec_deque::VecDeque" => true,
        "alloc::collections::btree::map::BTreeMap" => true,
        "alloc::collections::btree::set::BTreeSet" => true,
        "std::collections::hash::map::HashMap" => true,
        "std::collections::hash::set::HashSet" => true,
        "std::hash::random::RandomState" => true,
        "core::time::Duration" | "std::time::SystemTime" => true,
        "std::path::PathBuf" | "core::ops::range::Range" => true,
        _ => word.bytes().all(|byte| byte.is_ascii_digit()) || is_ours(word),
    })
}

/// Whether the type of this name consists of numbers, text, `Vec`, `Box`, `Option`, `Result`,
/// tuples, and types for whose names `known` is true.
pub(crate) fn is_made_of(name: &str, known: impl Fn(&str) -> bool) -> bool {
    let is_sign = |letter: char| {
        letter.is_ascii_punctuation() && !matches!(letter, '_' | ':') || letter == ' '
    };
    name.split(is_sign).all(|word| match word {
        "" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => true,
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => true,
        "f32" | "f64" | "bool" | "char" | "str" | "alloc::string::String" => true,
        "alloc::vec::Vec" | "alloc::boxed::Box" => true,
        "core::option::Option" | "core::result::Result" => true,
        _ => known(word),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn the_standard_librarys_types_are_known_and_others_are_not() {
        #[allow(dead_code)]
        struct Theirs;
        for _ in 0..2 {
            assert!(is_plain::<u8>() && is_plain::<()>() && is_plain::<Box<str>>());
            assert!(is_plain::<(Vec<[f64; 16]>, Option<Result<String, i128>>)>());
            assert!(is_plain::<HashMap<String, BTreeMap<u8, HashSet<char>>>>());
            assert!(is_plain::<(Bulk<f32>, Shared<u8>, PathBuf)>());
            assert!(!is_plain::<Theirs>() && !is_plain::<Vec<(u8, Theirs)>>());
            assert!(!is_plain::<HashMap<u8, Theirs>>() && !is_plain::<Box<dyn Send>>());
        }
    }
}
