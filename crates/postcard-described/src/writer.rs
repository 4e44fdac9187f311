//! Writes a value and its description.

use std::ptr;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::ser::{self, Serializer};

use super::{Description, Error, FEW, Limit, MANY, MUST, NAMES, Tag, is_built_in, raw_numbers};

type Result<T = ()> = std::result::Result<T, Error>;

/// Writes the data of `value` to `data`, and its description, which must follow there, to
/// `description`. `limit` is asked for how deeply the value may nest. Returns what `data` has
/// become.
///
/// [`to_vec`](crate::to_vec) is made of this. Use it to write to another of postcard's flavors, or
/// to keep the description's memory between values.
///
/// # Errors
/// See [`Error`]. Then what was written is of no use.
pub fn write<T: Serialize + ?Sized, F: Flavor, L: Limit>(
    value: &T,
    data: F,
    description: &mut Description,
    limit: L,
) -> Result<F::Output> {
    let Description { bytes, names } = description;
    bytes.clear();
    names.clear();
    let mut writer = Writer {
        data: postcard::Serializer { output: data },
        description: bytes,
        names,
        must: 0,
        limit,
    };
    value.serialize(&mut writer)?;
    let Writer { data, must, .. } = writer;
    let length = u32::try_from(bytes.len()).ok();
    let length = length.filter(|length| *length < MUST);
    let length = length.ok_or(Error::Codec(postcard::Error::SerializeBufferFull))?;
    bytes.extend_from_slice(&(length | must).to_le_bytes());
    Ok(data.output.finalize()?)
}

/// Where a value is written.
struct Writer<'d, F: Flavor, L> {
    data: postcard::Serializer<F>,
    description: &'d mut Vec<u8>,
    names: &'d mut Vec<&'static str>,
    /// [`MUST`] if the data must not be read without the description.
    must: u32,
    limit: L,
}

/// Appends a number, with seven bits in a byte.
#[inline]
fn number(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

impl<'d, F: Flavor, L: Limit> Writer<'d, F, L> {
    /// Describes a value. An error if it nests too deeply.
    #[inline]
    fn tag(&mut self, tag: Tag) -> Result {
        self.limit.check()?;
        self.description.push(tag.0);
        Ok(())
    }

    #[inline]
    fn put<T: Serialize + ?Sized>(&mut self, tag: Tag, value: &T) -> Result {
        self.tag(tag)?;
        Ok(value.serialize(&mut self.data)?)
    }

    fn name(&mut self, name: &'static str) -> Result {
        let known = self.names.iter().position(|known| ptr::eq(*known, name));
        number(1 + known.unwrap_or(self.names.len()), self.description);
        if known.is_none() {
            number(name.len(), self.description);
            self.description.extend(name.as_bytes());
            if self.names.len() < NAMES {
                self.names.push(name);
            }
        }
        Ok(())
    }

    /// Describes a sequence of `count` parts, at least one, that this tag describes.
    fn describe_sequence(&mut self, part: Tag, count: usize) {
        self.description.extend([Tag::SEQ.0, part.0]);
        number(count, self.description);
        self.description.push(Tag::END.0);
    }

    /// Begins a variant; its contents follow.
    fn variant(&mut self, tag: Tag, index: u32, name: &'static str) -> Result {
        self.put(tag, &index)?;
        self.name(name)
    }

    /// Begins a value with parts.
    fn open(&mut self, tag: Tag) -> Result<Parts<'_, 'd, F, L>> {
        self.tag(tag)?;
        Ok(Parts {
            run: 0,
            end: 0,
            count: 0,
            part: 0,
            writer: self,
        })
    }

    /// Begins a value with `count` parts, if that is known.
    fn open_counted(&mut self, tag: Tag, count: Option<usize>) -> Result<Parts<'_, 'd, F, L>> {
        if count.is_none() {
            self.must = MUST;
        }
        count.unwrap_or(0).serialize(&mut self.data)?;
        self.open(tag)
    }
}

/// The `serialize_` methods for values that their tag alone describes.
macro_rules! puts {
    ($($method:ident($type:ty): $tag:ident,)*) => {
        $(
            fn $method(self, value: $type) -> Result {
                self.put(Tag::$tag, &value)
            }
        )*
    };
}

impl<'a, 'd, F: Flavor, L: Limit> Serializer for &'a mut Writer<'d, F, L> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Parts<'a, 'd, F, L>;
    type SerializeTuple = Parts<'a, 'd, F, L>;
    type SerializeTupleStruct = Parts<'a, 'd, F, L>;
    type SerializeTupleVariant = Parts<'a, 'd, F, L>;
    type SerializeMap = Parts<'a, 'd, F, L>;
    type SerializeStruct = Fields<'a, 'd, F, L>;
    type SerializeStructVariant = Fields<'a, 'd, F, L>;

    puts! {
        serialize_bool(bool): BOOL,
        serialize_u8(u8): U8,
        serialize_u16(u16): U16,
        serialize_u32(u32): U32,
        serialize_u64(u64): U64,
        serialize_u128(u128): U128,
        serialize_i8(i8): I8,
        serialize_i16(i16): I16,
        serialize_i32(i32): I32,
        serialize_i64(i64): I64,
        serialize_i128(i128): I128,
        serialize_f32(f32): F32,
        serialize_f64(f64): F64,
        serialize_char(char): CHAR,
        serialize_str(&str): STR,
    }

    fn serialize_bytes(self, value: &[u8]) -> Result {
        self.tag(Tag::BYTES)?;
        Ok(self.data.serialize_bytes(value)?)
    }

    fn serialize_none(self) -> Result {
        self.put(Tag::NONE, &0u8)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result {
        self.put(Tag::SOME, &1u8)?;
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result {
        self.tag(Tag::UNIT)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result {
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, index: u32, name: &'static str) -> Result {
        self.variant(Tag::UNIT_VARIANT, index, name)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
        value: &T,
    ) -> Result {
        self.variant(Tag::VARIANT, index, name)?;
        value.serialize(self)
    }

    fn serialize_seq(self, count: Option<usize>) -> Result<Parts<'a, 'd, F, L>> {
        self.open_counted(Tag::SEQ, count)
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a, 'd, F, L>> {
        self.open(Tag::TUPLE)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a, 'd, F, L>> {
        self.open(Tag::TUPLE)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Parts<'a, 'd, F, L>> {
        self.variant(Tag::VARIANT, index, name)?;
        self.open(Tag::TUPLE)
    }

    fn serialize_map(self, count: Option<usize>) -> Result<Parts<'a, 'd, F, L>> {
        self.open_counted(Tag::MAP, count)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'a, 'd, F, L>> {
        self.tag(Tag::STRUCT)?;
        Ok(Fields(self))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Fields<'a, 'd, F, L>> {
        self.variant(Tag::VARIANT, index, name)?;
        self.tag(Tag::STRUCT)?;
        Ok(Fields(self))
    }

    fn collect_seq<I>(self, items: I) -> Result
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        let mut items = items.into_iter();
        if let Some((tag, memory @ [_, ..])) = raw_numbers::memory(&items)
            && let Some(width) = tag.width()
            && (width == 1 || memory.len() > MANY * width)
        {
            self.tag(Tag::NUMBERS)?;
            self.description.push(tag.0);
            if width > 1 {
                self.must = MUST; // (A byte string and a sequence of bytes have one encoding.)
            }
            return Ok(self.data.serialize_bytes(memory)?);
        }
        let (least, most) = items.size_hint();
        let count = most.filter(|most| *most == least);
        // A sequence of numbers or strings is described in one step. (The items of a vector are
        // references to its elements.)
        let is_text = typeid::of::<I::Item>() == typeid::of::<&String>();
        let tag = raw_numbers::tag_of::<I::Item>().or(is_text.then_some(Tag::STR));
        if let (Some(tag), Some(count @ 1..)) = (tag, count) {
            self.describe_sequence(tag, count);
            count.serialize(&mut self.data)?;
            return Ok(items.try_for_each(|item| item.serialize(&mut self.data))?);
        }
        let alike = count.filter(|count| *count > FEW && is_built_in::<I::Item>());
        let mut parts = self.serialize_seq(count)?;
        // Of parts that have one description whatever their value is, only the first is described.
        if let Some(count) = alike
            && let Some(first) = items.next()
        {
            parts.part(&first)?;
            parts.set_count(count);
            items.try_for_each(|item| item.serialize(&mut parts.writer.data))?;
            return parts.close();
        }
        items.try_for_each(|item| ser::SerializeSeq::serialize_element(&mut parts, &item))?;
        ser::SerializeSeq::end(parts)
    }
}

/// The parts of a sequence, tuple or map.
struct Parts<'a, 'd, F: Flavor, L> {
    writer: &'a mut Writer<'d, F, L>,
    /// Where the description of the last run begins and ends, and how many parts it has. The number
    /// follows the description.
    run: usize,
    end: usize,
    count: usize,
    /// Where the description of the part that is being written begins.
    part: usize,
}

impl<F: Flavor, L: Limit> Parts<'_, '_, F, L> {
    fn start_part(&mut self) {
        self.part = self.writer.description.len();
    }

    /// Ends a part: if its description equals that of the run before it, it joins that run.
    #[inline]
    fn end_part(&mut self) {
        let all = &*self.writer.description;
        if self.count > 0 && all[self.run..self.end] == all[self.part..] {
            self.set_count(self.count + 1);
        } else {
            (self.run, self.end) = (self.part, all.len());
            self.set_count(1);
        }
    }

    /// Sets how many parts have the description of the last run.
    #[inline]
    fn set_count(&mut self, count: usize) {
        self.count = count;
        self.writer.description.truncate(self.end);
        number(count, self.writer.description);
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        self.start_part();
        value.serialize(&mut *self.writer)?;
        self.end_part();
        Ok(())
    }

    fn close(self) -> Result {
        self.writer.tag(Tag::END)
    }
}

/// Four traits of serde for the same thing.
macro_rules! writes_parts {
    ($($form:ident: $method:ident,)*) => {
        $(
            impl<F: Flavor, L: Limit> ser::$form for Parts<'_, '_, F, L> {
                type Ok = ();
                type Error = Error;

                fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
                    self.part(value)
                }

                fn end(self) -> Result {
                    self.close()
                }
            }
        )*
    };
}

writes_parts! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

impl<F: Flavor, L: Limit> ser::SerializeMap for Parts<'_, '_, F, L> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result {
        self.start_part();
        key.serialize(&mut *self.writer)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result {
        value.serialize(&mut *self.writer)?;
        self.end_part();
        Ok(())
    }

    fn end(self) -> Result {
        self.close()
    }
}

/// The fields of a struct.
struct Fields<'a, 'd, F: Flavor, L>(&'a mut Writer<'d, F, L>);

macro_rules! writes_fields {
    ($($form:ident),*) => {
        $(
            impl<F: Flavor, L: Limit> ser::$form for Fields<'_, '_, F, L> {
                type Ok = ();
                type Error = Error;

                fn serialize_field<T: Serialize + ?Sized>(
                    &mut self,
                    name: &'static str,
                    value: &T,
                ) -> Result {
                    self.0.name(name)?;
                    value.serialize(&mut *self.0)
                }

                fn skip_field(&mut self, _: &'static str) -> Result {
                    self.0.must = MUST;
                    Ok(())
                }

                fn end(self) -> Result {
                    self.0.tag(Tag::END)
                }
            }
        )*
    };
}

writes_fields! { SerializeStruct, SerializeStructVariant }
