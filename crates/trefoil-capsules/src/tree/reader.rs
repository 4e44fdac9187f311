//! A tree becomes a value: a deserializer.
//!
//! It gives what the tree holds, and never what a type would like to have: a value that does not
//! fit is an error, and the tree no candidate.
//!
//! Tests: `writer.rs`.

use std::collections::HashMap;
use std::fmt::{self, Display};

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess,
    Visitor,
};

use super::{Fields, Holds, Integer, Tree};

/// The variants of each enum that a decoder has asked for, by its name.
pub(crate) type Variants = HashMap<&'static str, &'static [&'static str]>;

/// Why a tree is no value of a type.
#[derive(Debug)]
pub(crate) struct Unfit(String);

impl Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl serde::de::Error for Unfit {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The value of a tree. Notes the enums in it.
pub(crate) fn read<T: DeserializeOwned>(tree: &Tree, known: &mut Variants) -> Result<T, Unfit> {
    let known = std::cell::RefCell::new(known);
    T::deserialize(Reader {
        tree,
        known: &known,
    })
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    tree: &'a Tree,
    known: &'a std::cell::RefCell<&'a mut Variants>,
}

impl<'a> Reader<'a> {
    fn of(self, tree: &'a Tree) -> Self {
        Self { tree, ..self }
    }

    fn row<'de, V: Visitor<'de>>(self, parts: &'a [Tree], visitor: V) -> Result<V::Value, Unfit> {
        let mut parts = SeqDeserializer::new(parts.iter().map(|part| self.of(part)));
        let value = visitor.visit_seq(&mut parts)?;
        parts.end()?;
        Ok(value)
    }

    fn octets<'de, V: Visitor<'de>>(self, bytes: &[u8], visitor: V) -> Result<V::Value, Unfit> {
        let mut parts = SeqDeserializer::new(bytes.iter().copied());
        let value = visitor.visit_seq(&mut parts)?;
        parts.end()?;
        Ok(value)
    }

    fn fields<'de, V: Visitor<'de>>(
        self,
        fields: &'a Fields,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        let mut all =
            MapDeserializer::new(fields.iter().map(|(name, part)| (*name, self.of(part))));
        let value = visitor.visit_map(&mut all)?;
        all.end()?;
        Ok(value)
    }
}

impl<'de, 'a> IntoDeserializer<'de, Unfit> for Reader<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de, 'a> Deserializer<'de> for Reader<'a> {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.tree {
            Tree::Bool(set) => visitor.visit_bool(*set),
            Tree::Integer(integer) => match integer {
                Integer::U8(n) => visitor.visit_u8(*n),
                Integer::U16(n) => visitor.visit_u16(*n),
                Integer::U32(n) => visitor.visit_u32(*n),
                Integer::U64(n) => visitor.visit_u64(*n),
                Integer::U128(n) => visitor.visit_u128(**n),
                Integer::I8(n) => visitor.visit_i8(*n),
                Integer::I16(n) => visitor.visit_i16(*n),
                Integer::I32(n) => visitor.visit_i32(*n),
                Integer::I64(n) => visitor.visit_i64(*n),
                Integer::I128(n) => visitor.visit_i128(**n),
            },
            Tree::F32(n) => visitor.visit_f32(*n),
            Tree::F64(n) => visitor.visit_f64(*n),
            Tree::Char(letter) => visitor.visit_char(*letter),
            Tree::Text(text) => visitor.visit_str(text),
            Tree::Bytes(bytes) => visitor.visit_bytes(bytes),
            Tree::None => visitor.visit_none(),
            Tree::Some(inner) => visitor.visit_some(self.of(inner)),
            Tree::Unit | Tree::UnitStruct(_) => visitor.visit_unit(),
            // (As formats have it: many types are written as one, and read as what is in it.)
            Tree::NewType(one) => self.of(&one.1).deserialize_any(visitor),
            Tree::Row(parts) | Tree::Tuple(parts) => self.row(parts, visitor),
            Tree::TupleStruct(parts) => self.row(&parts.1, visitor),
            Tree::Octets(bytes) => self.octets(bytes, visitor),
            Tree::Map(entries) => {
                let pairs = entries
                    .iter()
                    .map(|(key, value)| (self.of(key), self.of(value)));
                let mut all = MapDeserializer::new(pairs);
                let value = visitor.visit_map(&mut all)?;
                all.end()?;
                Ok(value)
            }
            Tree::Struct(parts) => self.fields(&parts.1, visitor),
            Tree::Variant(one) => match &one.holds {
                // (As a text format has them, for those that ask what comes.)
                Holds::Nothing => visitor.visit_str(one.name),
                _ => {
                    let mut all = MapDeserializer::new(std::iter::once((one.name, Held(self))));
                    let value = visitor.visit_map(&mut all)?;
                    all.end()?;
                    Ok(value)
                }
            },
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.tree {
            Tree::None | Tree::Unit => visitor.visit_none(),
            Tree::Some(inner) => visitor.visit_some(self.of(inner)),
            Tree::NewType(one) => self.of(&one.1).deserialize_option(visitor),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        match self.tree {
            Tree::NewType(one) => visitor.visit_newtype_struct(self.of(&one.1)),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.known.borrow_mut().insert(name, variants);
        match self.tree {
            Tree::Variant(_) => visitor.visit_enum(self),
            Tree::NewType(one) => self.of(&one.1).deserialize_enum(name, variants, visitor),
            Tree::Text(text) => visitor.visit_enum(text.as_str().into_deserializer()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// What a variant holds.
struct Held<'a>(Reader<'a>);

impl<'de, 'a> IntoDeserializer<'de, Unfit> for Held<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de, 'a> Deserializer<'de> for Held<'a> {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.0.holds()? {
            Holds::Nothing => visitor.visit_unit(),
            Holds::One(one) => self.0.of(one).deserialize_any(visitor),
            Holds::Tuple(parts) => self.0.row(parts, visitor),
            Holds::Fields(fields) => self.0.fields(fields, visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        option unit_struct newtype_struct enum seq tuple tuple_struct map struct identifier
        ignored_any
    }
}

impl<'de, 'a> EnumAccess<'de> for Reader<'a> {
    type Error = Unfit;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Unfit> {
        let Tree::Variant(one) = self.tree else {
            return Err(Unfit("it is no variant".to_owned()));
        };
        let name: StrDeserializer<'_, Unfit> = one.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'a> Reader<'a> {
    fn holds(self) -> Result<&'a Holds, Unfit> {
        match self.tree {
            Tree::Variant(one) => Ok(&one.holds),
            _ => Err(Unfit("it is no variant".to_owned())),
        }
    }
}

impl<'de, 'a> VariantAccess<'de> for Reader<'a> {
    type Error = Unfit;

    fn unit_variant(self) -> Result<(), Unfit> {
        match self.holds()? {
            Holds::Nothing => Ok(()),
            _ => Err(Unfit("the variant holds something".to_owned())),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Unfit> {
        match self.holds()? {
            Holds::One(one) => seed.deserialize(self.of(one)),
            _ => Err(Unfit("the variant holds something else".to_owned())),
        }
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Unfit> {
        match self.holds()? {
            Holds::Tuple(parts) => self.row(parts, visitor),
            _ => Err(Unfit("the variant holds something else".to_owned())),
        }
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        match self.holds()? {
            Holds::Fields(fields) => self.fields(fields, visitor),
            _ => Err(Unfit("the variant holds something else".to_owned())),
        }
    }
}
