//! postcard's compact encoding, for every type that serde can describe.
//!
//! [postcard](https://docs.rs/postcard) writes a value's data and nothing else, so it is small and
//! fast. But types that ask what comes next (`#[serde(untagged)]`, `tag`, `flatten`,
//! `serde_json::Value`) cannot be read back from it, and types that leave something out
//! (`skip_serializing_if`) are read wrongly. This crate writes the data as postcard does (many
//! numbers in a row as their memory, which is faster), and a description after it: the type of each
//! value, and the names of fields and variants, each once. A value is read by these names, as JSON
//! is, so serde's attributes work as they do with JSON.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! #[serde(untagged)]
//! enum Id {
//!     Number(u64),
//!     Name(String),
//! }
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! struct Reading {
//!     sensor: Id,
//!     #[serde(default, skip_serializing_if = "Option::is_none")]
//!     unit: Option<String>,
//!     samples: Vec<[f64; 3]>,
//! }
//!
//! let reading = Reading {
//!     sensor: Id::Name("north".to_owned()),
//!     unit: None,
//!     samples: vec![[0.5, 1.0, 2.0]; 1000],
//! };
//! let bytes = postcard_described::to_vec(&reading)?;
//! assert!(bytes.len() < 24_000 + 60, "the description takes some fifty bytes");
//! assert_eq!(postcard_described::from_slice::<Reading>(&bytes)?, reading);
//! # Ok::<_, postcard_described::Error>(())
//! ```
//!
//! # What it is for
//! Messages between programs that share their types: both sides have the same `Serialize` and
//! `Deserialize`. Fields may be reordered and variants added, because they are found by their
//! names, and a number of another type is an error if it does not fit. It is not for archives: this
//! crate may change the format with a minor version before 1.0.
//!
//! # Like JSON
//! Values that look the same in JSON are confused where serde buffers a value: within an enum with
//! `tag` or `untagged`, and in a flattened field, `Some(None)` and `Some(())` arrive as `None`.
//! Elsewhere they arrive as they were. Nor does serde's buffer read an `i128` or `u128`: there the
//! value is written, and reading it is an error, as with JSON. Elsewhere they work, and a number of
//! 128 bits that fits into 64 is read as one where no such number is asked for. Unlike JSON it has
//! byte strings, NaN, and maps whose keys are of any type.
//!
//! # Hostile input
//! Reading never panics by itself. Lengths are not trusted: no memory is allocated in advance for
//! more than serde's own limit of 1 MiB. Values that nest too deeply are an [`Error::TooDeep`], and
//! so are parts that take no data, of which there may be [`MOST_EMPTY`] in a value
//! ([`Error::TooMany`]).
//!
//! # Format
//! First comes the data, as postcard writes it, but more than 64 numbers of a vector or slice as a
//! byte string, their memory in little-endian order; then a description: a tag for each value, and
//! the names of fields and variants. The last four bytes have the description's length; their
//! highest bit says that the description must be used.
//!
//! The data is read without the description only if a value cannot be read with it and nothing was
//! left out, which is so for types that are written as one thing and read as another.
//!
//! This format reports that it is human-readable, like serde's own buffer for values that it must
//! look at twice: an address or a UUID in the other form could not be read from that buffer.
//!
//! The description has:
//! - Numbers in one piece (bytes, if there are any; others, if there are many): the tag of each.
//! - Another sequence, a tuple or a map: runs of parts with equal descriptions, each run as that
//!   description and the number of parts; then `End`. (A million tuples of two numbers take a few
//!   bytes.)
//! - A struct: each field's name and description; then 0.
//! - A variant: its name, and unless it is a unit variant the description of what it holds.
//! - A name is a number: one more than its index in the list of all earlier names, or the next
//!   unused number, followed by a new name. The list has at most 255 names; any further name
//!   is written out each time.
//!
//! **Rejected.** Reading the data alone first: a wrong result need not be an error. A format with
//! tags between the data (`MessagePack`, CBOR): each type would pay for them when it is read, and
//! types that are written as one thing and read as another of the same layout could not be read any
//! more.
#![deny(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod limit;
mod raw_numbers;
mod reader;
mod undescribed;
mod writer;

use std::fmt;
use std::io;

use serde::de::{Expected, Unexpected};
use serde::{Deserialize, Serialize};

pub use limit::{Limit, StackLimit};
pub use reader::Encoded;
pub use undescribed::is_undescribed;
pub use writer::write;

/// How many names are kept.
const NAMES: usize = 255;

/// A bit of the last four bytes: the data must not be read without the description.
const MUST: u32 = 1 << 31;

/// As which of serde's types a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag(u8);

/// How many parts that take no bytes, such as `()`, a value may have, unless its reader's [`Limit`]
/// allows more ([`most_empty`](Limit::most_empty)); a part whose own description has several bytes
/// counts as many, and the first of a run does not count. Nothing else bounds their number, and a
/// few bytes could claim billions.
pub const MOST_EMPTY: usize = 1 << 20;

/// More numbers than this, if they take more than a byte each, are written as their memory. (Fewer
/// are written by postcard, which makes small numbers shorter.)
const MANY: usize = 64;

/// For sequences with more parts than this, it pays to check whether all have one shape.
const FEW: usize = 8;

impl Tag {
    const END: Self = Self(0);
    const BOOL: Self = Self(1);
    const U8: Self = Self(2);
    const U16: Self = Self(3);
    const U32: Self = Self(4);
    const U64: Self = Self(5);
    const U128: Self = Self(6);
    const I8: Self = Self(7);
    const I16: Self = Self(8);
    const I32: Self = Self(9);
    const I64: Self = Self(10);
    const I128: Self = Self(11);
    const F32: Self = Self(12);
    const F64: Self = Self(13);
    const CHAR: Self = Self(14);
    const STR: Self = Self(15);
    const BYTES: Self = Self(16);
    const NONE: Self = Self(17);
    const SOME: Self = Self(18);
    const UNIT: Self = Self(19);
    const SEQ: Self = Self(20);
    const TUPLE: Self = Self(21);
    const MAP: Self = Self(22);
    const STRUCT: Self = Self(23);
    const UNIT_VARIANT: Self = Self(24);
    const VARIANT: Self = Self(25);
    const NUMBERS: Self = Self(26);

    /// The tag with this number.
    fn of(number: u8) -> Option<Self> {
        (number <= Self::NUMBERS.0).then_some(Self(number))
    }

    /// How many bytes of memory such a number takes, if it may be one of [`NUMBERS`](Self::NUMBERS).
    #[inline(always)]
    fn width(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::U128 | Self::I128 => Some(16),
            _ => None,
        }
    }
}

/// Whether this is one of serde's numbers of at most 64 bits, or a reference to one. Nothing
/// travels with a number, and its serializer reports no error of its own. The answer is known at
/// compile time: encoding many numbers takes three quarters of the time because of it.
#[inline(always)]
pub fn is_number<T: ?Sized>() -> bool {
    raw_numbers::tag_of::<T>().is_some_and(|tag| !matches!(tag, Tag::U128 | Tag::I128))
}

/// Whether the type is one of the language's own: a number, `bool`, `char`, or tuples and arrays of
/// such. (Or a reference to one.) All values of such a type have the same description, and postcard
/// alone can read them.
///
/// Its name shows it. The name of any type that a crate declares has a path in it, so no other type
/// can be taken for one of these.
pub fn is_built_in<T: ?Sized>() -> bool {
    let name = std::any::type_name::<T>();
    let is_sign = |letter: char| matches!(letter, '(' | ')' | '[' | ']' | ',' | ';' | ' ' | '&');
    let is_word = |word: &str| match word {
        "" | "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "bool" | "char" => true,
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" | "f32" | "f64" => true,
        length => length.bytes().all(|byte| byte.is_ascii_digit()),
    };
    // A slice has no length in its name, and the description of one has.
    name.split(is_sign).all(is_word) && name.matches('[').count() == name.matches(';').count()
}

/// Encodes a value: its data, and then its description.
///
/// # Errors
/// If it nests too deeply for a [`StackLimit`] of the usual size, or its own `Serialize` fails.
///
/// ```
/// let bytes = postcard_described::to_vec(&[1u16, 2, 3])?;
/// assert!(bytes.starts_with(&postcard::to_allocvec(&[1u16, 2, 3])?));
/// # Ok::<_, postcard_described::Error>(())
/// ```
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut description = Description::default();
    let data = postcard::ser_flavors::StdVec::new();
    let mut all = write(value, data, &mut description, StackLimit::default())?;
    all.extend_from_slice(description.bytes());
    Ok(all)
}

/// Writes what [`to_vec`] returns. Nothing is written if the value cannot be encoded.
///
/// # Errors
/// Those of [`to_vec`], and [`Error::Io`].
///
/// ```
/// let mut file = Vec::new();
/// postcard_described::to_writer(&Some("text"), &mut file)?;
/// assert_eq!(file, postcard_described::to_vec(&Some("text"))?);
/// # Ok::<_, postcard_described::Error>(())
/// ```
pub fn to_writer<T, W>(value: &T, mut writer: W) -> Result<(), Error>
where
    T: Serialize + ?Sized,
    W: io::Write,
{
    Ok(writer.write_all(&to_vec(value)?)?)
}

/// Decodes a value, which must use all the bytes. It may borrow from them.
///
/// # Errors
/// If the bytes are not what [`to_vec`] has written for a value that `T` can be read from, or
/// nest too deeply, or have too many empty parts (writing allows more): see [`Error`].
///
/// ```
/// use std::collections::BTreeMap;
///
/// let ages = BTreeMap::from([("Ada", 36), ("Kurt", 71)]);
/// let bytes = postcard_described::to_vec(&ages)?;
/// assert_eq!(postcard_described::from_slice::<BTreeMap<&str, u32>>(&bytes)?, ages);
/// let json: serde_json::Value = postcard_described::from_slice(&bytes)?;
/// assert_eq!(json["Kurt"], 71);
/// # Ok::<_, postcard_described::Error>(())
/// ```
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Error> {
    let encoded = Encoded::split(bytes).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
    let open = || postcard::de_flavors::Slice::new(encoded.data());
    encoded.read(open, StackLimit::default)
}

/// The description of a value. Its memory serves for the next value, too.
#[derive(Debug, Default)]
pub struct Description {
    bytes: Vec<u8>,
    names: Vec<&'static str>,
}

impl Description {
    /// What must follow the data.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why something could not be written or read.
///
/// The `Debug` form is the variant's name with the text of `Display` behind it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The type asks what comes next, and is read without the description.
    #[error("it cannot be read without a description of its parts")]
    Undescribed,
    /// This many bytes were not read; 0: parts without bytes.
    #[error("{} were left over: its `Serialize` and `Deserialize` do not agree on what there is to \
        read", bytes(*.0))]
    LeftOver(usize),
    /// It nests too deeply ([`Limit`]).
    #[error("it nests too deeply")]
    TooDeep,
    /// It has more parts that take no bytes than the [`Limit`] allows: [`MOST_EMPTY`] by default.
    #[error("it has too many parts that take no bytes: {MOST_EMPTY} may be read")]
    TooMany,
    /// The bytes end too soon, or are no encoding of such a value; or a flavor's error.
    #[error(transparent)]
    Codec(#[from] postcard::Error),
    /// Nothing could be written where [`to_writer`] was to write.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The message of the type itself, or of serde for it: it cannot be written.
    #[error(
        "{0} (raised by its `Serialize`; a value that an attribute of serde, such as `tag` or \
         `flatten`, does not support can be sent as a `String`)"
    )]
    Serialize(String),
    /// The same message, of a type that cannot be read.
    #[error("{0} (raised by its `Serialize` or `Deserialize`)")]
    Deserialize(String),
    /// A value that the type does not have, such as a number that does not fit.
    #[error("{0} (raised by its `Deserialize`)")]
    Value(String),
    /// The message of a type that was read with its description.
    #[error(
        "{0} (raised by its `Deserialize`; an attribute of serde, such as `untagged`, `tag`, \
         `flatten` or `skip_serializing_if`, makes it travel as in JSON: a field that may be \
         missing needs `default`, and a value that JSON cannot restore either can be sent as a \
         `String`)"
    )]
    Described(String),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Undescribed => "Undescribed",
            Self::LeftOver(_) => "LeftOver",
            Self::TooDeep => "TooDeep",
            Self::TooMany => "TooMany",
            Self::Codec(_) => "Codec",
            Self::Io(_) => "Io",
            Self::Serialize(_) => "Serialize",
            Self::Deserialize(_) => "Deserialize",
            Self::Value(_) => "Value",
            Self::Described(_) => "Described",
        };
        write!(f, "{name}({self})")
    }
}

fn bytes(left: usize) -> String {
    match left {
        0 => "parts of it".to_owned(),
        _ => format!("{left} bytes"),
    }
}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Serialize(message.to_string())
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Deserialize(message.to_string())
    }

    // The names or the numbers do not match: the data alone would give wrong values.

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Value(format!("invalid value: {found}, expected {expected}"))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Described(format!("missing field `{name}`"))
    }

    fn unknown_field(name: &str, expected: &'static [&'static str]) -> Self {
        Self::Described(format!(
            "unknown field `{name}`, expected one of {expected:?}"
        ))
    }

    fn unknown_variant(name: &str, expected: &'static [&'static str]) -> Self {
        Self::Described(format!(
            "unknown variant `{name}`, expected one of {expected:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_languages_own_types_have_no_path_in_their_names() {
        #[allow(dead_code)]
        struct Theirs;
        assert!(is_built_in::<u8>() && is_built_in::<()>() && is_built_in::<&&(i128, [bool; 3])>());
        assert!(is_built_in::<[([f32; 1024], char); 16]>() && is_built_in::<(usize,)>());
        assert!(!is_built_in::<Theirs>() && !is_built_in::<[(u8, Theirs); 1]>());
        assert!(!is_built_in::<[u8]>() && !is_built_in::<(&[u8], [u8; 1])>());
        assert!(!is_built_in::<str>() && !is_built_in::<Vec<u8>>() && !is_built_in::<Option<()>>());
        assert!(!is_built_in::<*const u8>() && !is_built_in::<fn(u8)>());
        assert!(!is_built_in::<dyn Send>() && !is_built_in::<std::num::NonZeroU8>());
    }

    #[test]
    fn each_number_of_a_tag_has_one() {
        let tags = (0..=u8::MAX).map_while(Tag::of);
        assert_eq!(tags.last(), Some(Tag::NUMBERS));
        assert_eq!(Tag::of(u8::MAX), None);
    }
}
