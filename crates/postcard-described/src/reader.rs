//! Reads a value: its data alone, or together with the description.

use std::any::TypeId;
use std::marker::PhantomData;

use postcard::de_flavors::Flavor;
use serde::de::value::{BorrowedStrDeserializer, U32Deserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::{Deserialize, forward_to_deserialize_any};

use super::{Error, FEW, Limit, MUST, NAMES, Tag, is_built_in, raw_numbers};

type Result<T = ()> = std::result::Result<T, Error>;

/// An encoded value: its data, and the description that follows it.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'de> {
    data: &'de [u8],
    description: &'de [u8],
    must: bool,
}

impl<'de> Encoded<'de> {
    /// Splits what [`to_vec`](crate::to_vec) or [`write`](crate::write()) has written. `None`: these
    /// bytes are something else, or incomplete.
    #[must_use]
    pub fn split(bytes: &'de [u8]) -> Option<Self> {
        let (bytes, end) = bytes.split_last_chunk()?;
        let end = u32::from_le_bytes(*end);
        let length = usize::try_from(end & !MUST).ok()?;
        let (data, description) = bytes.split_at_checked(bytes.len().checked_sub(length)?)?;
        Some(Self {
            data,
            description,
            must: end & MUST != 0,
        })
    }

    /// The data, as postcard writes it.
    #[must_use]
    pub fn data(&self) -> &'de [u8] {
        self.data
    }

    /// Reads the value with its description, by the names of fields and variants. If that fails,
    /// reads the data alone, which may succeed for a type that is written as one thing and read as
    /// another. `open` returns a source of the [data](Self::data), from its beginning; `limit` is
    /// asked for how deeply the value may nest.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read<T, F, L>(&self, open: impl Fn() -> F, limit: impl Fn() -> L) -> Result<T>
    where
        T: Deserialize<'de>,
        F: Flavor<'de, Remainder = &'de [u8]> + 'de,
        L: Limit,
    {
        let read = |description| Reader::new(open(), description, limit()).whole();
        let error = match read(Some(self.description)) {
            Err(error)
                if !matches!(
                    error,
                    Error::Described(_) | Error::Value(_) | Error::TooDeep | Error::TooMany
                ) =>
            {
                error
            }
            read => return read,
        };
        let alone = if self.must {
            Err(Error::Undescribed)
        } else {
            read(None)
        };
        match (alone, error) {
            (Ok(value), _) => Ok(value),
            (Err(left_over @ Error::LeftOver(_)), _) => Err(left_over),
            // The error is the type's own, with the description and without.
            (Err(Error::Deserialize(alone)), Error::Deserialize(message)) if alone == message => {
                Err(Error::Deserialize(message))
            }
            (_, Error::Deserialize(message)) => Err(Error::Described(message)),
            (_, error) => Err(error),
        }
    }
}

/// The data, and what is left of the description.
struct Reader<'de, F: Flavor<'de>, L> {
    data: postcard::Deserializer<'de, F>,
    description: Option<&'de [u8]>,
    names: Vec<&'de str>,
    /// Everything was so far read as what it was written as.
    is_exact: bool,
    /// How often something was read from the data.
    gets: usize,
    /// For how many parts without data there may still be, times the length of their description:
    /// nothing else bounds the time that they take.
    empty_left: usize,
    limit: L,
}

impl<'de, F: Flavor<'de> + 'de, L: Limit> Reader<'de, F, L> {
    fn new(data: F, description: Option<&'de [u8]>, limit: L) -> Self {
        Self {
            data: postcard::Deserializer::from_flavor(data),
            description,
            names: Vec::new(),
            is_exact: true,
            gets: 0,
            empty_left: limit.most_empty(),
            limit,
        }
    }

    fn whole<T: Deserialize<'de>>(mut self) -> Result<T>
    where
        F: Flavor<'de, Remainder = &'de [u8]>,
    {
        let value = T::deserialize(self.value()?)?;
        match self.data.finalize()? {
            [] => Ok(value),
            rest => Err(Error::LeftOver(rest.len())),
        }
    }

    /// The value that comes next.
    #[inline]
    fn value(&mut self) -> Result<Value<'_, 'de, F, L>> {
        let tag = match self.description {
            None => {
                self.limit.check()?;
                None
            }
            Some(_) => Some(self.tag()?),
        };
        Ok(Value { reader: self, tag })
    }

    /// Reads the next `T` of the data.
    #[inline]
    fn get<T: Deserialize<'de>>(&mut self) -> Result<T> {
        self.gets += 1;
        Ok(T::deserialize(&mut self.data)?)
    }

    fn count_empty(&mut self, count: usize) -> Result {
        let left = self.empty_left.checked_sub(count);
        self.empty_left = left.ok_or(Error::TooMany)?;
        Ok(())
    }

    /// Reads a number of the description.
    #[inline]
    fn number(&mut self) -> Result<usize> {
        if let Some([number @ ..0x80, left @ ..]) = self.description {
            self.description = Some(left);
            return Ok(usize::from(*number));
        }
        self.described()
    }

    /// Reads the next `T` of the description.
    fn described<T: Deserialize<'de>>(&mut self) -> Result<T> {
        let left = self.description.unwrap_or_default();
        let (value, left) = postcard::take_from_bytes(left)?;
        self.description = Some(left);
        Ok(value)
    }

    fn tag(&mut self) -> Result<Tag> {
        self.limit.check()?;
        let left = self.description.unwrap_or_default();
        let (number, left) = left
            .split_first()
            .ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        let tag = Tag::of(*number);
        self.description = Some(left);
        Ok(tag.ok_or(postcard::Error::DeserializeBadEnum)?)
    }

    /// Reads a name; `None`: there are no more.
    fn name(&mut self) -> Result<Option<&'de str>> {
        let Some(index) = self.number()?.checked_sub(1) else {
            return Ok(None);
        };
        if let Some(known) = self.names.get(index) {
            return Ok(Some(known));
        }
        let name = self.described()?;
        if self.names.len() < NAMES {
            self.names.push(name);
        }
        Ok(Some(name))
    }

    fn parts(&mut self, count: usize) -> Parts<'_, 'de, F, L> {
        let left = match self.description {
            None => Left::Exactly(count),
            Some(_) => Left::Runs,
        };
        Parts {
            reader: self,
            count,
            left,
            same: None,
            is_alone: false,
            is_empty: false,
        }
    }

    fn sequence<V: Visitor<'de>>(&mut self, count: usize, visitor: V) -> Result<V::Value> {
        let mut parts = self.parts(count);
        let value = visitor.visit_seq(&mut parts)?;
        parts.finish()?;
        Ok(value)
    }

    /// Numbers, or arrays of them, that were written as their memory.
    fn numbers(&mut self) -> Result<Numbers<'de>> {
        let tag = self.tag()?;
        let memory: &[u8] = self.get()?;
        let width = tag.width().ok_or(postcard::Error::DeserializeBadEnum)?;
        if !memory.len().is_multiple_of(width) {
            return Err(Error::Codec(postcard::Error::DeserializeBadEncoding));
        }
        Ok(Numbers { tag, width, memory })
    }

    fn map<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value> {
        let count = self.get()?;
        let mut parts = self.parts(count);
        let value = visitor.visit_map(&mut parts)?;
        parts.finish()?;
        Ok(value)
    }

    /// What has no parts. (Not in `visit`, so that a level of a deep value takes less stack.)
    fn scalar<V: Visitor<'de>>(&mut self, tag: Tag, asked: Tag, visitor: V) -> Result<V::Value> {
        match tag {
            Tag::BOOL => visitor.visit_bool(self.get()?),
            Tag::U8 => visitor.visit_u8(self.get()?),
            Tag::U16 => visitor.visit_u16(self.get()?),
            Tag::U32 => visitor.visit_u32(self.get()?),
            Tag::U64 => visitor.visit_u64(self.get()?),
            Tag::U128 if asked != tag => unsigned(self.get()?, visitor),
            Tag::U128 => visitor.visit_u128(self.get()?),
            Tag::I8 => visitor.visit_i8(self.get()?),
            Tag::I16 => visitor.visit_i16(self.get()?),
            Tag::I32 => visitor.visit_i32(self.get()?),
            Tag::I64 => visitor.visit_i64(self.get()?),
            Tag::I128 if asked != tag => signed(self.get()?, visitor),
            Tag::I128 => visitor.visit_i128(self.get()?),
            Tag::F32 => visitor.visit_f32(self.get()?),
            Tag::F64 => visitor.visit_f64(self.get()?),
            Tag::CHAR => visitor.visit_char(self.get()?),
            Tag::STR => visitor.visit_borrowed_str(self.get()?),
            Tag::BYTES => visitor.visit_borrowed_bytes(self.get()?),
            Tag::UNIT => visitor.visit_unit(),
            Tag::NONE => {
                self.get::<u8>()?;
                visitor.visit_unit() // like JSON's `null`
            }
            _ => Err(Error::Codec(postcard::Error::DeserializeBadEnum)),
        }
    }

    /// Reads which variant it is.
    fn variant(&mut self) -> Result<&'de str> {
        self.get::<u32>()?;
        let name = self.name()?;
        name.ok_or(Error::Codec(postcard::Error::DeserializeBadEnum))
    }
}

/// The value that comes next, and what it is, if there is a description.
struct Value<'a, 'de, F: Flavor<'de>, L> {
    reader: &'a mut Reader<'de, F, L>,
    tag: Option<Tag>,
}

impl<'de, F: Flavor<'de> + 'de, L: Limit> Value<'_, 'de, F, L> {
    /// Passes the value to the visitor as its description says; without a description, as the type
    /// that was asked for.
    fn visit<V: Visitor<'de>>(self, asked: Tag, visitor: V) -> Result<V::Value> {
        let reader = self.reader;
        let tag = self.tag.unwrap_or(asked);
        reader.is_exact &= tag == asked;
        match tag {
            Tag::SOME => {
                reader.get::<u8>()?;
                reader.value()?.deserialize_any(visitor)
            }
            Tag::SEQ => {
                let count = reader.get()?;
                reader.sequence(count, visitor)
            }
            Tag::TUPLE => reader.sequence(0, visitor),
            Tag::NUMBERS => reader.numbers()?.visit(visitor),
            Tag::MAP => reader.map(visitor),
            Tag::STRUCT => {
                let mut fields = Fields(reader, false);
                let value = visitor.visit_map(&mut fields)?;
                if fields.1 || fields.0.name()?.is_none() {
                    Ok(value)
                } else {
                    Err(Error::LeftOver(0))
                }
            }
            Tag::UNIT_VARIANT => visitor.visit_borrowed_str(reader.variant()?),
            Tag::VARIANT => {
                let name = reader.variant()?;
                let mut entry = Entry(reader, Some(name), false);
                let value = visitor.visit_map(&mut entry)?;
                if entry.2 {
                    Ok(value)
                } else {
                    Err(Error::LeftOver(0))
                }
            }
            _ => reader.scalar(tag, asked, visitor),
        }
    }
}

/// Passes on a number of 128 bits, of which not all visitors know, as one of 64 if it fits.
fn unsigned<'de, V: Visitor<'de>>(number: u128, visitor: V) -> Result<V::Value> {
    match u64::try_from(number) {
        Ok(number) => visitor.visit_u64(number),
        Err(_) => visitor.visit_u128(number),
    }
}

fn signed<'de, V: Visitor<'de>>(number: i128, visitor: V) -> Result<V::Value> {
    match i64::try_from(number) {
        Ok(number) => visitor.visit_i64(number),
        Err(_) => visitor.visit_i128(number),
    }
}

/// The `deserialize_` methods that read a value as it was described, or as the type asked for.
macro_rules! visits {
    ($($method:ident: $tag:ident,)*) => {
        $(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
                self.visit(Tag::$tag, visitor)
            }
        )*
    };
}

/// The same for values that are read by one call, and are mostly of the type that was asked for:
/// then this is all that a sequence of them takes for each.
macro_rules! reads {
    ($($method:ident: $tag:ident, $visit:ident;)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
                match self.tag {
                    None | Some(Tag::$tag) => visitor.$visit(self.reader.get()?),
                    Some(_) => self.visit(Tag::$tag, visitor),
                }
            }
        )*
    };
}

impl<'de, F: Flavor<'de> + 'de, L: Limit> Deserializer<'de> for Value<'_, 'de, F, L> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.reader.is_exact = false;
        match self.tag {
            Some(Tag::BYTES) => {
                let bytes: &[u8] = self.reader.get()?;
                self.reader.limit.buffers(bytes);
                visitor.visit_borrowed_bytes(bytes)
            }
            Some(_) => self.visit(Tag::END, visitor), // no type in particular
            None => Err(Error::Undescribed),
        }
    }

    reads! {
        deserialize_bool: BOOL, visit_bool;
        deserialize_u8: U8, visit_u8;
        deserialize_u16: U16, visit_u16;
        deserialize_u32: U32, visit_u32;
        deserialize_u64: U64, visit_u64;
        deserialize_i8: I8, visit_i8;
        deserialize_i16: I16, visit_i16;
        deserialize_i32: I32, visit_i32;
        deserialize_i64: I64, visit_i64;
        deserialize_f32: F32, visit_f32;
        deserialize_f64: F64, visit_f64;
    }

    visits! {
        deserialize_u128: U128,
        deserialize_i128: I128,
        deserialize_char: CHAR,
        deserialize_str: STR,
        deserialize_string: STR,
        deserialize_bytes: BYTES,
        deserialize_byte_buf: BYTES,
        deserialize_unit: UNIT,
        deserialize_map: MAP,
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.tag {
            Some(Tag::NUMBERS) => {
                let numbers = self.reader.numbers()?;
                match raw_numbers::vector::<V>(numbers.tag, numbers.memory) {
                    Some(vector) => Ok(vector),
                    None => numbers.visit(visitor),
                }
            }
            _ => self.visit(Tag::SEQ, visitor),
        }
    }

    forward_to_deserialize_any! { identifier ignored_any }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.tag {
            None | Some(Tag::NONE | Tag::SOME) => match self.reader.get::<u8>()? {
                0 => visitor.visit_none(),
                1 => visitor.visit_some(self.reader.value()?),
                _ => Err(Error::Codec(postcard::Error::DeserializeBadOption)),
            },
            Some(Tag::UNIT) => visitor.visit_none(),
            Some(_) => {
                // no bytes are read here, so a type could recurse forever
                self.reader.limit.check()?;
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        self.visit(Tag::UNIT, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value> {
        match self.tag {
            None => self.reader.sequence(count, visitor),
            Some(_) => self.visit(Tag::TUPLE, visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        count: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(count, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self.tag {
            None | Some(Tag::UNIT_VARIANT | Tag::VARIANT) => visitor.visit_enum(self),
            Some(Tag::STR) => {
                let name = self.reader.get()?;
                visitor.visit_enum(BorrowedStrDeserializer::new(name))
            }
            Some(tag) => self.visit(tag, visitor),
        }
    }
}

impl<'de, F: Flavor<'de> + 'de, L: Limit> EnumAccess<'de> for Value<'_, 'de, F, L> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let variant = match self.tag {
            None => seed.deserialize(U32Deserializer::<Error>::new(self.reader.get()?))?,
            Some(_) => {
                let name = self.reader.variant()?;
                seed.deserialize(BorrowedStrDeserializer::<Error>::new(name))?
            }
        };
        Ok((variant, self))
    }
}

impl<'a, 'de, F: Flavor<'de> + 'de, L: Limit> Value<'a, 'de, F, L> {
    /// The contents of its variant.
    fn contents(self) -> Result<Value<'a, 'de, F, L>> {
        match self.tag {
            Some(Tag::UNIT_VARIANT) => Err(de::Error::invalid_type(
                Unexpected::UnitVariant,
                &"a variant with contents",
            )),
            _ => self.reader.value(),
        }
    }
}

impl<'de, F: Flavor<'de> + 'de, L: Limit> VariantAccess<'de> for Value<'_, 'de, F, L> {
    type Error = Error;

    fn unit_variant(self) -> Result {
        match self.tag {
            Some(Tag::VARIANT) => Deserialize::deserialize(self.reader.value()?),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        seed.deserialize(self.contents()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, count: usize, visitor: V) -> Result<V::Value> {
        self.contents()?.deserialize_tuple(count, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.contents()?.deserialize_tuple(fields.len(), visitor)
    }
}

/// The parts of a sequence, tuple or map.
struct Parts<'a, 'de, F: Flavor<'de>, L> {
    reader: &'a mut Reader<'de, F, L>,
    /// How many there probably are.
    count: usize,
    left: Left<'de>,
    /// The type as which the first part of the run was read, if exactly so.
    same: Option<TypeId>,
    /// All parts of the run that are read as that type are read without the description.
    is_alone: bool,
    /// The first part of the run has no data.
    is_empty: bool,
}

/// Which parts are left.
enum Left<'de> {
    /// This many, without a description.
    Exactly(usize),
    /// More runs, by the description.
    Runs,
    /// The first part of a run is being read; its description begins here.
    Run(&'de [u8]),
    /// More parts of a run: where its description begins, their number, and what follows.
    Again(&'de [u8], usize, &'de [u8]),
    /// This many more parts of a run that a tag alone describes, such as numbers.
    Same(Tag, usize),
    Nothing,
}

impl<'de, F: Flavor<'de> + 'de, L: Limit> Parts<'_, 'de, F, L> {
    /// Moves to the next part. False: there is none.
    fn next(&mut self) -> Result<bool> {
        loop {
            match &mut self.left {
                Left::Nothing | Left::Exactly(0) => return Ok(false),
                Left::Exactly(left) => {
                    *left -= 1;
                    return Ok(true);
                }
                Left::Runs => {
                    let run = self.reader.description.unwrap_or_default();
                    if let [end, rest @ ..] = run
                        && *end == Tag::END.0
                    {
                        self.reader.description = Some(rest);
                        self.left = Left::Nothing;
                        return Ok(false);
                    }
                    self.left = Left::Run(run);
                    return Ok(true);
                }
                Left::Run(run) => {
                    let run = *run;
                    let left = self.reader.description.unwrap_or_default().len();
                    let length = run.len().saturating_sub(left);
                    let tag = match run.get(..length) {
                        Some([number]) => Tag::of(*number),
                        _ => None,
                    };
                    let more = self.reader.number()?.saturating_sub(1);
                    if self.is_empty {
                        self.reader.count_empty(more.saturating_mul(length))?;
                    }
                    let behind = self.reader.description.unwrap_or_default();
                    self.left = match tag {
                        Some(tag) => Left::Same(tag, more),
                        None => Left::Again(run, more, behind),
                    };
                }
                Left::Same(_, 0) => self.left = Left::Runs,
                Left::Same(..) => return Ok(true),
                Left::Again(_, 0, behind) => {
                    self.reader.description = Some(behind);
                    self.left = Left::Runs;
                }
                Left::Again(run, more, _) => {
                    *more -= 1;
                    self.reader.description = Some(run);
                    return Ok(true);
                }
            }
        }
    }

    /// Reads the next part, if there is one.
    #[inline(never)]
    fn part<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let is_second = matches!(self.left, Left::Run(_));
        if !self.next()? {
            return Ok(None);
        }
        match self.left {
            Left::Run(_) => {
                self.is_alone = false;
                let before = std::mem::replace(&mut self.reader.is_exact, true);
                let gets = self.reader.gets;
                let value = seed.deserialize(self.reader.value()?)?;
                self.is_empty = gets == self.reader.gets;
                self.same = self.reader.is_exact.then(typeid::of::<S>);
                self.reader.is_exact &= before;
                return Ok(Some(value));
            }
            Left::Exactly(_) => {
                let gets = self.reader.gets;
                let value = seed.deserialize(self.reader.value()?)?;
                if gets == self.reader.gets {
                    self.reader.count_empty(1)?;
                }
                return Ok(Some(value));
            }
            Left::Same(_, more) | Left::Again(_, more, _) if is_second && more >= FEW => {
                self.is_alone = self.same == Some(typeid::of::<S>())
                    && typeid::of::<S>() == typeid::of::<PhantomData<S::Value>>()
                    && is_built_in::<S::Value>();
            }
            _ => {}
        }
        match self.left {
            Left::Same(..) => self.next_element_seed(seed),
            _ => seed.deserialize(self.reader.value()?).map(Some),
        }
    }

    /// Checks that all described parts have been read.
    fn finish(mut self) -> Result {
        if matches!(self.left, Left::Exactly(_)) || !self.next()? {
            Ok(())
        } else {
            Err(Error::LeftOver(0))
        }
    }
}

impl<'de, F: Flavor<'de> + 'de, L: Limit> SeqAccess<'de> for Parts<'_, 'de, F, L> {
    type Error = Error;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if self.is_alone
            && self.same == Some(typeid::of::<S>())
            && let Left::Same(_, more @ 1..) | Left::Again(_, more @ 1.., _) = &mut self.left
        {
            *more -= 1;
            return Ok(Some(seed.deserialize(&mut self.reader.data)?));
        }
        if let Left::Same(tag, more @ 1..) = &mut self.left {
            *more -= 1;
            let (reader, tag) = (&mut *self.reader, Some(*tag));
            return seed.deserialize(Value { reader, tag }).map(Some);
        }
        self.part(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.count)
    }
}

impl<'de, F: Flavor<'de> + 'de, L: Limit> MapAccess<'de> for Parts<'_, 'de, F, L> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let key = self.next_element_seed(seed);
        self.same = None; // a part is a key and a value
        key
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(self.reader.value()?)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.count)
    }
}

/// Numbers that were written as their memory: what is left of them.
struct Numbers<'de> {
    tag: Tag,
    /// How many bytes of memory one of them takes.
    width: usize,
    memory: &'de [u8],
}

impl<'de> Numbers<'de> {
    fn visit<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        let value = visitor.visit_seq(&mut self)?;
        match self.memory {
            [] => Ok(value),
            rest => Err(Error::LeftOver(rest.len())),
        }
    }
}

impl<'de> SeqAccess<'de> for Numbers<'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some((memory, rest)) = self.memory.split_at_checked(self.width) else {
            return Ok(None);
        };
        self.memory = rest;
        let (tag, levels) = (self.tag, LEVELS);
        let number = Number {
            tag,
            memory,
            levels,
        };
        seed.deserialize(number).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.memory.len() / self.width)
    }
}

/// How many newtypes and options may be around a number that was written without: a type could
/// recurse forever.
const LEVELS: u8 = 64;

/// One of them.
struct Number<'de> {
    tag: Tag,
    memory: &'de [u8],
    levels: u8,
}

impl Number<'_> {
    fn deeper(self) -> Result<Self> {
        let levels = self.levels.checked_sub(1).ok_or(Error::TooDeep)?;
        Ok(Self { levels, ..self })
    }
}

impl<'de> Deserializer<'de> for Number<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        macro_rules! visit {
            ($($tag:ident: $number:ty, $visit:expr;)*) => {
                match self.tag {
                    $(Tag::$tag => {
                        let bytes = self.memory.first_chunk();
                        let bytes = bytes.ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
                        let visit: fn(V, $number) -> Result<V::Value> = $visit;
                        visit(visitor, <$number>::from_le_bytes(*bytes))
                    })*
                    _ => Err(Error::Codec(postcard::Error::DeserializeBadEnum)),
                }
            };
        }
        visit! {
            U8: u8, V::visit_u8;
            U16: u16, V::visit_u16;
            U32: u32, V::visit_u32;
            U64: u64, V::visit_u64;
            U128: u128, |visitor, number| unsigned(number, visitor);
            I8: i8, V::visit_i8;
            I16: i16, V::visit_i16;
            I32: i32, V::visit_i32;
            I64: i64, V::visit_i64;
            I128: i128, |visitor, number| signed(number, visitor);
            F32: f32, V::visit_f32;
            F64: f64, V::visit_f64;
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self.deeper()?)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self.deeper()?)
    }

    fn deserialize_u128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.memory.first_chunk() {
            Some(bytes) if self.tag == Tag::U128 => visitor.visit_u128(u128::from_le_bytes(*bytes)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_i128<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.memory.first_chunk() {
            Some(bytes) if self.tag == Tag::I128 => visitor.visit_i128(i128::from_le_bytes(*bytes)),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// The fields of a struct, and whether their end was read.
struct Fields<'a, 'de, F: Flavor<'de>, L>(&'a mut Reader<'de, F, L>, bool);

impl<'de, F: Flavor<'de> + 'de, L: Limit> MapAccess<'de> for Fields<'_, 'de, F, L> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if self.1 {
            return Ok(None);
        }
        let Some(name) = self.0.name()? else {
            self.1 = true;
            return Ok(None);
        };
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(self.0.value()?)
    }
}

/// A variant as a map with one entry, as in JSON, and whether its value was taken.
struct Entry<'a, 'de, F: Flavor<'de>, L>(&'a mut Reader<'de, F, L>, Option<&'de str>, bool);

impl<'de, F: Flavor<'de> + 'de, L: Limit> MapAccess<'de> for Entry<'_, 'de, F, L> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        let Some(name) = self.1.take() else {
            return Ok(None);
        };
        seed.deserialize(BorrowedStrDeserializer::new(name))
            .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        self.2 = true;
        seed.deserialize(self.0.value()?)
    }
}
