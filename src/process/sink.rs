//! Where the results of a job go: decoded, and then into a task.
//!
//! The only place on the parent's side that knows the types. It runs on the driver's thread,
//! so `Deserialize` of a result does too; a panic in it is the item's failure.
//!
//! Tests: `tests/process.rs`.

use std::any::type_name;
use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;

use super::baggage;
use super::job::{Sink, Taken};
use super::wire;
use crate::task::{CodecDirection, CodecError, Completer, TaskError, panic};

/// Takes the value records at the front of `bytes`, `most` at most, and hands
/// the bytes of each to `take` until one fails.
#[inline]
pub(crate) fn take_values(
    bytes: &[u8],
    most: usize,
    mut take: impl FnMut(usize, &[u8]) -> Result<(), TaskError>,
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
        }
    });
    if let Err(panic) = whole {
        taken.error = Some(panic.into());
    }
    taken
}

/// Passes over values that nobody wants.
pub(crate) fn skip(bytes: &[u8], most: usize) -> Taken {
    take_values(bytes, most, |_, _| Ok(()))
}

/// Decodes a value, all of it.
#[inline(always)]
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    baggage::fresh();
    // (In place, where the compiler sees it: `take_from_bytes` is a call.)
    let mut deserializer = postcard::Deserializer::from_bytes(bytes);
    let value = T::deserialize(&mut deserializer).map_err(explain)?;
    match deserializer.finalize() {
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

/// The codec's errors, with what usually is behind them.
#[cold]
pub(crate) fn explain(error: postcard::Error) -> String {
    use postcard::Error::{
        SerdeDeCustom, SerdeSerCustom, SerializeBufferFull, SerializeSeqLengthUnknown,
        WontImplement,
    };
    let words = baggage::words();
    match error {
        WontImplement => format!(
            "{error} (the codec does not describe itself: no `untagged`, `deserialize_any`)"
        ),
        SerializeSeqLengthUnknown => {
            format!("{error} (no `flatten`, no iterator of unknown length)")
        }
        SerdeSerCustom | SerdeDeCustom => {
            words.unwrap_or_else(|| format!("{error} (raised by its `Serialize` or `Deserialize`)"))
        }
        SerializeBufferFull => words.unwrap_or_else(|| error.to_string()),
        _ => error.to_string(),
    }
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
    _argument: PhantomData<fn(A)>,
}

impl<A, R> One<A, R> {
    pub(crate) fn new(completer: Completer<R>) -> Self {
        Self {
            completer,
            result: None,
            _argument: PhantomData,
        }
    }
}

impl<A, R> One<A, R> {
    /// How it has ended, and who is to be told.
    pub(crate) fn outcome(
        self,
        failure: Option<TaskError>,
    ) -> (Completer<R>, Result<R, TaskError>) {
        let result = match failure {
            Some(error) => Err(error),
            None => self.result.ok_or(TaskError::Closed),
        };
        (self.completer, result)
    }
}

impl<A: 'static, R: DeserializeOwned + Send + 'static> Sink for One<A, R> {
    fn values(&mut self, _: usize, bytes: &[u8], most: usize) -> Taken {
        take_values(bytes, most, |_, value| {
            self.result = Some(decode(value).map_err(undecodable::<R>)?);
            Ok(())
        })
    }

    fn types(&self) -> (&'static str, &'static str) {
        (type_name::<A>(), type_name::<R>())
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) {
        let (completer, result) = self.outcome(failure);
        completer.complete(result);
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
        let taken = take_values(bytes, most, |_, value| {
            run.push(decode(value).map_err(undecodable::<R>)?);
            Ok(())
        });
        self.close_up();
        taken
    }

    fn types(&self) -> (&'static str, &'static str) {
        (type_name::<A>(), type_name::<R>())
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) {
        let Self {
            completer,
            front,
            behind,
            ..
        } = *self;
        let result = match failure {
            Some(error) => Err(error),
            None if behind.is_empty() => Ok(front),
            None => Err(TaskError::Closed),
        };
        completer.complete(result);
    }
}
