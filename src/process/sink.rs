//! Where the results of a job go: decoded, and then into a task.
//!
//! The only place on the parent's side that knows the types. What takes no time, and runs nobody's code, is
//! decoded on the driver's thread; everything else elsewhere ([`reader`]; `readers`). A panic in a `Deserialize` is the
//! item's failure.
//!
//! Tests: below; `tests/process/pool.rs`.

use std::any::type_name;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::bulk::Bulk;
use super::codec::decode;
use super::job::{Read, Sink, Taken, Values};
use super::shared_buffer::Lending;
use super::wire;
use crate::sys::ticks;
use crate::task::{CodecDirection, CodecError, Completer, TaskError, panic};

/// Takes the value records at the front of `bytes`, `most` at most, and hands
/// the bytes of each to `take` until one fails.
#[inline]
pub(crate) fn take_values(
    bytes: &[u8],
    most: usize,
    mut take: impl FnMut(usize, &[u8]) -> Result<(), TaskError>,
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
            if let Err(error) = take(taken.count - 1, value) {
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

/// Passes over values that nobody wants.
pub(crate) fn skip(bytes: &[u8], most: usize) -> Taken {
    take_values(bytes, most, |_, _| Ok(()), || false)
}

/// What is longer is decoded elsewhere, whatever it is. So the driver decodes for a millisecond or a few at most.
const LONG: usize = 64 << 10;

/// A name of this length has at most so many numbers that each byte of `Vec<Option<..>>` stands for some hundreds in memory.
const SHORT_NAME: usize = 120;

/// For how long values are decoded until they are handed over.
const SLICE: u64 = 1_000 * ticks::MICROSECOND;

/// See [`Sink::reader`].
#[inline]
pub(crate) fn reader<R: DeserializeOwned + Send + 'static>(
    bytes: &[u8],
    lent: &Lending<'_>,
) -> Option<Read> {
    let long = || wire::value(bytes).is_some_and(|(value, _)| value.len() > LONG);
    let is_short = lent.is_within(LONG) && (bytes.len() <= LONG || !long());
    (!is_short || !is_plain(type_name::<R>())).then_some(read::<R>)
}

/// Decoding a type of this name takes a time and a memory that its bytes bound: it runs nobody's code but serde's and ours, is no
/// recursion, and no element takes less than a byte, or much more in memory than that. So it is made of numbers, text, [`Bulk`]s, and
/// of `Vec`, `Option`, `Result`, `Box` and tuples of these, and not of `[T; N]`, nor of other collections. (A name is enough: nobody
/// else's type has one of these, and what comes of a name that lies is a result decoded where it holds up others.)
fn is_plain(name: &str) -> bool {
    let (bulk, _) = type_name::<Bulk<u8>>().split_once('<').unwrap_or_default();
    let word =
        |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':' || !byte.is_ascii();
    let mut words = name.as_bytes().split(|byte| !word(*byte));
    let known = words.all(|word| match word {
        b"" | b"u8" | b"u16" | b"u32" | b"u64" | b"u128" | b"usize" => true,
        b"i8" | b"i16" | b"i32" | b"i64" | b"i128" | b"isize" => true,
        b"f32" | b"f64" | b"bool" | b"char" | b"str" | b"alloc::string::String" => true,
        b"alloc::vec::Vec" | b"alloc::boxed::Box" => true,
        b"core::option::Option" | b"core::result::Result" => true,
        _ => word == bulk.as_bytes(),
    });
    // (How many nothings there are, no bytes bound; nor how large a tuple is that may be missing, unless its name is short.)
    let nothings = name.contains("()") && name.contains("Vec<");
    known && !nothings && !name.contains('[') && name.len() <= SHORT_NAME
}

fn read<R: DeserializeOwned + Send + 'static>(bytes: &[u8], most: usize) -> (Taken, Values) {
    let mut values: Vec<R> = Vec::new();
    let begin = ticks::now();
    let push = |_, value: &[u8]| {
        values.push(decode(value).map_err(undecodable::<R>)?);
        Ok(())
    };
    let taken = take_values(bytes, most, push, || ticks::since(begin) > SLICE);
    (taken, Box::new(values))
}

/// What `read` has given.
pub(crate) fn own<R: 'static>(values: Values) -> Vec<R> {
    values
        .downcast()
        .map_or_else(|_| Vec::new(), |values| *values)
}

fn unwanted<T: Send + 'static>(holds: bool, values: Option<T>) -> Option<Values> {
    let values: Values = Box::new(values.filter(|_| holds)?);
    Some(values)
}

#[cold]
pub(crate) fn undecodable<R>(detail: String) -> TaskError {
    TaskError::Codec(Box::new(CodecError::new(
        type_name::<R>(),
        CodecDirection::DecodeResult,
        detail,
    )))
}

/// The result of one `spawn`.
pub(crate) struct One<A, R> {
    completer: Completer<R>,
    result: Option<R>,
    /// It was decoded elsewhere.
    foreign: bool,
    _argument: PhantomData<fn(A)>,
}

impl<A, R> One<A, R> {
    pub(crate) fn new(completer: Completer<R>) -> Self {
        Self {
            completer,
            result: None,
            foreign: false,
            _argument: PhantomData,
        }
    }
}

impl<A, R> One<A, R> {
    /// How it has ended, who is to be told, and what nobody wants.
    pub(crate) fn outcome(
        self,
        failure: Option<TaskError>,
    ) -> (Completer<R>, Result<R, TaskError>, Option<R>) {
        let (result, unwanted) = match failure {
            Some(error) => (Err(error), self.result),
            None => (self.result.ok_or(TaskError::Closed), None),
        };
        (self.completer, result, unwanted)
    }
}

impl<A: 'static, R: DeserializeOwned + Send + 'static> Sink for One<A, R> {
    fn values(&mut self, _: usize, bytes: &[u8], most: usize) -> Taken {
        let take = |_, value: &[u8]| {
            self.result = Some(decode(value).map_err(undecodable::<R>)?);
            Ok(())
        };
        take_values(bytes, most, take, || false)
    }

    fn reader(&self, bytes: &[u8], lent: &Lending<'_>) -> Option<Read> {
        reader::<R>(bytes, lent)
    }

    fn take(&mut self, _: usize, values: Values, _: usize) -> Option<Values> {
        self.foreign = true;
        self.result = own(values).pop();
        None
    }

    fn holds(&self) -> bool {
        self.foreign && self.result.is_some()
    }

    fn types(&self) -> (&'static str, &'static str) {
        (type_name::<A>(), type_name::<R>())
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        let holds = self.holds();
        let (completer, result, rest) = self.outcome(failure);
        completer.complete(result);
        unwanted(holds, rest)
    }
}

/// The results of one `map`, in order: those without a gap before them, and runs of others, each
/// by the index of its first.
pub(crate) struct Many<A, R> {
    completer: Completer<Vec<R>>,
    front: Vec<R>,
    behind: BTreeMap<usize, Vec<R>>,
    /// Empty runs, for their memory.
    spares: Vec<Vec<R>>,
    /// Some were decoded elsewhere.
    foreign: bool,
    _argument: PhantomData<fn(A)>,
}

/// How much room is made in advance for results, in bytes.
const ADVANCE: usize = 128 << 20;

/// How many empty runs are kept, and how large each of them may be, in bytes.
const SPARES: usize = 4;
const LARGE: usize = 1 << 20;

impl<A, R> Many<A, R> {
    /// Of about `count` results.
    pub(crate) fn new(completer: Completer<Vec<R>>, count: usize) -> Self {
        let mut front = Vec::new();
        // It costs nothing until it is used; and what is not to be had is not needed yet.
        let _ = front.try_reserve(count.min(ADVANCE / size_of::<R>().max(1)));
        Self {
            completer,
            front,
            behind: BTreeMap::new(),
            spares: Vec::new(),
            foreign: false,
            _argument: PhantomData,
        }
    }

    /// Where the result with this index goes: behind the others of its run.
    fn run(&mut self, index: usize) -> &mut Vec<R> {
        if index == self.front.len() {
            return &mut self.front;
        }
        let before = self.behind.range(..=index).next_back();
        let start = match before {
            Some((start, run)) if start + run.len() == index => *start,
            _ => index,
        };
        let spares = &mut self.spares;
        let spare = || spares.pop().unwrap_or_default();
        self.behind.entry(start).or_insert_with(spare)
    }

    /// Puts to the front what has no gap before it any more.
    fn close_up(&mut self) {
        while let Some(mut run) = self.behind.remove(&self.front.len()) {
            let is_empty = run.is_empty();
            self.front.append(&mut run);
            if self.spares.len() < SPARES && run.capacity() * size_of::<R>() <= LARGE {
                self.spares.push(run);
            }
            if is_empty {
                return;
            }
        }
    }
}

impl<A: 'static, R: DeserializeOwned + Send + 'static> Sink for Many<A, R> {
    fn values(&mut self, index: usize, bytes: &[u8], most: usize) -> Taken {
        let run = self.run(index);
        let push = |_, value: &[u8]| {
            run.push(decode(value).map_err(undecodable::<R>)?);
            Ok(())
        };
        let taken = take_values(bytes, most, push, || false);
        self.close_up();
        taken
    }

    fn reader(&self, bytes: &[u8], lent: &Lending<'_>) -> Option<Read> {
        reader::<R>(bytes, lent)
    }

    fn take(&mut self, index: usize, values: Values, _: usize) -> Option<Values> {
        self.foreign = true;
        self.run(index).append(&mut own(values));
        self.close_up();
        None
    }

    fn holds(&self) -> bool {
        self.foreign && !(self.front.is_empty() && self.behind.is_empty())
    }

    fn types(&self) -> (&'static str, &'static str) {
        (type_name::<A>(), type_name::<R>())
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        let holds = self.holds();
        let Self {
            completer,
            front,
            behind,
            ..
        } = *self;
        let (result, rest) = match failure {
            None if behind.is_empty() => (Ok(front), None),
            failure => (
                Err(failure.unwrap_or(TaskError::Closed)),
                Some((front, behind)),
            ),
        };
        completer.complete(result);
        unwanted(holds, rest)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::LinkedList;

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
        assert!(quick.iter().all(|name| is_plain(name)));
        assert!(!slow.iter().any(|name| is_plain(name)));
    }
}
