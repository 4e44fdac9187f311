//! Arguments and results that nest deeply: which thread encodes, decodes and drops them.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a program, not the crate

use crate::deadline::sample;
use crate::support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::Error;
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{Scratch, Test, note, noted, pool, tests, until};
use trefoil::process::channel;
use trefoil::{PoolError, Process, Shutdown, TaskError};

/// What should take milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

tests! {
    /// Deeper than any stack: the thread that decodes it reports an error, and survives.
    fn what_nests_too_deeply_costs_its_item() {
        const DEEP: u32 = 2_000_000;
        let codec = |result: Result<u32, TaskError>| match result {
            Err(TaskError::Codec(error)) => {
                assert!(error.to_string().contains("nests more deeply"), "{error}");
            }
            other => panic!("{other:?}"),
        };
        let procs = Arc::new(support::patient(2));
        let nest = |depth: u32| Nest(depth, None);
        assert_eq!(procs.spawn(100, nest).join().unwrap().depth(), 100);
        codec(procs.spawn(DEEP, nest).join().map(|nest| nest.depth()));
        codec(procs.spawn(DEEP, nest).join_timeout(LIMIT).map(|nest| nest.depth()));
        codec(procs.spawn(Nest(DEEP, None), |nest: Nest| nest.depth()).join());
        let each: Vec<_> = procs.imap([3, DEEP, 5], nest).collect();
        assert_eq!(each.iter().filter(|result| result.is_ok()).count(), 2);
        codec(procs.map([3, DEEP, 5], nest).map(|all| all.len() as u32));
        // A caller with a small stack.
        let theirs = procs.clone();
        let small = thread::Builder::new().stack_size(128 << 10).spawn(move || {
            for _ in 0..sample(50) {
                codec(theirs.spawn(DEEP, nest).join().map(|nest| nest.depth()));
            }
        });
        small.unwrap().join().unwrap();
        assert_eq!(procs.stats().died, 0);
    }

    /// It is written recursively: an error for the caller, and for the worker that returns it.
    fn what_nests_too_deeply_to_be_written_is_an_error() {
        const DEEP: usize = 100_000;
        let codec = |what: &str, result: Result<usize, TaskError>| match result {
            Err(TaskError::Codec(error)) => {
                let error = error.to_string();
                assert!(error.contains("nests more deeply") && error.contains(what), "{error}");
            }
            other => panic!("{other:?}"),
        };
        let argument = |result| codec("an argument of type `process::deep::Chain` could not be encoded", result);
        let procs = pool(1);
        let depth = |chain: Chain| chain.depth();
        assert_eq!(procs.spawn(Chain::of(100), depth).join().unwrap(), 100);
        argument(procs.spawn(Chain::of(DEEP), depth).join());
        argument(procs.map([Chain::of(1), Chain::of(DEEP)], depth).map(|all| all.len()));
        let mut each = procs.imap([1, DEEP, 2].map(Chain::of), depth);
        assert_eq!(each.next().unwrap().unwrap(), 1);
        argument(each.next().unwrap());
        let with = procs.map_with(&Chain::of(DEEP), [1], |chain: &Chain, n: usize| chain.depth() + n);
        argument(with.map(|all| all.len()));
        let Err(PoolError::Argument(error)) = Process::spawn(Chain::of(DEEP), depth) else { panic!() };
        argument(Err(error));
        if !support::PORT {
            let (sender, receiver) = channel(4).unwrap();
            argument(sender.send_blocking(Chain::of(DEEP)).map(|()| 0));
            sender.send_blocking(Chain::of(5)).unwrap();
            assert_eq!(receiver.recv_blocking().unwrap().depth(), 5);
        } // there are no channels
        let small = thread::Builder::new().stack_size(64 << 10);
        thread::scope(|scope| {
            let all = || (0..20).for_each(|n| argument(procs.spawn(Chain::of(n + 10_000), depth).join()));
            small.spawn_scoped(scope, all).unwrap().join().unwrap();
        });
        let result = procs.spawn(DEEP, Chain::of).join().map(|chain| chain.depth());
        codec("a result of type `process::deep::Chain` could not be encoded", result);
        assert_eq!(procs.spawn(10, Chain::of).join().unwrap().depth(), 10);
        assert_eq!(procs.stats().died, 0);
    }

    /// Deeper than its caller's stack, and taken: whether the caller would decode it depends on how
    /// soon it comes, but that does not decide whether it can be decoded.
    fn a_result_may_nest_more_deeply_than_its_callers_stack() {
        const DEEP: usize = 1_000;
        let procs = pool(1);
        let small = || {
            for n in 0..sample(400) {
                let chain = procs.spawn(DEEP, Chain::of).join();
                let depth = chain.map(|chain| chain.depth());
                assert_eq!(depth.map_err(|error| error.to_string()), Ok(DEEP), "{n}");
                let many = procs.call(Chain::of).map_task([1, DEEP, 2]).join();
                let depths = many.map(|many| many.iter().map(Chain::depth).collect());
                assert_eq!(depths.map_err(|error| error.to_string()), Ok(vec![1, DEEP, 2]), "{n}");
            }
        };
        thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(64 << 10);
            builder.spawn_scoped(scope, small).unwrap().join().unwrap();
        });
    }

    /// Deeper than its caller's stack, and not taken: its destructor does not run there.
    fn an_untaken_result_may_nest_more_deeply_than_its_callers_stack() {
        const DEEP: u32 = 4_000;
        let procs = pool(1);
        let scratch = Scratch::new("deep");
        let later = |(depth, path): (u32, String)| {
            until(|| noted(&path) > 0);
            Nest(depth, None)
        };
        thread::scope(|scope| {
            let small = thread::Builder::new().stack_size(64 << 10);
            let small = small.spawn_scoped(scope, || {
                let [one, two] = [(); 2].map(|()| procs.spawn((DEEP, scratch.text()), later));
                one.detach();
                assert!(two.cancel());
                let fails = procs.call(|n: u32| Nest(n, None)).map_task([DEEP, DEEP, 2_000_000]);
                note(&scratch.text(), 1);
                assert!(matches!(fails.join(), Err(TaskError::Codec(_))));
                until(|| procs.stats().pending == 0);
            });
            small.unwrap().join().unwrap();
        });
        // The caller may decode the last of them, and so end the job, while a pool's thread decodes
        // the first.
        let small = || {
            for n in (0..400u64).step_by(400 / sample(400)) {
                let before = READ.load(Ordering::SeqCst);
                let fails = procs.call(deep).chunk_size(1).map_task([(DEEP, 0), (1, 5 * n % 1_000)]);
                while READ.load(Ordering::SeqCst) == before && !fails.is_finished() {
                    std::hint::spin_loop();
                }
                assert!(matches!(fails.join(), Err(TaskError::Codec(_))));
            }
        };
        thread::scope(|scope| {
            let builder = thread::Builder::new().stack_size(64 << 10);
            builder.spawn_scoped(scope, small).unwrap().join().unwrap();
        });
        // A thread with as much stack as a worker can read it.
        let (tell, told) = mpsc::channel();
        procs.spawn(DEEP, |depth: u32| Nest(depth, None)).on_done(move |nest| tell.send(nest.unwrap().depth()).unwrap());
        assert_eq!(told.recv().unwrap(), DEEP);
        procs.shutdown(Shutdown::Wait);
    }
}

/// Is written and read recursively, and dropped without recursion.
#[derive(Default, Serialize, Deserialize)]
struct Chain(Vec<Chain>);

impl Chain {
    fn of(depth: usize) -> Self {
        (0..depth).fold(Self::default(), |chain, _| Self(vec![chain]))
    }

    fn depth(&self) -> usize {
        let (mut depth, mut chain) = (0, self);
        while let [inner] = &chain.0[..] {
            (depth, chain) = (depth + 1, inner);
        }
        depth
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        while let Some(mut inner) = self.0.pop() {
            self.0 = std::mem::take(&mut inner.0);
        }
    }
}

/// Has the depth that it says once it has been decoded: it is written without recursion, and read
/// recursively.
struct Nest(u32, Option<Box<Nest>>);

impl Nest {
    fn depth(&self) -> u32 {
        let (mut depth, mut inner) = (0, &self.1);
        while let Some(nest) = inner {
            (depth, inner) = (depth + 1, &nest.1);
        }
        depth
    }
}

impl Serialize for Nest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0 as usize + 1)?;
        (0..self.0).try_for_each(|_| tuple.serialize_element(&1u8))?;
        tuple.serialize_element(&0u8)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Nest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::deserialize(deserializer).map(|inner| Self(0, inner))
    }
}

/// How many of these have been decoded.
static READ: AtomicUsize = AtomicUsize::new(0);

/// Counts that it was decoded, if it is deeper than one.
#[derive(Serialize)]
struct Counted(Nest);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let nest = Nest::deserialize(deserializer)?;
        if nest.depth() == 1 {
            return Err(D::Error::custom("it is shallow"));
        }
        READ.fetch_add(1, Ordering::SeqCst);
        Ok(Self(nest))
    }
}

/// Returns it after so many microseconds.
fn deep((depth, micros): (u32, u64)) -> Counted {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
    Counted(Nest(depth, None))
}
