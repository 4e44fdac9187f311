//! The results of a job: how they are decoded, on which thread, and where they go.
//!
//! Only this file, on the parent's side, knows the types of results. Results that take little time
//! to decode, and run no user code, are decoded on the thread that receives them; all others
//! elsewhere ([`CallTypes::decoder`]; `readers`). A panic in a `Deserialize` is the item's failure.
//!
//! They go into a task when all are there ([`One`], [`Collect`]), or to an `imap` as they come
//! ([`Each`]).
//!
//! Tests: below; `tests/process/callers.rs`,
//! `tests/process/pool.rs::codec_errors_name_the_type_and_spare_the_worker`,
//! `tests/process/imap.rs`.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;

use serde::de::DeserializeOwned;

use crate::process::limits::DECODED_ELSEWHERE;
use crate::process::value::bulk::Bulk;
use crate::process::value::codec::{codec_error, decode};
use crate::process::value::lent_arrays::Lending;
use crate::process::value::raw_plain::Plain;
use crate::process::value::vector::for_each_number;
use crate::process::wire;
use crate::sync::channel::Sender;
use crate::sys::{large_pages, ticks};
use crate::task::{CodecDirection, Completer, TaskError, TaskReport, panic};

/// Decoded values: a `Vec` of the job's results.
pub(crate) type Values = Box<dyn Any + Send>;

/// Decodes value records at the front of the bytes, at most the given number; on another thread
/// than the receiving one, only for [`DECODE_TICKS`]. Stops after the first value that cannot be
/// decoded.
pub(crate) type Read = fn(&[u8], usize, DecodingThread) -> (Taken, Values);

/// Where values are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecodingThread {
    /// On the thread that receives them: it takes little time, and runs no user code.
    Receiving,
    /// By a caller, or by a reader (`readers`).
    Other,
}

/// What was decoded.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) used: usize,
    pub(crate) count: usize,
    /// How many of them follow a plain worker's report that their item begins.
    pub(crate) begun: usize,
    /// Why the last of them could not be decoded.
    pub(crate) error: Option<TaskError>,
}

/// Takes value records at the front of `bytes`, at most `most`, and passes the bytes of each to
/// `take` until one fails. Takes the reports between them that an item begins, too: otherwise the
/// results of a plain worker would be decoded, kept and delivered one by one.
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
            let rest = &bytes[taken.used..];
            let (value, length) = match wire::value(rest) {
                Some(value) => value,
                None => {
                    let behind = rest.strip_prefix(&wire::BEGUN);
                    let Some((value, length)) = behind.and_then(wire::value) else {
                        break;
                    };
                    taken.begun += 1;
                    (value, wire::BEGUN.len() + length)
                }
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

/// Skips values that are not wanted.
pub(crate) fn skip(bytes: &[u8], most: usize) -> Taken {
    take_values(bytes, most, |_| Ok(()), || false)
}

/// How long values are decoded, in ticks, before they are handed over.
const DECODE_TICKS: u64 = 1_000 * ticks::MICROSECOND;

/// How many bytes are allocated in advance for values.
const ROOM: usize = 128 << 10;

/// What calls between two types have in common. (Not in each of them, because many may wait.)
pub(crate) struct CallTypes {
    read: Read,
    /// The type of the results.
    pub(crate) result_type: fn() -> TypeId,
    /// The names of the types of argument and result.
    pub(crate) names: fn() -> (&'static str, &'static str),
    /// Decoding takes little time, and runs no user code.
    pub(crate) is_quick: bool,
}

impl CallTypes {
    /// Of calls from `A` to `R`.
    pub(crate) fn of<A, R: DeserializeOwned + Send + 'static>() -> &'static Self {
        if is_quick_type::<R>() {
            &const { Self::new::<A, R>(true) }
        } else {
            &const { Self::new::<A, R>(false) }
        }
    }

    const fn new<A, R: DeserializeOwned + Send + 'static>(is_quick: bool) -> Self {
        Self {
            read: read::<R>,
            result_type: TypeId::of::<R>,
            names: || (type_name::<A>(), type_name::<R>()),
            is_quick,
        }
    }

    /// How and where to decode the values at the front of `bytes`; `lent` is missing in the first.
    #[inline]
    pub(crate) fn decoder(&self, bytes: &[u8], lent: &Lending) -> (Read, DecodingThread) {
        let first = bytes.strip_prefix(&wire::BEGUN).unwrap_or(bytes);
        let long = || wire::value(first).is_some_and(|(value, _)| value.len() > DECODED_ELSEWHERE);
        let is_short =
            lent.is_within(DECODED_ELSEWHERE) && (bytes.len() <= DECODED_ELSEWHERE || !long());
        let thread = if self.is_quick && is_short {
            DecodingThread::Receiving
        } else {
            DecodingThread::Other
        };
        (self.read, thread)
    }
}

/// Whether results of this type are decoded where they are received, unless they are long: the
/// bytes of a value bound the time and the memory that decoding it takes, and only serde's code and
/// this crate's runs. That is so for numbers, text and nothing; pairs of them; `Vec`, `Option` and
/// `Result<_, String>` of one of these; and bulks. Other types are not known here: they may be a
/// user's, or take more memory than their bytes.
pub(crate) fn is_quick_type<R: 'static>() -> bool {
    let this = TypeId::of::<R>();
    for_each_number!(N => {
        if is_one_of::<N>(this) || has_numbers::<N>(this) {
            return true;
        }
    });
    is_one_of::<bool>(this)
        || is_one_of::<char>(this)
        || is_one_of::<String>(this)
        || this == TypeId::of::<Vec<(String, String)>>()
        || this == TypeId::of::<(String, String)>()
        || this == TypeId::of::<Box<str>>()
        // (Not a `Vec` of nothing, whose elements take no bytes.)
        || this == TypeId::of::<()>()
        || this == TypeId::of::<Option<()>>()
        || this == TypeId::of::<Result<(), String>>()
}

/// Whether `this` is numbers of the type `N`, or pairs with one. (A separate function, so that the
/// comparisons are not compiled for each type of results.)
fn has_numbers<N: Plain>(this: TypeId) -> bool {
    this == TypeId::of::<Bulk<N>>()
        || this == TypeId::of::<Vec<Vec<N>>>()
        || this == TypeId::of::<(N, N)>()
        || this == TypeId::of::<Vec<(N, N)>>()
        || this == TypeId::of::<(usize, N)>()
        || this == TypeId::of::<(u64, N)>()
        || this == TypeId::of::<(String, N)>()
}

/// Whether `this` is `T`, or several or perhaps one of it.
fn is_one_of<T: 'static>(this: TypeId) -> bool {
    this == TypeId::of::<T>()
        || this == TypeId::of::<Vec<T>>()
        || this == TypeId::of::<Option<T>>()
        || this == TypeId::of::<Option<Vec<T>>>()
        || this == TypeId::of::<Result<T, String>>()
        || this == TypeId::of::<Result<Vec<T>, String>>()
}

fn read<R: DeserializeOwned + Send + 'static>(
    bytes: &[u8],
    most: usize,
    thread: DecodingThread,
) -> (Taken, Values) {
    // Room for as many values as there may be, but limited in bytes, because a value may take one
    // byte here, and many in memory.
    let room = most.min(bytes.len() / 2).min(ROOM / size_of::<R>().max(1));
    let mut values: Vec<R> = Vec::with_capacity(room);
    let begin = ticks::now();
    let push = |value: &[u8]| {
        values.push(decode(value).map_err(undecodable::<R>)?);
        Ok(())
    };
    let enough = || thread == DecodingThread::Other && ticks::since(begin) > DECODE_TICKS;
    let taken = take_values(bytes, most, push, enough);
    // They may be kept for long, and most of the bytes may have been something else.
    if values.capacity() / 2 > values.len() {
        values.shrink_to_fit();
    }
    (taken, Box::new(values))
}

/// The values that `read` has returned.
pub(crate) fn own<R: 'static>(values: Values) -> Vec<R> {
    values
        .downcast()
        .map_or_else(|_| Vec::new(), |values| *values)
}

#[cold]
pub(crate) fn undecodable<R>(detail: String) -> TaskError {
    codec_error(type_name::<R>(), CodecDirection::DecodeResult, detail)
}

/// Takes the results of one job.
pub(crate) trait Sink: Send {
    /// Takes the results of the items from `index` on. Returns those that are no longer wanted.
    fn put(&mut self, index: usize, values: Values) -> Option<Values>;

    /// Whether it holds values.
    fn holds(&self) -> bool {
        false
    }

    /// The item at `index` has ended in `error`. Called only if items have their own results.
    fn error(&mut self, index: usize, error: TaskError) {
        let _ = index;
        panic::contain(|| drop(error));
    }

    /// Before it is cancelled with its pool: the report of that, if nobody else learns of it.
    fn lost(&self) -> Option<TaskReport> {
        None
    }

    /// All items are settled, or `failure` is the error of the lowest index. Returns the values
    /// that are not part of the result.
    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values>;
}

/// The result of one `spawn`, as it came.
pub(crate) struct One<R>(Completer<R>, Option<Values>);

impl<R> One<R> {
    pub(crate) fn new(completer: Completer<R>) -> Self {
        Self(completer, None)
    }
}

impl<R: Send + 'static> Sink for One<R> {
    fn put(&mut self, _: usize, values: Values) -> Option<Values> {
        self.1.replace(values)
    }

    fn holds(&self) -> bool {
        self.1.is_some()
    }

    fn lost(&self) -> Option<TaskReport> {
        self.0.lost()
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        let Self(completer, values) = *self;
        let (result, unwanted) = match failure {
            Some(error) => (Err(error), values),
            None => {
                let value = values.and_then(|values| own(values).pop());
                (value.ok_or(TaskError::Closed), None)
            }
        };
        completer.complete(result);
        unwanted
    }
}

/// All results of one `map`, in order: those without a gap before them, and runs of others, keyed
/// by the index of the first. (As they came, so that the map is compiled once.)
pub(crate) struct Collect<R> {
    completer: Completer<Vec<R>>,
    front: Vec<R>,
    behind: HashMap<usize, Values>,
}

/// How many bytes are allocated in advance for results.
const ADVANCE: usize = 128 << 20;

impl<R> Collect<R> {
    /// The results of about `count` items.
    pub(crate) fn new(completer: Completer<Vec<R>>, count: usize) -> Self {
        let mut front = Vec::new();
        // Memory that is not used yet costs nothing; and if it is refused, it may not be needed.
        let _ = front.try_reserve(count.min(ADVANCE / size_of::<R>().max(1)));
        large_pages::advise(&mut front);
        Self {
            completer,
            front,
            behind: HashMap::new(),
        }
    }
}

impl<R: Send + 'static> Sink for Collect<R> {
    fn put(&mut self, index: usize, values: Values) -> Option<Values> {
        if index != self.front.len() {
            drop(self.behind.insert(index, values));
            return None;
        }
        let mut next = Some(values);
        while let Some(run) = next {
            self.front.append(&mut own(run));
            next = self.behind.remove(&self.front.len());
        }
        None
    }

    fn holds(&self) -> bool {
        !(self.front.is_empty() && self.behind.is_empty())
    }

    fn lost(&self) -> Option<TaskReport> {
        self.completer.lost()
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        let all = *self;
        if failure.is_none() && all.behind.is_empty() {
            all.completer.complete(Ok(all.front));
            return None;
        }
        let holds = all.holds(); // (Otherwise it is not worth another thread.)
        all.completer
            .complete(Err(failure.unwrap_or(TaskError::Closed)));
        holds.then(|| Box::new((all.front, all.behind)) as Values)
    }
}

/// Results of an `imap`, or why there are no more.
pub(crate) enum Run<R> {
    /// The results of the items from an index on.
    Answers(usize, Vec<Result<R, TaskError>>),
    End(TaskError),
}

/// The results of one `imap`, as they come. Dropping it ends the `imap`.
pub(crate) struct Each<R>(pub(crate) Sender<Run<R>>);

impl<R: Send + 'static> Each<R> {
    /// Returns the run if the `imap` is gone.
    fn send(&self, run: Run<R>) -> Option<Values> {
        let mut unwanted = None;
        // Sending may wake a task, and wakers are user code.
        panic::contain(|| unwanted = self.0.try_send(run).err());
        Some(Box::new(unwanted?))
    }
}

impl<R: Send + 'static> Sink for Each<R> {
    fn put(&mut self, index: usize, values: Values) -> Option<Values> {
        let answers = own(values).into_iter().map(Ok);
        self.send(Run::Answers(index, answers.collect()))
    }

    fn error(&mut self, index: usize, error: TaskError) {
        let unwanted = self.send(Run::Answers(index, vec![Err(error)]));
        panic::contain(|| drop(unwanted));
    }

    fn finish(self: Box<Self>, failure: Option<TaskError>) -> Option<Values> {
        self.send(Run::End(failure?))
    }
}

impl<R> Drop for Each<R> {
    fn drop(&mut self) {
        panic::contain(|| {
            self.0.close();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::LinkedList;
    use std::marker::PhantomData;

    use super::*;

    /// What a plain worker sends while it runs items is one run of values, and takes no more memory
    /// than it needs: not room for all of the frame's items for each of them.
    #[test]
    fn values_between_reports_are_one_run() {
        let value = |number: u8| [wire::VALUE_KIND, 1, number];
        let items = (1..100).flat_map(|number| [wire::BEGUN, value(number)]);
        let bytes = [
            [value(0)].into_iter().chain(items).collect(),
            vec![wire::BEGUN; 1000],
        ];
        let bytes = bytes.concat().concat();
        let (taken, values) = read::<u64>(&bytes, 1 << 16, DecodingThread::Receiving);
        assert_eq!((taken.count, taken.begun, taken.used), (100, 99, 597));
        let values = own::<u64>(values);
        assert!(values.iter().copied().eq(0..100));
        assert!(values.capacity() <= 200, "{}", values.capacity());
        let (taken, _) = read::<u64>(&bytes, 7, DecodingThread::Receiving);
        assert_eq!((taken.count, taken.begun, taken.used), (7, 6, 39));
    }

    #[test]
    fn what_is_quick_to_decode_is_known_by_its_type() {
        struct Theirs;
        let quick = [
            is_quick_type::<()>(),
            is_quick_type::<u64>(),
            is_quick_type::<String>(),
            is_quick_type::<Vec<f32>>(),
            is_quick_type::<Option<Vec<u8>>>(),
            is_quick_type::<Result<(), String>>(),
            is_quick_type::<Result<Vec<u8>, String>>(),
            is_quick_type::<(usize, f64)>(),
            is_quick_type::<Bulk<u8>>(),
        ];
        let slow = [
            is_quick_type::<Theirs>(),
            is_quick_type::<Vec<(u8, Theirs)>>(),
            is_quick_type::<Box<dyn Send>>(),
            is_quick_type::<crate::process::channel::Sender<u8>>(),
            // A few bytes can stand for billions of elements.
            is_quick_type::<Vec<()>>(),
            is_quick_type::<LinkedList<()>>(),
            is_quick_type::<Vec<PhantomData<u8>>>(),
            // A byte can stand for kilobytes.
            is_quick_type::<Vec<Option<[[u128; 32]; 32]>>>(),
        ];
        assert!(quick.iter().all(|is_quick| *is_quick), "{quick:?}");
        assert!(!slow.iter().any(|is_quick| *is_quick), "{slow:?}");
    }

    #[cfg(not(loom))]
    #[test]
    fn a_call_without_a_result_leaves_nothing_to_drop() {
        for has_come in [false, true] {
            let mut sink = Box::new(One::new(Completer::<String>::new().0));
            if has_come {
                assert!(sink.put(0, Box::new(vec![String::new()])).is_none());
            }
            assert_eq!(sink.finish(Some(TaskError::Cancelled)).is_some(), has_come);
        }
    }
}
