//! Values as bytes, and bytes as values: postcard's format.
//!
//! **Writing.** At the end of a vector ([`Tail`]). A large piece is written only where there is room for it; one that is on offer
//! (`scope`) is lent instead, and an empty string stands there.
//!
//! **Reading.** A value that nests is decoded by a recursion, and how deep that becomes is said by the bytes. Each level reads
//! some of them, so [`Bytes`], which hands them out, sees how deep it is: where the stack ends now. What would need
//! more of it than this thread has is the codec's error: in a worker the item's, in the parent the result's. The
//! first [`SHALLOW`] bytes of stack are not asked for.
//!
//! **Rejected.** A number of levels: one level takes tens of bytes or thousands, and stacks differ. A stack that grows
//! (`stacker`): then the destructor of the value overflows another one.
//!
//! Tests: below; `tests/process/deep.rs`, `sys::stack`; every test that sends something.

use std::any::type_name;

use postcard::{Error, Result};
use postcard::{de_flavors, ser_flavors};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::scope::{self, Encoding};
use super::shared_buffer::is_large;
use crate::sys::{free_memory, large_pages, stack};
use crate::task::{CodecDirection, CodecError, TaskError};

/// Slices from this length on are copied by `memcpy`. (Calling it for three bytes costs more than encoding them.)
const LONG: usize = 16;

/// Pieces of this size are not copied before it is known that there is room.
const LARGE: usize = 64 << 20;

/// So much of the stack is there.
const SHALLOW: usize = 16 << 10;

/// And so much where the end of the stack is unknown.
const ASSUMED_STACK: usize = 32 << 10;

/// Appends `value` to `out`, and leaves in `beside` what travels beside it.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    beside: &mut Option<Box<Encoding>>,
) -> Result<()> {
    let output = Tail(out);
    let encode = || value.serialize(&mut postcard::Serializer { output });
    match is_number::<T>() {
        true => encode(),
        false => scope::encoding(beside, encode),
    }
}

/// Nothing travels beside a number, and its own serializer says no words. (Known when this is compiled. A number of a large
/// `map` takes three quarters of the time for it.)
#[inline(always)]
fn is_number<T: ?Sized>() -> bool {
    matches!(
        type_name::<T>(),
        "u8" | "u16"
            | "u32"
            | "u64"
            | "usize"
            | "i8"
            | "i16"
            | "i32"
            | "i64"
            | "isize"
            | "f32"
            | "f64"
    )
}

/// The end of a vector.
struct Tail<'a>(&'a mut Vec<u8>);

impl Tail<'_> {
    #[inline(never)]
    fn extend_long(&mut self, bytes: &[u8]) -> Result<()> {
        if is_large(bytes) {
            // Before them stands how many they are, seven bits to a byte.
            let width = (usize::BITS - bytes.len().leading_zeros()).div_ceil(7);
            let start = self.0.len().saturating_sub(width as usize);
            if scope::lend(bytes, start + 1) {
                self.0.truncate(start);
                self.0.push(0);
                return Ok(());
            }
        }
        if bytes.len() >= LARGE {
            self.make_room(bytes.len())?;
        }
        self.0.reserve(bytes.len());
        large_pages::advise(self.0);
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// Room for so many bytes more: here once, and on the other side as often again, if it comes to that.
    #[cold]
    fn make_room(&mut self, length: usize) -> Result<()> {
        let refused = |words: &str| {
            scope::said(&format!("{length} bytes of it in one piece: {words}"));
            Error::SerializeBufferFull
        };
        free_memory::check(length).map_err(|error| refused(&error.to_string()))?;
        let reserved = self.0.try_reserve(length);
        reserved.map_err(|error| refused(&error.to_string()))
    }
}

impl ser_flavors::Flavor for Tail<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() >= LONG {
            return self.extend_long(bytes);
        }
        if let Ok(eight) = <&[u8; 8]>::try_from(bytes) {
            self.0.extend_from_slice(eight); // (a float: one instruction)
            return Ok(());
        }
        self.0.extend(bytes.iter().copied());
        Ok(())
    }

    #[inline]
    fn finalize(self) -> Result<()> {
        Ok(())
    }
}

/// Decodes a value, all of it.
#[inline(always)]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
    let alone = is_number::<T>();
    if !alone {
        drop(scope::words());
    }
    // (In place, where the compiler sees it: `take_from_bytes` is a call.)
    let mut deserializer = postcard::Deserializer::from_flavor(Bytes::new(bytes));
    let value = T::deserialize(&mut deserializer).map_err(explain)?;
    match deserializer.finalize() {
        Ok([]) if !alone && scope::is_unread(bytes) => Err(unread()),
        Ok([]) => Ok(value),
        Ok(rest) => Err(left_over(rest.len())),
        Err(error) => Err(explain(error)),
    }
}

#[cold]
fn left_over(bytes: usize) -> String {
    format!(
        "{bytes} bytes were left over: its `Serialize` and `Deserialize` do not agree on what there is to read"
    )
}

#[cold]
fn unread() -> String {
    "its `Serialize` writes a large `Bulk`, and its `Deserialize` reads something else there"
        .to_owned()
}

/// The codec's errors, with what usually is behind them.
#[cold]
pub(crate) fn explain(error: Error) -> String {
    let words = scope::words();
    match error {
        Error::WontImplement => format!(
            "{error} (the codec does not describe itself: no `untagged`, `deserialize_any`)"
        ),
        Error::SerializeSeqLengthUnknown => {
            format!("{error} (no `flatten`, no iterator of unknown length)")
        }
        Error::SerdeSerCustom | Error::SerdeDeCustom => words.map_or_else(
            || format!("{error} (raised by its `Serialize` or `Deserialize`)"),
            String::from,
        ),
        Error::SerializeBufferFull => words.map_or_else(|| error.to_string(), String::from),
        _ => error.to_string(),
    }
}

/// A value of the type `name` could not be encoded or decoded.
#[cold]
pub(crate) fn codec_error(name: &'static str, way: CodecDirection, detail: String) -> TaskError {
    TaskError::Codec(Box::new(CodecError::new(name, way, detail)))
}

/// Some bytes, for a recursion on this thread.
struct Bytes<'de> {
    bytes: de_flavors::Slice<'de>,
    /// No deeper without asking.
    floor: usize,
    /// And then where.
    top: usize,
}

impl<'de> Bytes<'de> {
    #[inline(always)]
    fn new(bytes: &'de [u8]) -> Self {
        let top = stack::here();
        Self {
            bytes: de_flavors::Slice::new(bytes),
            floor: top.saturating_sub(SHALLOW),
            top,
        }
    }

    #[cold]
    fn ask(&mut self) -> Result<()> {
        self.floor = stack::floor().unwrap_or(self.top.saturating_sub(ASSUMED_STACK));
        if stack::here() >= self.floor {
            return Ok(());
        }
        scope::said("it nests more deeply than the stack of the thread that decodes it allows");
        Err(Error::SerdeDeCustom)
    }
}

impl<'de> de_flavors::Flavor<'de> for Bytes<'de> {
    type Remainder = &'de [u8];
    type Source = &'de [u8];

    #[inline(always)]
    fn pop(&mut self) -> Result<u8> {
        if stack::here() < self.floor {
            self.ask()?;
        }
        self.bytes.pop()
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        self.bytes.size_hint()
    }

    #[inline(always)]
    fn try_take_n(&mut self, count: usize) -> Result<&'de [u8]> {
        self.bytes.try_take_n(count)
    }

    #[inline(always)]
    fn finalize(self) -> Result<&'de [u8]> {
        self.bytes.finalize()
    }
}

#[cfg(test)]
mod tests {
    use serde::ser::{Serialize, Serializer};

    use super::*;

    #[test]
    fn what_is_written_is_postcards() {
        let value = (
            "long ".repeat(60),
            Some(1u64 << 60),
            [(-3i16, 'ü'); 3],
            0.5f64,
        );
        for length in 0..40 {
            let value = (&value, "x".repeat(length));
            let mut out = vec![1, 2];
            encode(&value, &mut out, &mut None).unwrap();
            assert_eq!(out[2..], postcard::to_stdvec(&value).unwrap());
        }
    }

    struct Endless;

    impl Serialize for Endless {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            serializer.collect_seq((0..3).filter(|n| *n > 0))
        }
    }

    #[test]
    fn no_iterator_of_unknown_length() {
        let error = encode(&Endless, &mut Vec::new(), &mut None).unwrap_err();
        assert!(explain(error).contains("flatten"));
    }
}
