//! Whether a result is an `Err`.
//!
//! serde writes a [`Result`] as an enum of that name with the variants `Ok` and `Err`, which a
//! serializer sees that looks no further. (An enum of the user's with these names counts as one.)

use std::fmt;

use serde::Serialize;
use serde::ser::{Error, Impossible, Serializer};

/// Whether `value` is an `Err`.
pub(crate) fn is_err<T: Serialize>(value: &T) -> bool {
    value.serialize(Look).is_err_and(|seen| seen.0)
}

struct Look;

/// What was seen: an `Err`?
#[derive(Debug)]
struct Seen(bool);

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seen enough")
    }
}

impl std::error::Error for Seen {}

impl Error for Seen {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(false)
    }
}

type None = Impossible<(), Seen>;

macro_rules! others {
    ($($name:ident($($type:ty),*) -> $result:ty;)*) => {$(
        fn $name(self, $(_: $type),*) -> Result<$result, Seen> {
            Err(Seen(false))
        }
    )*};
}

impl Serializer for Look {
    type Ok = ();
    type Error = Seen;
    type SerializeSeq = None;
    type SerializeTuple = None;
    type SerializeTupleStruct = None;
    type SerializeTupleVariant = None;
    type SerializeMap = None;
    type SerializeStruct = None;
    type SerializeStructVariant = None;

    others! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_i128(i128) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_u128(u128) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> None;
        serialize_tuple(usize) -> None;
        serialize_tuple_struct(&'static str, usize) -> None;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> None;
        serialize_map(Option<usize>) -> None;
        serialize_struct(&'static str, usize) -> None;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> None;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Seen> {
        Err(Seen(false))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), Seen> {
        Err(Seen(false))
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Result<(), Seen> {
        Err(Seen(name == "Result" && variant == "Err"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_err_is_seen() {
        assert!(is_err(&Result::<u8, String>::Err("no".to_owned())));
        assert!(!is_err(&Result::<u8, String>::Ok(1)));
        assert!(!is_err(&1u8));
        assert!(!is_err(&vec![Result::<u8, u8>::Err(1)]), "only itself");
        assert!(!is_err(&"Err"));
    }
}
