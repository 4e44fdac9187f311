//! Values as bytes: postcard's format, written faster.
//!
//! **Job.** What travels is postcard's, byte for byte, and postcard reads it again. Its serializer
//! writes a number into an array, byte by byte, and hands over a slice of that, which is copied byte by byte to where
//! it should be: of a `map` of numbers that was a quarter of all work. Here a number is spread over
//! the bytes of one word ([`spread`]), and the word is stored.
//!
//! 1. Numbers of up to 64 bits go through [`Out::number`]: unsigned as they are, signed by zigzag.
//! 2. Everything else is written as postcard writes it: a length before what has one, the index of a variant
//!    before its fields, nothing for names. (Large numbers may be lent, and an empty string stands there: `loan`.)
//!
//! **Rejected.** A format of our own: postcard's has a specification and other readers. An array of ten bytes at the
//! end of the output, filled in place: the length of a vector would have to be changed twice.
//!
//! Tests: below (against postcard itself); every test that sends something.

use std::fmt::{Display, Write};

use postcard::ser_flavors::Flavor;
use postcard::{Error, Result};
use serde::Serialize;
use serde::ser::{self, Serializer};

use super::loan;

/// Where a value is written.
pub(crate) trait Out: Flavor {
    /// Appends the first `length` bytes of `word`, one at least.
    fn some(&mut self, word: [u8; 8], length: usize) -> Result<()>;

    /// How many bytes there are.
    fn position(&self) -> usize;

    /// Appends a number.
    #[inline]
    fn number(&mut self, number: u64) -> Result<()> {
        if number >> 56 != 0 {
            return self.long_number(number);
        }
        let (word, length) = spread(number);
        self.some(word, length)
    }

    #[cold]
    fn long_number(&mut self, number: u64) -> Result<()> {
        self.wide_number(number.into())
    }

    #[cold]
    fn wide_number(&mut self, mut number: u128) -> Result<()> {
        while number >= 0x80 {
            self.try_push(number as u8 | 0x80)?;
            number >>= 7;
        }
        self.try_push(number as u8)
    }
}

/// A number below 2^56 as up to eight bytes, seven bits in each, the lowest first; each but the last has its highest bit set.
#[inline]
fn spread(number: u64) -> ([u8; 8], usize) {
    let x = number & 0x0fff_ffff | (number & 0x00ff_ffff_f000_0000) << 4;
    let x = x & 0x0000_3fff_0000_3fff | (x & 0x0fff_c000_0fff_c000) << 2;
    let x = x & 0x007f_007f_007f_007f | (x & 0x3f80_3f80_3f80_3f80) << 1;
    let length = ((number | 1).ilog2() * 9 + 73) / 64;
    let more = (1 << (8 * (length - 1))) - 1;
    (
        (x | more & 0x8080_8080_8080_8080).to_le_bytes(),
        length as usize,
    )
}

/// Writes `value` to `out`.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized, O: Out>(value: &T, out: O) -> Result<O::Output> {
    let mut encoder = Encoder(out);
    value.serialize(&mut encoder)?;
    encoder.0.finalize()
}

struct Encoder<O>(O);

impl<O: Out> Encoder<O> {
    #[inline]
    fn length(&mut self, length: usize) -> Result<()> {
        self.0.number(length as u64).map_err(full)
    }

    #[inline]
    fn with_length(&mut self, bytes: &[u8]) -> Result<()> {
        self.length(bytes.len())?;
        self.0.try_extend(bytes).map_err(full)
    }
}

/// postcard says so, whatever its output has said.
fn full(_: Error) -> Error {
    Error::SerializeBufferFull
}

macro_rules! unsigned {
    ($($method:ident: $type:ty,)*) => {$(
        #[inline]
        fn $method(self, number: $type) -> Result<()> {
            self.0.number(number.into()).map_err(full)
        }
    )*};
}

macro_rules! signed {
    ($($method:ident: $type:ty,)*) => {$(
        #[inline]
        fn $method(self, number: $type) -> Result<()> {
            let number = i64::from(number);
            self.0.number(((number << 1) ^ (number >> 63)) as u64).map_err(full)
        }
    )*};
}

impl<O: Out> Serializer for &mut Encoder<O> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    unsigned! { serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, }
    signed! { serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }

    #[inline]
    fn serialize_u8(self, byte: u8) -> Result<()> {
        self.0.try_push(byte).map_err(full)
    }

    #[inline]
    fn serialize_i8(self, byte: i8) -> Result<()> {
        self.serialize_u8(byte as u8)
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<()> {
        self.serialize_u8(value.into())
    }

    fn serialize_u128(self, number: u128) -> Result<()> {
        self.0.wide_number(number).map_err(full)
    }

    fn serialize_i128(self, number: i128) -> Result<()> {
        self.serialize_u128(((number << 1) ^ (number >> 127)) as u128)
    }

    #[inline]
    fn serialize_f32(self, number: f32) -> Result<()> {
        self.0.try_extend(&number.to_le_bytes()).map_err(full)
    }

    #[inline]
    fn serialize_f64(self, number: f64) -> Result<()> {
        self.0.some(number.to_le_bytes(), 8).map_err(full)
    }

    #[inline]
    fn serialize_char(self, value: char) -> Result<()> {
        self.with_length(value.encode_utf8(&mut [0; 4]).as_bytes())
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<()> {
        self.with_length(text.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<()> {
        // (They would be missing behind the length of what stands there.)
        if loan::is_large(bytes) && loan::lend(bytes, self.0.position() + 1) {
            return self.length(0);
        }
        self.with_length(bytes)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<()> {
        let mut text = String::new();
        write!(text, "{value}").map_err(|_| Error::CollectStrError)?;
        self.serialize_str(&text)
    }

    #[inline]
    fn serialize_none(self) -> Result<()> {
        self.serialize_u8(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.serialize_u8(1)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> Result<()> {
        self.serialize_u32(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        self.serialize_u32(index)?;
        value.serialize(self)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<Self> {
        self.length(length.ok_or(Error::SerializeSeqLengthUnknown)?)?;
        Ok(self)
    }

    #[inline]
    fn serialize_map(self, length: Option<usize>) -> Result<Self> {
        self.serialize_seq(length)
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self> {
        Ok(self)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self> {
        self.serialize_u32(index)?;
        Ok(self)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Self> {
        self.serialize_tuple_variant(name, index, variant, length)
    }
}

/// The parts of a whole, one after the other.
macro_rules! parts {
    ($($kind:ident { $($method:ident($($name:ty)?)),+ })*) => {$(
        impl<O: Out> ser::$kind for &mut Encoder<O> {
            type Ok = ();
            type Error = Error;

            $(
                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? part: &T) -> Result<()> {
                    part.serialize(&mut **self)
                }
            )+

            #[inline]
            fn end(self) -> Result<()> {
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeSeq { serialize_element() }
    SerializeTuple { serialize_element() }
    SerializeTupleStruct { serialize_field() }
    SerializeTupleVariant { serialize_field() }
    SerializeMap { serialize_key(), serialize_value() }
    SerializeStruct { serialize_field(&'static str) }
    SerializeStructVariant { serialize_field(&'static str) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::process::flavor::{Front, Tail};
    use serde::Serialize;

    /// As postcard would write it, wherever it is written.
    fn same<T: Serialize + ?Sized>(value: &T) {
        let expected = postcard::to_stdvec(value).unwrap();
        let mut vec = vec![1, 2];
        encode(value, Tail::new(&mut vec)).unwrap();
        assert_eq!(vec[2..], expected);
        for more in 0..10 {
            let mut room = vec![0; expected.len() + more];
            let used = encode(value, Front::new(&mut room)).unwrap();
            assert_eq!(room[..used], expected);
        }
        for less in 0..expected.len().min(40) {
            let error = encode(value, Front::new(&mut vec![0; less]));
            assert_eq!(error, Err(Error::SerializeBufferFull));
        }
    }

    #[test]
    fn numbers_of_every_length() {
        for shift in 0..128 {
            for number in [(1u128 << shift) - 1, 1 << shift, (1 << shift) | 1] {
                same(&number);
                same(&(number as u64, number as u32, number as u16, number as u8));
                same(&(number as i64, number as i32, number as i16, number as i8));
                same(&-(number as i64 >> 1));
                same(&(number as i128, f64::from_bits(number as u64), number as f32));
            }
        }
        same(&[i64::MIN, i64::MAX, -1, 0]);
        same(&(usize::MAX, isize::MIN, i128::MIN));
    }

    #[derive(Serialize)]
    enum Kind {
        Unit,
        New(u64),
        Tuple(i16, String),
        Struct { a: Option<u8>, b: () },
    }

    #[derive(Serialize)]
    struct New(char);

    #[derive(Serialize)]
    struct Pair(u32, Vec<Kind>);

    #[derive(Serialize)]
    struct Whole {
        unit: (),
        pair: Pair,
        map: BTreeMap<String, [bool; 2]>,
        address: IpAddr,
        new: [New; 3],
        text: &'static str,
    }

    #[test]
    fn everything_else() {
        let kinds = || {
            let text = "long ".repeat(60);
            let (a, b) = (Some(3), ());
            vec![
                Kind::Unit,
                Kind::New(1 << 60),
                Kind::Tuple(-3, text),
                Kind::Struct { a, b },
            ]
        };
        same(&Whole {
            unit: (),
            pair: Pair(300, kinds()),
            map: (0..200).map(|n| (n.to_string(), [n % 2 == 0; 2])).collect(),
            address: Ipv4Addr::LOCALHOST.into(),
            new: [New('a'), New('ü'), New('😀')],
            text: "",
        });
        same(&(Some(Some(1u64)), None::<u8>, kinds()));
    }

    struct Shown;

    impl Serialize for Shown {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            serializer.collect_str(&format_args!("{}-{}", 1, "two"))
        }
    }

    struct Endless(bool);

    impl Serialize for Endless {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            match self.0 {
                true => serializer.collect_seq((0..3).filter(|n| *n > 0)),
                false => serializer.collect_map((0..3).filter(|n| *n > 0).map(|n| (n, n))),
            }
        }
    }

    #[test]
    fn odd_ones() {
        same(&Shown);
        for seq in [true, false] {
            let error = encode(&Endless(seq), Tail::new(&mut Vec::new()));
            assert_eq!(error, Err(Error::SerializeSeqLengthUnknown));
        }
    }
}
