//! How and where results become values again.
//!
//! The only place on the parent's side that knows how to read their types. What takes no time, and
//! runs no user code, is decoded where it is received; everything else elsewhere ([`Decoder`];
//! `readers`). A panic in a `Deserialize` is the item's failure.
//!
//! Tests: below; `tests/process/callers.rs`.

use std::any::{Any, type_name};

use serde::de::DeserializeOwned;

use crate::process::payload::bulk::Bulk;
use crate::process::payload::codec::{codec_error, decode};
use crate::process::payload::known::is_made_of;
use crate::process::payload::shared_buffer::Lending;
use crate::process::wire;
use crate::sys::ticks;
use crate::task::{CodecDirection, TaskError, panic};

/// Decoded values: a `Vec` of the job's results.
pub(crate) type Values = Box<dyn Any + Send>;

/// Decodes the value records at the front of some bytes, so many at most; elsewhere for as long as
/// a slice of time lasts. Stops behind the first that cannot be decoded.
pub(crate) type Read = fn(&[u8], usize, Place) -> (Taken, Values);

/// Where values are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where they are received: that takes no time, and runs no user code.
    Here,
    /// By a caller, or by a reader (`readers`).
    Elsewhere,
}

/// What was decoded.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) used: usize,
    pub(crate) count: usize,
    /// Why the last of them is none.
    pub(crate) error: Option<TaskError>,
}

/// Takes the value records at the front of `bytes`, `most` at most, and hands
/// the bytes of each to `take` until one fails.
#[inline]
pub(crate) fn take_values(
    bytes: &[u8],
    most: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), TaskError>,
    enough: impl Fn() -> bool,
) -> Taken {
    let mut taken = Taken::default();
    let whole = panic::catch(|| {
        while taken.count < most {
            let Some((value, length)) = wire::value(&bytes[taken.used..]) else {
                break;
            };
            taken.used += length;
            taken.count += 1;
            if let Err(error) = take(value) {
                taken.error = Some(error);
                break;
            }
            if enough() {
                break;
            }
        }
    });
    if let Err(panic) = whole {
        taken.error = Some(panic.into());
    }
    taken
}

/// Passes over values that are not wanted.
pub(crate) fn skip(bytes: &[u8], most: usize) -> Taken {
    take_values(bytes, most, |_| Ok(()), || false)
}

/// What is longer is decoded elsewhere, whatever it is. So the driver decodes for a millisecond or
/// a few at most.
const LONG: usize = 64 << 10;

/// Types with longer names are decoded elsewhere. Their length bounds how much nests in them, and
/// so how much memory one byte of a result can stand for: some hundreds of bytes.
const SHORT_NAME: usize = 120;

/// For how long values are decoded until they are handed over.
const SLICE: u64 = 1_000 * ticks::MICROSECOND;

/// How much room is made in advance for values.
const ROOM: usize = 128 << 10;

/// How results of one type are decoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder {
    read: Read,
    /// That takes no time, and runs no user code.
    pub(crate) is_quick: bool,
}

impl Decoder {
    pub(crate) fn new<R: DeserializeOwned + Send + 'static>() -> Self {
        Self {
            read: read::<R>,
            is_quick: is_quick(type_name::<R>()),
        }
    }

    /// The values at the front of `bytes`, of whose first is missing what is `lent`.
    #[inline]
    pub(crate) fn of(self, bytes: &[u8], lent: &Lending) -> (Read, Place) {
        let long = || wire::value(bytes).is_some_and(|(value, _)| value.len() > LONG);
        let is_short = lent.is_within(LONG) && (bytes.len() <= LONG || !long());
        match self.is_quick && is_short {
            true => (self.read, Place::Here),
            false => (self.read, Place::Elsewhere),
        }
    }
}

/// Decoding a type of this name takes a time and a memory that its bytes bound: it runs no code but
/// serde's and ours, is no recursion, and no element takes less than a byte, or much more in memory
/// than that. So it is made of numbers, text, [`Bulk`]s, and of `Vec`, `Option`, `Result`, `Box`
/// and tuples of these, and not of `[T; N]`, nor of other collections. (A name is enough: no other
/// crate's type has one of these, and what comes of a name that lies is a result decoded where it
/// holds up others.)
fn is_quick(name: &str) -> bool {
    let (bulk, _) = type_name::<Bulk<u8>>().split_once('<').unwrap_or_default();
    let known = is_made_of(name, |word| word == bulk);
    // (How many nothings there are, no bytes bound; nor how large a tuple is that may be missing,
    // unless its name is short.)
    let nothings = name.contains("()") && name.contains("Vec<");
    known && !nothings && !name.contains('[') && name.len() <= SHORT_NAME
}

fn read<R: DeserializeOwned + Send + 'static>(
    bytes: &[u8],
    most: usize,
    place: Place,
) -> (Taken, Values) {
    // Room for as many as there may be, but for no more than that many bytes: a value may be a byte
    // here, and large in memory.
    let room = most.min(bytes.len() / 2).min(ROOM / size_of::<R>().max(1));
    let mut values: Vec<R> = Vec::with_capacity(room);
    let begin = ticks::now();
    let push = |value: &[u8]| {
        values.push(decode(value).map_err(undecodable::<R>)?);
        Ok(())
    };
    let enough = || place == Place::Elsewhere && ticks::since(begin) > SLICE;
    let taken = take_values(bytes, most, push, enough);
    (taken, Box::new(values))
}

/// What `read` has given.
pub(crate) fn own<R: 'static>(values: Values) -> Vec<R> {
    values
        .downcast()
        .map_or_else(|_| Vec::new(), |values| *values)
}

#[cold]
pub(crate) fn undecodable<R>(detail: String) -> TaskError {
    codec_error(type_name::<R>(), CodecDirection::DecodeResult, detail)
}

#[cfg(test)]
mod tests {
    use std::collections::LinkedList;
    use std::marker::PhantomData;

    use super::*;

    #[test]
    fn what_is_quick_to_decode_is_known_by_its_name() {
        struct Theirs;
        let quick = [
            type_name::<()>(),
            type_name::<u64>(),
            type_name::<Option<(String, Vec<Vec<f32>>)>>(),
            type_name::<Result<(), Box<str>>>(),
            type_name::<Option<(u8, Vec<Bulk<f64>>)>>(),
        ];
        let slow = [
            type_name::<Theirs>(),
            type_name::<Vec<(u8, Theirs)>>(),
            type_name::<Box<dyn Send>>(),
            type_name::<(Bulk<u8>, Theirs)>(),
            type_name::<crate::process::channel::Sender<u8>>(),
            // A few bytes say that there are billions.
            type_name::<Vec<()>>(),
            type_name::<Vec<(Vec<u8>, ((), ()))>>(),
            type_name::<LinkedList<()>>(),
            type_name::<Vec<PhantomData<u8>>>(),
            // A byte stands for kilobytes.
            type_name::<Vec<Option<[[u128; 32]; 32]>>>(),
        ];
        assert!(type_name::<Option<(u128, u128, u128, u128)>>().len() <= SHORT_NAME);
        assert!(quick.iter().all(|name| is_quick(name)));
        assert!(!slow.iter().any(|name| is_quick(name)));
    }
}
