//! A value becomes a tree: a serializer.
//!
//! Tests: below.

use std::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{DEEPEST, Fields, Holds, Integer, MOST_BYTES, MOST_PARTS, Tree, Variant};

/// Why a value has no tree.
#[derive(Debug)]
pub(crate) struct Refused(String);

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl serde::ser::Error for Refused {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The tree of a value.
pub(crate) fn write(value: &impl Serialize) -> Result<Tree, Refused> {
    let mut room = Room {
        parts: MOST_PARTS,
        bytes: MOST_BYTES,
        depth: 0,
    };
    value.serialize(&mut room)
}

/// What a tree may still have.
struct Room {
    parts: usize,
    bytes: usize,
    depth: usize,
}

impl Room {
    fn take(&mut self, parts: usize, bytes: usize) -> Result<(), Refused> {
        let rest = (self.parts.checked_sub(parts), self.bytes.checked_sub(bytes));
        let (Some(parts), Some(bytes)) = rest else {
            return Err(Refused(format!(
                "it has more than {MOST_PARTS} parts, or more than {MOST_BYTES} bytes of text"
            )));
        };
        (self.parts, self.bytes) = (parts, bytes);
        Ok(())
    }

    fn inner(&mut self, value: &(impl Serialize + ?Sized)) -> Result<Tree, Refused> {
        if self.depth == DEEPEST {
            return Err(Refused(format!("it nests more than {DEEPEST} levels deep")));
        }
        self.depth += 1;
        let tree = value.serialize(&mut *self);
        self.depth -= 1;
        tree
    }

    fn leaf(&mut self, tree: Tree) -> Result<Tree, Refused> {
        self.take(1, 0)?;
        Ok(tree)
    }
}

/// Something with several parts, as long as they come.
struct Parts<'a> {
    room: &'a mut Room,
    what: What,
    parts: Vec<Tree>,
    /// What has come of a row so far, if all are bytes.
    octets: Vec<u8>,
    fields: Fields,
    entries: Vec<(Tree, Tree)>,
    key: Option<Tree>,
}

enum What {
    Row,
    Tuple,
    TupleStruct(&'static str),
    Map,
    Struct(&'static str),
    TupleVariant(&'static str, u32, &'static str),
    StructVariant(&'static str, u32, &'static str),
}

impl<'a> Parts<'a> {
    fn new(room: &'a mut Room, what: What) -> Result<Self, Refused> {
        room.take(1, 0)?;
        Ok(Self {
            room,
            what,
            parts: Vec::new(),
            octets: Vec::new(),
            fields: Vec::new(),
            entries: Vec::new(),
            key: None,
        })
    }

    fn part(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Refused> {
        let before = self.room.parts;
        let part = self.room.inner(value)?;
        if let (What::Row, Tree::Integer(Integer::U8(byte))) = (&self.what, &part)
            && self.parts.is_empty()
        {
            // It is one part, whatever its length, and its bytes are counted as bytes.
            self.room.parts = before;
            self.room.take(0, 1)?;
            self.octets.push(*byte);
            return Ok(());
        }
        self.unfold()?;
        self.parts.push(part);
        Ok(())
    }

    /// It is no row of bytes only.
    fn unfold(&mut self) -> Result<(), Refused> {
        let octets = std::mem::take(&mut self.octets);
        self.room.take(octets.len(), 0)?;
        let octet = |byte| Tree::Integer(Integer::U8(byte));
        self.parts.extend(octets.into_iter().map(octet));
        Ok(())
    }

    fn field(
        &mut self,
        name: &'static str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Refused> {
        let part = self.room.inner(value)?;
        self.fields.push((name, part));
        Ok(())
    }

    fn finish(self) -> Tree {
        let variant = |of, index, name, holds| {
            Tree::Variant(Box::new(Variant {
                of,
                index,
                name,
                holds,
            }))
        };
        match self.what {
            What::Row if !self.octets.is_empty() => Tree::Octets(self.octets),
            What::Row => Tree::Row(self.parts),
            What::Tuple => Tree::Tuple(self.parts),
            What::TupleStruct(name) => Tree::TupleStruct(Box::new((name, self.parts))),
            What::Map => Tree::Map(self.entries),
            What::Struct(name) => Tree::Struct(Box::new((name, self.fields))),
            What::TupleVariant(of, index, name) => {
                variant(of, index, name, Holds::Tuple(self.parts))
            }
            What::StructVariant(of, index, name) => {
                variant(of, index, name, Holds::Fields(self.fields))
            }
        }
    }
}

macro_rules! integers {
    ($($method:ident: $type:ty => $kind:ident,)*) => {$(
        fn $method(self, n: $type) -> Result<Tree, Refused> {
            self.leaf(Tree::Integer(Integer::$kind(n.into())))
        }
    )*};
}

impl<'a> Serializer for &'a mut Room {
    type Ok = Tree;
    type Error = Refused;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    integers! {
        serialize_u8: u8 => U8,
        serialize_u16: u16 => U16,
        serialize_u32: u32 => U32,
        serialize_u64: u64 => U64,
        serialize_u128: u128 => U128,
        serialize_i8: i8 => I8,
        serialize_i16: i16 => I16,
        serialize_i32: i32 => I32,
        serialize_i64: i64 => I64,
        serialize_i128: i128 => I128,
    }

    fn serialize_bool(self, set: bool) -> Result<Tree, Refused> {
        self.leaf(Tree::Bool(set))
    }

    fn serialize_f32(self, n: f32) -> Result<Tree, Refused> {
        self.leaf(Tree::F32(n))
    }

    fn serialize_f64(self, n: f64) -> Result<Tree, Refused> {
        self.leaf(Tree::F64(n))
    }

    fn serialize_char(self, letter: char) -> Result<Tree, Refused> {
        self.leaf(Tree::Char(letter))
    }

    fn serialize_str(self, text: &str) -> Result<Tree, Refused> {
        self.take(1, text.len())?;
        Ok(Tree::Text(text.to_owned()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Tree, Refused> {
        self.take(1, bytes.len())?;
        Ok(Tree::Bytes(bytes.to_vec()))
    }

    fn serialize_none(self) -> Result<Tree, Refused> {
        self.leaf(Tree::None)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Tree, Refused> {
        self.take(1, 0)?;
        Ok(Tree::Some(Box::new(self.inner(value)?)))
    }

    fn serialize_unit(self) -> Result<Tree, Refused> {
        self.leaf(Tree::Unit)
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<Tree, Refused> {
        self.leaf(Tree::UnitStruct(name))
    }

    fn serialize_unit_variant(
        self,
        of: &'static str,
        index: u32,
        name: &'static str,
    ) -> Result<Tree, Refused> {
        let holds = Holds::Nothing;
        self.leaf(Tree::Variant(Box::new(Variant {
            of,
            index,
            name,
            holds,
        })))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Tree, Refused> {
        self.take(1, 0)?;
        Ok(Tree::NewType(Box::new((name, self.inner(value)?))))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        of: &'static str,
        index: u32,
        name: &'static str,
        value: &T,
    ) -> Result<Tree, Refused> {
        self.take(1, 0)?;
        let holds = Holds::One(self.inner(value)?);
        Ok(Tree::Variant(Box::new(Variant {
            of,
            index,
            name,
            holds,
        })))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, Refused> {
        Parts::new(self, What::Row)
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, Refused> {
        Parts::new(self, What::Tuple)
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Parts<'a>, Refused> {
        Parts::new(self, What::TupleStruct(name))
    }

    fn serialize_tuple_variant(
        self,
        of: &'static str,
        index: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Refused> {
        Parts::new(self, What::TupleVariant(of, index, name))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, Refused> {
        Parts::new(self, What::Map)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts<'a>, Refused> {
        Parts::new(self, What::Struct(name))
    }

    fn serialize_struct_variant(
        self,
        of: &'static str,
        index: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Refused> {
        Parts::new(self, What::StructVariant(of, index, name))
    }
}

macro_rules! of_parts {
    ($($trait:ident::$method:ident,)*) => {$(
        impl $trait for Parts<'_> {
            type Ok = Tree;
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.part(value)
            }

            fn end(self) -> Result<Tree, Refused> {
                Ok(self.finish())
            }
        }
    )*};
}

of_parts! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

macro_rules! of_fields {
    ($($trait:ident,)*) => {$(
        impl $trait for Parts<'_> {
            type Ok = Tree;
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Refused> {
                self.field(name, value)
            }

            fn end(self) -> Result<Tree, Refused> {
                Ok(self.finish())
            }
        }
    )*};
}

of_fields!(SerializeStruct, SerializeStructVariant,);

impl SerializeMap for Parts<'_> {
    type Ok = Tree;
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.key = Some(self.room.inner(key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        let value = self.room.inner(value)?;
        let no_key = || Refused("a value without a key".to_owned());
        self.entries
            .push((self.key.take().ok_or_else(no_key)?, value));
        Ok(())
    }

    fn end(self) -> Result<Tree, Refused> {
        Ok(self.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Debug;

    use serde::Deserialize;
    use serde::de::DeserializeOwned;

    use super::super::{Variants, read};
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        Dot,
        Circle(f64),
        Line(u8, i64),
        Mesh {
            corners: Vec<[f32; 3]>,
            name: Option<String>,
        },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Small { n: u8 },
        Large { n: u64, inner: Box<Option<Tagged>> },
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u64),
        Text(String),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Marker;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(u16);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Pair(u16, char);

    fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
        let tree = write(&value).unwrap();
        let again: T = read(&tree, &mut Variants::default()).unwrap();
        assert_eq!(again, value);
        let plainest = tree.plainest();
        assert!(plainest.weight() <= tree.weight(), "{plainest:?} {tree:?}");
    }

    #[test]
    fn what_was_written_is_read() {
        survives((1u8, -2i8, 3u16, -4i16, 5u32, -6i32, 7u64, -8i64));
        survives((u128::MAX, i128::MIN, 'x', true, 0.5f32, -0.25f64));
        survives((
            vec![1u8, 2, 3],
            Vec::<u8>::new(),
            vec![1u16, 2],
            "text".to_owned(),
        ));
        survives((
            Some(Some(1u8)),
            None::<u8>,
            (),
            Marker,
            Wrapped(7),
            Pair(8, 'y'),
        ));
        survives(vec![
            Shape::Dot,
            Shape::Circle(1.5),
            Shape::Line(1, -2),
            Shape::Mesh {
                corners: vec![[0.5; 3]; 2],
                name: Some("m".to_owned()),
            },
        ]);
        survives(BTreeMap::from([
            ("a".to_owned(), vec![1u8]),
            ("b".to_owned(), vec![]),
        ]));
        let small = Tagged::Small { n: 1 };
        survives(Tagged::Large {
            n: 1 << 40,
            inner: Box::new(Some(small)),
        });
        survives(vec![Either::Number(7), Either::Text("t".to_owned())]);
        survives([Ok(1u8), Err("no".to_owned())]);
    }

    #[test]
    fn what_is_too_deep_or_too_large_is_refused() {
        #[derive(Serialize)]
        struct Chain(Option<Box<Chain>>);
        let chain = |length| (0..length).fold(Chain(None), |rest, _| Chain(Some(Box::new(rest))));
        let deep = std::thread::Builder::new()
            .stack_size(256 << 20)
            .spawn(move || {
                assert!(write(&chain(900)).is_ok());
                let error = write(&chain(DEEPEST)).unwrap_err().to_string();
                assert!(error.contains("levels deep"), "{error}");
            });
        deep.unwrap().join().unwrap();
        struct Endless;
        impl Serialize for Endless {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(std::iter::repeat(()))
            }
        }
        let error = write(&Endless).unwrap_err().to_string();
        assert!(error.contains("parts"), "{error}");
    }
}
