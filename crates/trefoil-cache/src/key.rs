//! The key of an argument: a hash of its value and of its shape.
//!
//! **Job.** A serde serializer that writes every value with a tag for its type, and hashes that.
//! Equal arguments have equal keys in every process: maps and std's hash sets are written in the
//! order of their bytes, since their own order differs from run to run. Numbers of different types
//! have different keys, and so do a string and its bytes.
//!
//! serde writes a set as it writes a list. A hash set is recognised by its type's name; should std
//! rename it, the keys of arguments with such sets would differ from run to run, as they do for a
//! set in a type that is `#[serde(transparent)]`. That costs a computation; it never returns a
//! wrong result.
//!
//! A `Bulk` or a `Shared` is a byte string for serde. The type of its numbers is written, too; it
//! is taken from the type's name. A long byte string is hashed by itself (`digest`), and then its
//! hash stands for it.

use std::any::type_name;
use std::fmt;

use postcard_described::{Limit, StackLimit};
use serde::ser::{self, Serialize};

use crate::digest::{LONG, hash};

/// Identifies an argument: a hash of its value and of its shape.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub(crate) [u8; 32]);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Why a value has no key: the words of its own `Serialize`.
#[derive(Clone, Debug)]
pub(crate) struct KeyError(pub(crate) String);

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for KeyError {}

impl ser::Error for KeyError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The key of `value`.
pub(crate) fn key_of<T: Serialize + ?Sized>(value: &T) -> Result<Key, KeyError> {
    hash_in(Order::Kept, value)
}

/// What the order of a list's elements means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Two lists with the same elements in another order are different, except std's hash sets.
    Kept,
    /// They are equal.
    Any,
}

/// The hash of `value`, in whose lists the order means this.
pub(crate) fn hash_in<T: Serialize + ?Sized>(order: Order, value: &T) -> Result<Key, KeyError> {
    let mut sink = Sink {
        bytes: Vec::with_capacity(256),
        hasher: Some(Box::default()),
        order,
        limit: StackLimit::default(),
    };
    write(value, &mut sink)?;
    sink.flush();
    let hasher = sink.hasher.unwrap_or_default();
    Ok(Key(*hasher.finalize().as_bytes()))
}

/// The hash of some bytes and texts, each with its length before it.
pub(crate) fn hash_of(parts: &[&[u8]]) -> Key {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    Key(*hasher.finalize().as_bytes())
}

/// How many bytes are collected before they are hashed.
const CHUNK: usize = 32 << 10;

/// Where encoded values go: to a hasher, or, within a map, only to `bytes`.
struct Sink {
    bytes: Vec<u8>,
    hasher: Option<Box<blake3::Hasher>>,
    order: Order,
    /// How deeply values may nest.
    limit: StackLimit,
}

impl Sink {
    fn put(&mut self, bytes: &[u8]) {
        if bytes.len() >= CHUNK
            && let Some(hasher) = &mut self.hasher
        {
            hasher.update(&self.bytes);
            self.bytes.clear();
            hasher.update(bytes);
            return;
        }
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= CHUNK {
            self.flush();
        }
    }

    fn tagged<const N: usize>(&mut self, tag: Tag, bytes: [u8; N]) {
        self.bytes.push(tag as u8);
        self.put(&bytes);
    }

    fn tag(&mut self, tag: Tag) {
        self.bytes.push(tag as u8);
    }

    fn sized(&mut self, tag: Tag, bytes: &[u8]) {
        self.tagged(tag, (bytes.len() as u64).to_le_bytes());
        self.put(bytes);
    }

    fn named(&mut self, tag: Tag, name: &str) {
        self.sized(tag, name.as_bytes());
    }

    fn flush(&mut self) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&self.bytes);
            self.bytes.clear();
        }
    }
}

/// What follows. The numbers are part of every key that is on a disk.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Tag {
    Bool = 1,
    I8,
    I16,
    I32,
    I64,
    I128,
    U8,
    U16,
    U32,
    U64,
    U128,
    F32,
    F64,
    Char,
    Str,
    Bytes,
    None,
    Some,
    Unit,
    Name,
    Variant,
    Seq,
    Set,
    Tuple,
    Map,
    Struct,
    Field,
    End,
    TupleStruct,
    TupleVariant,
    StructVariant,
    Array,
    Digest,
}

/// The type's name without references and boxes, which are serialized as what they refer to.
fn name_of<T: ?Sized>() -> &'static str {
    const AROUND: [&str; 6] = [
        "&mut ",
        "&",
        "alloc::borrow::Cow<",
        "alloc::boxed::Box<",
        "alloc::rc::Rc<",
        "alloc::sync::Arc<",
    ];
    let mut name = type_name::<T>();
    while let Some(inner) = AROUND.iter().find_map(|around| name.strip_prefix(around)) {
        name = inner;
    }
    name
}

/// The type of the numbers of a `Bulk` or a `Shared`.
fn numbers_of(name: &str) -> Option<&str> {
    let (_, after) = name
        .strip_prefix("trefoil::process::value::")?
        .split_once('<')?;
    after.split_once('>').map(|(number, _)| number)
}

fn write<T: Serialize + ?Sized>(value: &T, sink: &mut Sink) -> Result<(), KeyError> {
    let mut is_set = false;
    if !postcard_described::is_number::<T>() {
        let deep = |error: postcard_described::Error| KeyError(error.to_string());
        sink.limit.check().map_err(deep)?;
        let name = name_of::<T>();
        is_set = name.starts_with("std::collections::hash::set::HashSet<");
        if let Some(number) = numbers_of(name) {
            sink.named(Tag::Array, number);
        }
    }
    value.serialize(Writer { sink, is_set })
}

struct Writer<'a> {
    sink: &'a mut Sink,
    /// The value is a set whose order means nothing.
    is_set: bool,
}

macro_rules! numbers {
    ($($name:ident $number:ty, $tag:ident;)*) => {$(
        fn $name(self, value: $number) -> Result<(), KeyError> {
            self.sink.tagged(Tag::$tag, value.to_le_bytes());
            Ok(())
        }
    )*};
}

impl<'a> ser::Serializer for Writer<'a> {
    type Ok = ();
    type Error = KeyError;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = List<'a>;
    type SerializeMap = Unordered<'a>;
    type SerializeStruct = List<'a>;
    type SerializeStructVariant = List<'a>;

    numbers! {
        serialize_i8 i8, I8;
        serialize_i16 i16, I16;
        serialize_i32 i32, I32;
        serialize_i64 i64, I64;
        serialize_i128 i128, I128;
        serialize_u8 u8, U8;
        serialize_u16 u16, U16;
        serialize_u32 u32, U32;
        serialize_u64 u64, U64;
        serialize_u128 u128, U128;
        serialize_f32 f32, F32;
        serialize_f64 f64, F64;
    }

    fn serialize_bool(self, value: bool) -> Result<(), KeyError> {
        self.sink.tagged(Tag::Bool, [u8::from(value)]);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), KeyError> {
        self.sink.tagged(Tag::Char, u32::from(value).to_le_bytes());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), KeyError> {
        self.sink.named(Tag::Str, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), KeyError> {
        if value.len() < LONG {
            self.sink.sized(Tag::Bytes, value);
        } else {
            self.sink.tagged(Tag::Digest, hash(value));
        }
        Ok(())
    }

    fn serialize_none(self) -> Result<(), KeyError> {
        self.sink.tag(Tag::None);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), KeyError> {
        self.sink.tag(Tag::Some);
        write(value, self.sink)
    }

    fn serialize_unit(self) -> Result<(), KeyError> {
        self.sink.tag(Tag::Unit);
        Ok(())
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), KeyError> {
        self.sink.named(Tag::Struct, name);
        self.sink.tag(Tag::End);
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), KeyError> {
        self.sink.named(Tag::Name, name);
        self.sink.named(Tag::Variant, variant);
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        self.sink.named(Tag::Name, name);
        write(value, self.sink)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), KeyError> {
        self.sink.named(Tag::Name, name);
        self.sink.named(Tag::Variant, variant);
        write(value, self.sink)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List<'a>, KeyError> {
        let is_set = self.is_set || self.sink.order == Order::Any;
        let sorted = is_set.then(|| Parts::new(self.sink));
        self.sink.tag(match sorted {
            Some(_) => Tag::Set,
            None => Tag::Seq,
        });
        Ok(List {
            sink: self.sink,
            sorted,
        })
    }

    fn serialize_tuple(self, _: usize) -> Result<List<'a>, KeyError> {
        self.sink.tag(Tag::Tuple);
        Ok(List::new(self.sink))
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<List<'a>, KeyError> {
        self.sink.named(Tag::TupleStruct, name);
        self.serialize_tuple(len)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<List<'a>, KeyError> {
        self.sink.named(Tag::Name, name);
        self.sink.named(Tag::TupleVariant, variant);
        self.serialize_tuple(len)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Unordered<'a>, KeyError> {
        self.sink.tag(Tag::Map);
        Ok(Unordered {
            parts: Parts::new(self.sink),
            sink: self.sink,
        })
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<List<'a>, KeyError> {
        self.sink.named(Tag::Struct, name);
        Ok(List::new(self.sink))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<List<'a>, KeyError> {
        self.sink.named(Tag::Name, name);
        self.sink.named(Tag::StructVariant, variant);
        Ok(List::new(self.sink))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a list, or the fields of a struct.
struct List<'a> {
    sink: &'a mut Sink,
    /// The elements of a set.
    sorted: Option<Parts>,
}

impl<'a> List<'a> {
    fn new(sink: &'a mut Sink) -> Self {
        Self { sink, sorted: None }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        match &mut self.sorted {
            Some(parts) => parts.add(|sink| write(value, sink)),
            None => write(value, self.sink),
        }
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), KeyError> {
        self.sink.named(Tag::Field, name);
        write(value, self.sink)
    }

    fn finish(self) {
        if let Some(parts) = self.sorted {
            parts.write_sorted(self.sink);
        }
        self.sink.tag(Tag::End);
    }
}

/// The entries of a map.
struct Unordered<'a> {
    sink: &'a mut Sink,
    parts: Parts,
}

/// Encoded parts, one after the other, and where each ends.
struct Parts {
    sink: Sink,
    ends: Vec<usize>,
}

impl Parts {
    fn new(around: &Sink) -> Self {
        let sink = Sink {
            bytes: Vec::new(),
            hasher: None,
            order: around.order,
            limit: around.limit,
        };
        let ends = Vec::new();
        Self { sink, ends }
    }

    fn add(
        &mut self,
        write: impl FnOnce(&mut Sink) -> Result<(), KeyError>,
    ) -> Result<(), KeyError> {
        write(&mut self.sink)?;
        self.ends.push(self.sink.bytes.len());
        Ok(())
    }

    fn write_sorted(&self, sink: &mut Sink) {
        let mut begin = 0;
        let parts = self.ends.iter();
        let mut parts: Vec<&[u8]> = parts
            .map(|end| &self.sink.bytes[std::mem::replace(&mut begin, *end)..*end])
            .collect();
        parts.sort_unstable();
        parts.into_iter().for_each(|part| sink.put(part));
    }
}

macro_rules! lists {
    ($($list:ident $element:ident;)*) => {$(
        impl ser::$list for List<'_> {
            type Ok = ();
            type Error = KeyError;

            fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
                self.element(value)
            }

            fn end(self) -> Result<(), KeyError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

lists! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

macro_rules! structs {
    ($($list:ident)*) => {$(
        impl ser::$list for List<'_> {
            type Ok = ();
            type Error = KeyError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), KeyError> {
                self.field(name, value)
            }

            fn end(self) -> Result<(), KeyError> {
                self.finish();
                Ok(())
            }
        }
    )*};
}

structs! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for Unordered<'_> {
    type Ok = ();
    type Error = KeyError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), KeyError> {
        write(key, &mut self.parts.sink)
    }

    /// The entry ends here.
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), KeyError> {
        self.parts.add(|sink| write(value, sink))
    }

    fn end(self) -> Result<(), KeyError> {
        self.parts.write_sorted(self.sink);
        self.sink.tag(Tag::End);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

    use serde::Serialize;
    use trefoil::{Bulk, Shared};

    use super::*;

    fn key<T: Serialize + ?Sized>(value: &T) -> Key {
        key_of(value).unwrap()
    }

    #[test]
    fn values_of_other_types_or_shapes_have_other_keys() {
        #[derive(Serialize)]
        struct Metres(f64);
        #[derive(Serialize)]
        struct Feet(f64);
        #[derive(Serialize)]
        enum Either {
            Left(u8),
            Right(u8),
        }
        // Names that are equal, of things that are not.
        #[derive(Serialize)]
        #[serde(rename = "E")]
        struct Around<T>(T);
        #[derive(Serialize)]
        #[serde(rename = "S")]
        enum Inner {
            V { x: u8 },
        }
        #[derive(Serialize)]
        #[serde(rename = "E")]
        enum Variants<T> {
            V(T),
        }
        #[derive(Serialize)]
        #[serde(rename = "S")]
        struct Plain {
            x: u8,
        }
        #[derive(Serialize)]
        #[serde(rename = "E")]
        struct Pair(u8, u8);
        #[derive(Serialize)]
        #[serde(rename = "E")]
        enum Tuples {
            V(u8, u8),
        }
        let all = [
            key(&1u8),
            key(&1u64),
            key(&1i64),
            key(&1.0f64),
            key(&true),
            key("1"),
            key(&'1'),
            key(&Some(1u8)),
            key(&[1u8][..]),
            key(&(1u8,)),
            key(&vec![vec![1u8], vec![]]),
            key(&vec![vec![], vec![1u8]]),
            key(&("ab", "c")),
            key(&("a", "bc")),
            key(&Metres(1.0)),
            key(&Feet(1.0)),
            key(&Either::Left(1)),
            key(&Either::Right(1)),
            key(&()),
            key(&Option::<u8>::None),
            key(&BTreeMap::from([(1u8, 2u8)])),
            key(&BTreeMap::from([(2u8, 1u8)])),
            key(&Around(Inner::V { x: 1 })),
            key(&Variants::V(Plain { x: 1 })),
            key(&Pair(1, 2)),
            key(&Around((1u8, 2u8))),
            key(&Tuples::V(1, 2)),
            key(&Variants::V((1u8, 2u8))),
        ];
        let distinct: HashSet<Key> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn the_order_of_maps_and_hash_sets_does_not_count() {
        let pairs: Vec<(String, u64)> = (0..1000).map(|n| (format!("{n}"), n)).collect();
        let map: HashMap<_, _> = pairs.iter().cloned().collect();
        let again: HashMap<_, _> = pairs.iter().rev().cloned().collect();
        assert_eq!(key(&map), key(&again));
        let set: HashSet<u64> = (0..1000).collect();
        let more: HashSet<u64> = (0..1000).rev().collect();
        assert_eq!(key(&(7, Some(&set))), key(&(7, Some(&more))));
        let boxed = |set: &HashSet<u64>| key(&Some(Box::new(set.clone())));
        assert_eq!(boxed(&set), boxed(&more));
        assert_ne!(key(&set), key(&(0..999).collect::<HashSet<u64>>()));
        let nested = |sets: [&HashSet<u64>; 2]| key(&sets.map(|set| vec![set.clone()]));
        assert_eq!(nested([&set, &more]), nested([&more, &set]));
        let sorted: BTreeSet<u64> = (0..10).collect();
        assert_ne!(key(&sorted), key(&(0..9).collect::<BTreeSet<u64>>()));
        assert_ne!(key(&vec![1, 2]), key(&vec![2, 1]), "a list has an order");
    }

    #[test]
    fn arrays_of_other_numbers_have_other_keys() {
        let (bulk, shared) = (Bulk::from([1u64, 2]), Shared::from([1u64, 2]));
        assert_ne!(key(&bulk), key(&Bulk::from([1i64, 2])));
        assert_ne!(key(&Some(&shared)), key(&Some(Shared::from([1i64, 2]))));
        assert_eq!(key(&vec![&bulk]), key(&vec![Bulk::from([1u64, 2])]));
        let long = |n: usize| Bulk::from((0..n as u32).collect::<Vec<_>>());
        for n in [LONG / 4 - 1, LONG / 4, 1_000_000] {
            assert_eq!(key(&long(n)), key(&long(n)));
            let mut other = long(n);
            assert_eq!(key(&other), key(&long(n)));
            other[n - 1] += 1;
            assert_ne!(key(&other), key(&long(n)));
            assert_ne!(key(&long(n)), key(&long(n + 1)));
        }
    }

    #[test]
    fn what_nests_too_deeply_has_no_key() {
        #[derive(Serialize)]
        struct List(Option<Box<Self>>);
        #[derive(Serialize)]
        struct Maps(BTreeMap<u8, Self>);
        fn list(depth: usize) -> List {
            (0..depth).fold(List(None), |list, _| List(Some(Box::new(list))))
        }
        let thread = std::thread::Builder::new().stack_size(16 << 20);
        let deep = || {
            let empty = || Maps(BTreeMap::new());
            let maps = (0..20_000).fold(empty(), |maps, _| Maps(BTreeMap::from([(1, maps)])));
            (key_of(&list(20_000)).is_err(), key_of(&maps).is_err())
        };
        let ended = thread.spawn(deep).unwrap().join();
        assert_eq!(ended.unwrap(), (true, true));
        assert!(key_of(&list(100)).is_ok());
    }

    #[test]
    fn long_values_are_hashed_in_parts() {
        let long = "x".repeat(3 * CHUNK);
        let numbers: Vec<u64> = (0..100_000).collect();
        assert_eq!(
            key(&(&long, &numbers)),
            key(&(long.clone(), numbers.clone()))
        );
        let mut other = numbers.clone();
        other[99_999] += 1;
        assert_ne!(key(&numbers), key(&other));
    }

    /// Keys are on disks: this one must stay what it is.
    #[test]
    fn a_key_is_the_same_in_every_version() {
        let value = (
            1u8,
            "two",
            vec![3.0f32],
            Some(4i64),
            BTreeMap::from([('5', [6u16])]),
        );
        let golden = "97502c4a929535d7ee638bc2ded4b872d7a6e37ebe18d98f8376ef086f4d1ea3";
        assert_eq!(key(&value).to_string(), golden);
    }
}
