//! A builder's settings, their defaults, and every number of a pool that a user notices.
//!
//! A number is here, and not beside its mechanism, if a change of it changes what a program sees:
//! how many threads there are, how long something takes, what a waiting thread costs. How the items
//! of a `map` are divided is in `thread/map/divide.rs`.
//!
//! A `TREFOIL_THREADS` that is not a width is ignored, with one line on standard error: a typing
//! error in the environment must neither stop the program, nor start a million threads, nor
//! go unnoticed.
//!
//! Tests: `tests/thread/pool.rs::{the_width_follows_the_environment,
//! a_width_can_leave_processors_free}`.

use std::io;
use std::sync::atomic::{AtomicBool as Hint, Ordering}; // no protocol
use std::time::Duration;

use crate::sys::processors;
use crate::sys::stderr;
use crate::sys::ticks;
use crate::task;

pub(in crate::thread) type ThreadHook = Box<dyn Fn(usize) + Send + Sync>;

pub(in crate::thread) type NameOf = Box<dyn Fn(usize) -> Option<String> + Send + Sync>;

pub(in crate::thread) struct Config {
    /// How many threads; 0: the default number.
    pub(in crate::thread) threads: usize,
    /// The number of processors, of which the default is made: the logical ones, or physical cores.
    /// (A function, so that a program that does not ask for cores is linked without looking for
    /// them.)
    pub(in crate::thread) processors: fn() -> usize,
    /// How many processors the default leaves free.
    pub(in crate::thread) left_free: usize,
    pub(in crate::thread) name: String,
    pub(in crate::thread) thread_name: Option<NameOf>,
    pub(in crate::thread) stack_size: Option<usize>,
    pub(in crate::thread) on_start: Option<ThreadHook>,
    pub(in crate::thread) on_exit: Option<ThreadHook>,
    pub(in crate::thread) unobserved: Option<task::Hook>,
    pub(in crate::thread) caller_helps: bool,
    /// No two running threads have the same index.
    pub(in crate::thread) exclusive_indices: bool,
}

// ---- how many threads ----

/// The widest pool; the sleep protocol counts threads in fields of 20 bits.
const MAX_WIDTH: usize = 1 << 15;

/// A larger number in the environment is taken for a typing error.
const MOST_ASKED: usize = 1 << 12;

/// At least this many waiting workers are replaced by spares at once; in a wider pool, as many as
/// it is wide. If more wait, fewer run than the pool is wide, until the stall monitor lets more
/// begin.
pub(in crate::thread) const AT_ONCE: usize = 16;

/// The most spares by which a pool is widened: this many calls of `spawn_blocking` can wait at the
/// same time, besides as many tasks that compute as the pool is wide.
pub(in crate::thread) const MAX_SPARES: usize = 512;

/// For each call of `spawn_blocking` that is seen to wait for the first time, this many more may
/// begin on trust: so a thousand that wait have all begun after some looks, not after a thousand.
pub(in crate::thread) const TRUST: usize = 3;

/// How many items of an `imap` are under way at once in a pool of this width, unless its `buffer`
/// says otherwise. A larger buffer takes memory; with a smaller one, threads that run tiny items
/// wake one another more often.
pub(in crate::thread) fn imap_buffer(width: usize) -> u64 {
    4 * width as u64 + 48
}

/// The usual size of a main thread's stack, in bytes: recursion that fits there should fit here.
/// Only the used part takes memory.
const STACK: usize = 8 << 20;

/// With fewer bytes, a thread might not even get as far as the user's code.
const LEAST_STACK: usize = 64 << 10;

// ---- how long something takes ----

/// How many rounds a worker without work looks for some before it goes to sleep: with at most
/// 700 spin hints and 14 yields, some tens of microseconds. Work that arrives meanwhile needs no
/// wake-up; an idle pool uses no processor after it.
pub(in crate::thread) const SEARCH_ROUNDS: u32 = 16;

/// How long a thread that waits for a join or a scope goes on checking, between yields, before it
/// parks: as long as it may take to wake it on a processor that has gone to sleep.
pub(in crate::thread) const SHORTLY: u64 = 50 * ticks::MICROSECOND;

/// How long a spare sleeps before it ends. A pool whose tasks wait keeps its extra threads for that
/// long.
pub(in crate::thread) const KEEP_SPARE: Duration = Duration::from_secs(5);

/// How long queued work may stand still while a worker waits: the period of the stall monitor, and
/// so the delay after which a call of `spawn_blocking` that waits is noticed. Waits that must look
/// again without being woken (a shutdown, a wait for which the system gives no thread) use the same
/// period.
pub(in crate::thread) const STALL: Duration = Duration::from_millis(10);

/// How many times as long the queues may stand still where the threads' clocks cannot be read and
/// the process computes.
pub(in crate::thread) const BUSY: u32 = 100;

/// How long the only thread that steals sleeps, while joins are too short to be worth a wake-up:
/// the first long half after short ones has a second thread after this time at the latest.
pub(in crate::thread) const THIEF_PAUSE: Duration = Duration::from_millis(1);

/// A half of a join that is shorter than this is not worth a wake-up, which costs as much.
pub(in crate::thread) const TINY_HALF_TICKS: u64 = 2 * ticks::MICROSECOND;

/// A half of a join that is shorter than this is not worth a hand-over to a thread that looks for
/// one already, which costs both threads about as much.
pub(in crate::thread) const SHORTEST_HALF_TICKS: u64 = ticks::MICROSECOND;

// ---- what goes first ----

/// How long a part of a region runs before it gives way to work that a thread from outside waits
/// for. Each time costs two changes of thread, so a shorter slice costs
/// throughput.
pub(in crate::thread) const REGION_SLICE_TICKS: u64 = 10_000 * ticks::MICROSECOND;

/// The pause between two rounds, each of which takes the oldest entry of some deque, although other
/// queues have something: for each deque, the longest that one entry is passed over.
pub(in crate::thread) const ROUND: u64 = 10_000 * ticks::MICROSECOND;

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 0,
            processors: processors::logical,
            left_free: 0,
            name: "trefoil".to_owned(),
            thread_name: None,
            stack_size: None,
            on_start: None,
            on_exit: None,
            unobserved: None,
            caller_helps: true,
            exclusive_indices: false,
        }
    }
}

impl Config {
    /// The name of the thread in this place.
    pub(in crate::thread) fn name_of(&self, place: usize) -> String {
        let own = self.thread_name.as_ref().and_then(|name| name(place));
        own.unwrap_or_else(|| format!("{}-{place}", self.name))
    }

    /// A worker's stack size.
    pub(in crate::thread) fn stack_bytes(&self) -> usize {
        let asked = || std::env::var("RUST_MIN_STACK").ok()?.parse().ok();
        let bytes = self.stack_size.or_else(asked).unwrap_or(STACK);
        bytes.max(LEAST_STACK)
    }
}

/// The number of workers of a pool built with `threads`.
pub(in crate::thread) fn width_of(threads: usize) -> io::Result<usize> {
    match threads {
        0 => Ok(width(processors::logical, 0)),
        1..=MAX_WIDTH => Ok(threads),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{threads} threads: a pool has at most {MAX_WIDTH}"),
        )),
    }
}

/// The number of workers of a pool without that setting: from the environment, otherwise the
/// `processors` except those that are left free.
pub(in crate::thread) fn width(processors: fn() -> usize, left_free: usize) -> usize {
    let all_but = |free| processors().saturating_sub(free).clamp(1, MAX_WIDTH);
    match asked() {
        None => all_but(left_free),
        Some(Asked::AllBut(free)) => all_but(free),
        Some(Asked::Threads(threads)) => threads,
    }
}

/// What the environment asks for.
enum Asked {
    Threads(usize),
    AllBut(usize),
}

/// The number in the environment. An absent variable and 0 mean the default, -1 all processors, -2
/// all but one.
#[allow(clippy::disallowed_types)] // no protocol depends on it
fn asked() -> Option<Asked> {
    let text = std::env::var_os("TREFOIL_THREADS")?;
    let text = text.to_string_lossy();
    let number = text.trim_ascii();
    let negative = number.strip_prefix('-');
    let negative = negative.filter(|rest| !rest.starts_with('+'));
    match negative.unwrap_or(number).parse() {
        Ok(0) => {}
        Ok(number) if negative.is_some() => return Some(Asked::AllBut(number - 1)),
        Ok(threads @ ..=MOST_ASKED) => return Some(Asked::Threads(threads)),
        _ if number.is_empty() => {}
        _ => {
            static TOLD: Hint = Hint::new(false);
            if !TOLD.swap(true, Ordering::Relaxed) {
                let note = format!(
                    "trefoil: TREFOIL_THREADS is ignored: `{text}` is not a number from 1 to \
                     {MOST_ASKED}, and not -1 (all processors), -2 (all but one) and so on\n"
                );
                stderr::write_now(note.as_bytes());
            }
        }
    }
    None
}
