//! A value as it was sent to a worker, by itself: bytes that can be kept, and decoded later.
//!
//! They are frames of the protocol between a parent and a plain worker (`wire`): everything that
//! lay outside the bytes of the value is before it, as copies. So they are read by the code that
//! reads a stream, which accepts any bytes (W1).
//!
//! Tests: below; `crates/trefoil-capsules`.

use std::any::type_name;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::process::value::attachments::Descriptors;
use crate::process::value::bulk::Bulk;
use crate::process::value::chunk::Piece;
use crate::process::value::codec::decode;
use crate::process::value::copies::{Copies, CopySource, Sources};
use crate::process::value::lent_arrays::Missing;
use crate::process::value::scope::{self, Decoding};
use crate::process::wire::{BatchHead, Frame, Reader};
use crate::task::{CodecDirection, CodecError, panic};

/// What no bytes can hold.
const CHANGES: &str = "an open file, the end of a channel, or memory that an item may write to";

/// The first byte: whether something could not be encoded.
const WHOLE: u8 = 0;
const LACKS: u8 = 1;

/// An argument or a context as it was sent to a worker, with everything that travelled besides
/// ([`Bulk`], [`Shared`](crate::Shared)). Serialized, it can be decoded in another
/// process of a program with this version of the crate, which knows the type.
///
/// Returned by [`FailedItem::argument`](crate::process::FailedItem::argument):
/// [`on_failed_item`](crate::ProcessPoolBuilder::on_failed_item) has an example.
#[derive(Clone)]
pub struct Encoded(Bulk<u8>);

debug!(impl Encoded, self, bytes = self.0.len());

impl Encoded {
    /// The one item of `piece`.
    pub(crate) fn of(piece: &Piece) -> Self {
        let (mut out, mut memory) = (vec![WHOLE], Sources::new());
        if piece.is_uncopyable() {
            out[0] = LACKS; // even if the worker has taken it
        }
        for attachment in piece.attachments() {
            match CopySource::of(&attachment) {
                Ok(source) if attachment.is_fixed() => memory.push((attachment.id, source)),
                _ => out[0] = LACKS,
            }
        }
        let Ok((lent, arrays)) = piece.apart() else {
            return Self([LACKS].into()); // what lends them is gone
        };
        let mut put = |frame: &Frame<'_>, bytes: &[u8]| {
            out.extend_from_slice(&frame.head(bytes.len()));
            out.extend_from_slice(bytes);
        };
        for (id, source) in memory.iter().chain(&arrays) {
            let (of, bytes) = (source.head(*id), &[][..]);
            for part in source.parts() {
                put(&Frame::Copy { of, bytes }, part.bytes());
            }
        }
        let numbers: Vec<u64> = memory.iter().map(|(id, _)| *id).collect();
        if !numbers.is_empty() {
            put(&Frame::Descriptors(numbers), &[]);
        }
        let batch = BatchHead {
            count: 1,
            ..BatchHead::default()
        };
        let items = &[][..];
        put(&Frame::Batch { batch, lent, items }, piece.bytes());
        Self(out.into())
    }

    /// What is missing in it, if something is: it cannot be decoded.
    #[must_use]
    pub fn left_out(&self) -> Option<&'static str> {
        (self.0.first() == Some(&LACKS)).then_some(CHANGES)
    }

    /// The value.
    ///
    /// `A` should be the type that was sent. If it is another, the bytes may not be one of its
    /// values, or be another value: most types are encoded with a description, but not numbers,
    /// tuples and arrays of them, text, and vectors of numbers.
    ///
    /// # Errors
    /// What the `Deserialize` of `A` says, its panic too.
    pub fn decode<A: DeserializeOwned + 'static>(&self) -> Result<A, CodecError> {
        let (mut copies, mut descriptors) = (Copies::default(), Descriptors::default());
        let (mut rest, mut decoded) = (self.0.get(1..).unwrap_or_default(), None);
        while let Ok(Some((frame, length))) = Frame::decode(rest) {
            match frame {
                Frame::Copy { of, bytes } => copies.part(of, bytes),
                Frame::Descriptors(numbers) => descriptors = copies.find(&numbers),
                Frame::Batch { lent, items, .. } => {
                    let bytes = Reader(items).bytes().unwrap_or_default();
                    let missing = Missing::new(&lent, items, None, &mut copies);
                    let mut own = Decoding::new(std::mem::take(&mut descriptors), missing);
                    let value = || panic::catch(|| decode::<A>(bytes));
                    let value = scope::decoding(&mut own, value);
                    decoded = Some(value.unwrap_or_else(|panic| Err(panic.message().to_owned())));
                    break;
                }
                _ => break,
            }
            rest = &rest[length..];
        }
        decoded
            .unwrap_or_else(|| Err("it is incomplete".to_owned()))
            .map_err(|why| {
                let missing = match self.left_out() {
                    None => why,
                    Some(what) => format!("{why} (left out: {what})"),
                };
                CodecError::new(type_name::<A>(), CodecDirection::DecodeArgument, missing)
            })
    }
}

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bulk::deserialize(deserializer).map(Self)
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::process::value::chunk::Chunk;

    fn of<A: Serialize + 'static>(value: &A) -> Encoded {
        let mut chunk = Chunk::new(true).sending_ahead();
        chunk.push(value).unwrap();
        Encoded::of(&Piece::whole(Arc::new(chunk), 0))
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let value = (7u8, "text".to_owned(), Bulk::from(vec![5u64; 100_000]));
        let encoded = of(&value);
        assert!(encoded.decode::<(u8, String, Bulk<u64>)>().unwrap() == value);
        let bytes = postcard::to_stdvec(&encoded).unwrap();
        let again: Encoded = postcard::from_bytes(&bytes).unwrap();
        assert!(again.decode::<(u8, String, Bulk<u64>)>().unwrap() == value);
        assert_eq!(again.left_out(), None);
    }

    /// Any bytes are a value or an error.
    #[test]
    fn bytes_that_were_changed_do_no_harm() {
        let whole = of(&("text".to_owned(), 7u32)).0;
        for at in 0..whole.len() {
            assert!(
                Encoded(whole[..at].into())
                    .decode::<(String, u32)>()
                    .is_err()
            );
            for bit in 0..8 {
                let mut changed = whole.clone();
                changed[at] ^= 1 << bit;
                let _ = Encoded(changed).decode::<(String, u32)>();
            }
        }
    }
}
