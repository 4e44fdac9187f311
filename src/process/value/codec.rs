//! Encodes and decodes values: postcard's format, followed by a description (the crate
//! `postcard-described`) for types that may need it (`is_undescribed` there decides which).
//!
//! **Writing.** Bytes are appended to a vector ([`Tail`]). A large piece is written only if memory
//! can be allocated for it. One that is on offer (`scope`) is left out instead, and an empty string
//! is written. A `vector` of numbers is written and read in one piece. A value that is
//! nothing but a large array is left out without a copy ([`encode_own`]).
//!
//! **Reading.** [`ByteSource`], the source of the bytes, also checks how deep the recursion is
//! (`depth_limit`). A value that would need more stack than this thread has is a codec error: in a
//! worker that of the item, in the parent that of the result. The writer of a description checks
//! the same; types without one do not recurse.
//!
//! **Rejected.** A limit on the number of levels: one level takes tens of bytes of stack or
//! thousands, and stacks differ. A stack that grows (`stacker`): then the destructor of the value
//! would overflow another stack.
//!
//! Tests: below; `tests/process/deep.rs`, `tests/process/described.rs`; every test that sends
//! something.

use postcard::{Error, Result};
use postcard::{de_flavors, ser_flavors};
use postcard_described as described;
use postcard_described::{Encoded, is_number, is_undescribed};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::depth_limit::Depth;
use super::lent_arrays::is_large;
use super::raw_plain::Array;
use super::reason;
use super::scope::{self, Encoding};
use super::vector;
use crate::sys::large_pages;
use crate::task::{CodecDirection, CodecError, TaskError};
use trefoil_os::host::free_memory;

/// Slices from this length on are copied by `memcpy`. (Calling it for three bytes costs more than
/// encoding them.)
const LONG: usize = 16;

/// Pieces of this size or more are not copied before memory for them is known to be there.
const LARGE: usize = 64 << 20;

/// Appends `value` to `out`, and puts what travels with it into `encoding`.
#[inline]
pub(crate) fn encode<T: Serialize + 'static>(
    value: &T,
    out: &mut Vec<u8>,
    encoding: &mut Option<Box<Encoding>>,
) -> Result<()> {
    if is_number::<T>() {
        let output = Tail(out);
        return value.serialize(&mut postcard::Serializer { output });
    }
    if !is_undescribed::<T>() {
        return describe(value, out, encoding);
    }
    scope::encoding(encoding, || {
        let output = Tail(out);
        let mut serializer = postcard::Serializer { output };
        match vector::memory(value) {
            Some((count, memory)) => {
                count.serialize(&mut serializer)?;
                ser_flavors::Flavor::try_extend(&mut serializer.output, memory)
            }
            None => value.serialize(&mut serializer),
        }
    })
}

/// Like [`encode`], for a value that is not needed any more: if it is one large array, that may be
/// moved out of it.
#[inline]
pub(crate) fn encode_own<T: Serialize + 'static>(
    value: &mut T,
    out: &mut Vec<u8>,
    encoding: &mut Option<Box<Encoding>>,
) -> Result<()> {
    if let Some(whole) = vector::whole(value)
        && let Some(own) = encoding
    {
        leave_out_whole(whole, out.len(), own)?;
    }
    encode(value, out, encoding)
}

/// Moves a large array out of the value that is about to be written at `start`, and leaves an empty
/// one there.
#[inline(never)]
fn leave_out_whole(whole: &mut dyn Array, start: usize, own: &mut Encoding) -> Result<()> {
    let length = whole.bytes().len();
    if length >= LARGE {
        free_memory::check(length).map_err(|error| no_memory(length, &error))?;
    }
    if is_large(whole.bytes()) {
        own.leave_out_whole(whole, start + 1); // after the length, which is 0 then
    }
    Ok(())
}

/// The error for a piece of `length` bytes; sets the reason.
#[cold]
fn no_memory(length: usize, error: &dyn std::fmt::Display) -> Error {
    reason::set(&format!("{length} bytes of it in one piece: {error}"));
    Error::SerializeBufferFull
}

/// The part of `encode` for a type that is not known to be plain.
fn describe<T: Serialize + ?Sized>(
    value: &T,
    out: &mut Vec<u8>,
    encoding: &mut Option<Box<Encoding>>,
) -> Result<()> {
    let mut description = std::mem::take(&mut encoding.get_or_insert_default().description);
    let written = scope::encoding(encoding, || {
        let written = described::write(value, Tail(&mut *out), &mut description, Depth::here());
        written.map_err(refused)
    });
    if written.is_ok() {
        out.extend_from_slice(description.bytes());
    }
    encoding.get_or_insert_default().description = description;
    written
}

#[cold]
fn refused(error: described::Error) -> Error {
    match error {
        described::Error::Codec(error) => error,
        error => {
            reason::set(&worded(error));
            Error::SerdeSerCustom
        }
    }
}

/// The text of an error. Our own message is complete.
fn worded(error: described::Error) -> String {
    match error {
        described::Error::Serialize(message) | described::Error::Deserialize(message)
            if reason::take().as_deref() == Some(&*message) =>
        {
            message
        }
        error => error.to_string(),
    }
}

/// Does something with a slice, whose length is a constant there if it is a number's: 1 to 10, or
/// for a float 4 or 8. Then a copy is an instruction or two; with any other length it is a call.
macro_rules! with_short {
    ($bytes:ident => $do:expr) => {
        with_short!(@ $bytes, $do; 1 2 3 4 5 6 7 8 9 10)
    };
    (@ $bytes:ident, $do:expr; $($length:literal)*) => {
        match $bytes.len() {
            $($length => {
                if let Some($bytes) = $bytes.first_chunk::<$length>() {
                    $do;
                }
            })*
            _ => $do,
        }
    };
}

/// The most bytes that a number takes ([`is_number`]).
pub(crate) const NUMBER: usize = 10;

/// Writes a number to the front of `out`. Returns how many bytes it takes.
#[inline(always)]
pub(crate) fn write_number<T: Serialize>(number: &T, out: &mut [u8; NUMBER]) -> Result<usize> {
    let output = NumberRoom(out, 0);
    let mut serializer = postcard::Serializer { output };
    number.serialize(&mut serializer)?;
    Ok(serializer.output.1)
}

/// Where a number is written, and how many bytes have been.
struct NumberRoom<'a>(&'a mut [u8; NUMBER], usize);

impl ser_flavors::Flavor for NumberRoom<'_> {
    type Output = usize;

    #[inline(always)]
    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.try_extend(&[byte])
    }

    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<()> {
        let room = &mut self.0[self.1..];
        with_short!(bytes => {
            let room = room.get_mut(..bytes.len());
            room.ok_or(Error::SerializeBufferFull)?
                .copy_from_slice(bytes);
        });
        self.1 += bytes.len();
        Ok(())
    }

    fn finalize(self) -> Result<usize> {
        Ok(self.1)
    }
}

/// Reads a number that takes all of `bytes`.
#[inline(always)]
fn read_number<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    // Built here, so that it is inlined: `take_from_bytes` is a call. (A number does not nest.)
    let source = de_flavors::Slice::new(bytes);
    let mut deserializer = postcard::Deserializer::from_flavor(source);
    let number = T::deserialize(&mut deserializer)?;
    match deserializer.finalize()? {
        [] => Ok(number),
        _ => Err(Error::DeserializeBadEncoding),
    }
}

/// Appends to a vector.
struct Tail<'a>(&'a mut Vec<u8>);

impl Tail<'_> {
    #[inline(never)]
    fn extend_long(&mut self, bytes: &[u8]) -> Result<()> {
        if is_large(bytes) {
            // The length comes before the bytes, with seven bits in a byte.
            let width = (usize::BITS - bytes.len().leading_zeros()).div_ceil(7);
            let start = self.0.len().saturating_sub(width as usize);
            if scope::leave_out(bytes, start + 1) {
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

    /// Makes room for `length` more bytes here, and first checks that the system has memory for
    /// them, which the other side needs, too.
    #[cold]
    fn make_room(&mut self, length: usize) -> Result<()> {
        free_memory::check(length).map_err(|error| no_memory(length, &error))?;
        let reserved = self.0.try_reserve(length);
        reserved.map_err(|error| no_memory(length, &error))
    }
}

impl ser_flavors::Flavor for Tail<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> Result<()> {
        self.0.push(byte);
        Ok(())
    }

    // Inlined always: one byte costs a call as much as a copy.
    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() >= LONG {
            return self.extend_long(bytes);
        }
        with_short!(bytes => self.0.extend_from_slice(bytes));
        Ok(())
    }

    #[inline]
    fn finalize(self) -> Result<()> {
        Ok(())
    }
}

/// Decodes a value, which must use all bytes.
#[inline(always)]
pub(crate) fn decode<T: DeserializeOwned + 'static>(
    bytes: &[u8],
) -> std::result::Result<T, String> {
    if is_number::<T>()
        && let Ok(number) = read_number(bytes)
    {
        return Ok(number);
    }
    drop(reason::take());
    let value = if !is_undescribed::<T>() {
        decode_described(bytes)?
    } else if let Some(value) = vector::read(bytes) {
        value?
    } else {
        let mut deserializer = postcard::Deserializer::from_flavor(ByteSource::new(bytes));
        let value = T::deserialize(&mut deserializer).map_err(explain)?;
        match deserializer.finalize().map_err(explain)? {
            [] => value,
            rest => return Err(described::Error::LeftOver(rest.len()).to_string()),
        }
    };
    if scope::is_unread(bytes) {
        Err(unread())
    } else {
        Ok(value)
    }
}

fn decode_described<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
    let encoded = Encoded::split(bytes);
    let encoded = encoded.ok_or_else(|| explain(Error::DeserializeUnexpectedEnd))?;
    let value = encoded.read(|| ByteSource::new(encoded.data()), Depth::here);
    value.map_err(|error| match error {
        described::Error::Codec(error) => explain(error),
        error => worded(error),
    })
}

#[cold]
fn unread() -> String {
    "its `Serialize` writes a large `Bulk`, and its `Deserialize` reads something else there"
        .to_owned()
}

/// The text of a codec error, with its usual cause.
#[cold]
pub(crate) fn explain(error: Error) -> String {
    let message = reason::take();
    match error {
        Error::SerdeSerCustom | Error::SerdeDeCustom => message.map_or_else(
            || format!("{error} (raised by its `Serialize` or `Deserialize`)"),
            String::from,
        ),
        Error::SerializeBufferFull => message.map_or_else(|| error.to_string(), String::from),
        _ => error.to_string(),
    }
}

/// The error for a value of the type `name` that could not be encoded or decoded.
#[cold]
pub(crate) fn codec_error(name: &'static str, way: CodecDirection, detail: String) -> TaskError {
    TaskError::Codec(Box::new(CodecError::new(name, way, detail)))
}

/// The source of a decoding on this thread: bytes, and a limit for the recursion.
struct ByteSource<'de> {
    left: &'de [u8],
    depth: Depth,
}

impl<'de> ByteSource<'de> {
    #[inline(always)]
    fn new(bytes: &'de [u8]) -> Self {
        Self {
            left: bytes,
            depth: Depth::here(),
        }
    }
}

impl<'de> de_flavors::Flavor<'de> for ByteSource<'de> {
    type Remainder = &'de [u8];
    type Source = &'de [u8];

    #[inline(always)]
    fn pop(&mut self) -> Result<u8> {
        self.depth.check()?;
        let first = self.left.split_off_first();
        first.copied().ok_or(Error::DeserializeUnexpectedEnd)
    }

    #[inline(always)]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.len())
    }

    #[inline(always)]
    fn try_take_n(&mut self, count: usize) -> Result<&'de [u8]> {
        let taken = self.left.split_off(..count);
        taken.ok_or(Error::DeserializeUnexpectedEnd)
    }

    #[inline(always)]
    fn finalize(self) -> Result<&'de [u8]> {
        Ok(self.left)
    }
}

#[cfg(test)]
mod tests {
    use serde::ser::Serializer;

    use super::*;

    #[test]
    fn what_is_written_is_postcards() {
        fn is_postcards<T: Serialize + 'static>(value: &T) {
            let mut out = vec![1, 2];
            encode(value, &mut out, &mut None).unwrap();
            let own = postcard::to_stdvec(value).unwrap();
            assert!(out[2..].starts_with(&own));
            assert_eq!(out.len() == 2 + own.len(), is_undescribed::<T>());
        }
        let value = ((1u64 << 60, [(-3i16, 'ü'); 3]), (), 0.5f64);
        is_postcards(&value);
        for length in 0..40 {
            let text = "x".repeat(length);
            is_postcards(&text);
            is_postcards(&(value, text, Some("long ".repeat(60)), vec![value; length]));
        }
    }

    /// Bytes as `serde_bytes` writes and reads them.
    struct ByteString(Vec<u8>);

    impl Serialize for ByteString {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            serializer.serialize_bytes(&self.0)
        }
    }

    impl<'de> serde::Deserialize<'de> for ByteString {
        fn deserialize<D: serde::Deserializer<'de>>(
            deserializer: D,
        ) -> std::result::Result<Self, D::Error> {
            struct Bytes;
            impl serde::de::Visitor<'_> for Bytes {
                type Value = Vec<u8>;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("bytes")
                }

                fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Vec<u8>, E> {
                    Ok(bytes.to_vec())
                }
            }
            deserializer.deserialize_byte_buf(Bytes).map(Self)
        }
    }

    /// A part of something that is not a `Bulk` is copied, too, and not byte by byte.
    #[cfg(not(any(loom, miri)))]
    #[test]
    fn byte_strings_are_copied() {
        use std::collections::VecDeque;
        use std::time::{Duration, Instant};

        fn best<T: Serialize + DeserializeOwned + 'static>(value: &T) -> Duration {
            let once = || {
                let (begin, mut out) = (Instant::now(), Vec::new());
                encode(value, &mut out, &mut None).unwrap();
                assert!(decode::<T>(&out).is_ok());
                begin.elapsed()
            };
            (0..5).map(|_| once()).min().unwrap_or_default()
        }
        let bytes = vec![200; 1 << 20];
        let by_bytes = best(&(1u8, VecDeque::from(bytes.clone())));
        let strings = best(&(1u8, ByteString(bytes.clone())));
        let vectors = best(&(1u8, Some(bytes)));
        let copied = strings.max(vectors);
        assert!(
            4 * copied < by_bytes,
            "{strings:?}, {vectors:?}, {by_bytes:?}"
        );
    }
}
