//! The values of a builder's settings, and the defaults.
//!
//! An environment variable that is not a width is ignored, with one line on standard error: a
//! typing error in the environment must neither stop the program, nor start a million threads, nor
//! go unnoticed.
//!
//! Tests: `tests/thread/pool.rs` (names, hooks, width).

use std::io::{self, Write};

use crate::sys::fork::PerProcess;
use crate::sys::processors;
use crate::task;
use crate::task::panic::catch;
use crate::task::queue_limit::QueueLimit;

pub(in crate::thread) type ThreadHook = Box<dyn Fn(usize) + Send + Sync>;

pub(in crate::thread) type NameOf = Box<dyn Fn(usize) -> String + Send + Sync>;

pub(in crate::thread) struct Config {
    pub(in crate::thread) threads: usize,
    /// The default number of threads.
    pub(in crate::thread) physical_cores: bool,
    /// So many processors fewer.
    pub(in crate::thread) left_free: usize,
    pub(in crate::thread) name: String,
    pub(in crate::thread) thread_name: Option<NameOf>,
    pub(in crate::thread) stack_size: Option<usize>,
    pub(in crate::thread) on_start: Option<ThreadHook>,
    pub(in crate::thread) on_exit: Option<ThreadHook>,
    pub(in crate::thread) unobserved: Option<task::Hook>,
    pub(in crate::thread) caller_helps: bool,
    pub(in crate::thread) queue_limit: Option<QueueLimit>,
}

/// The usual size of a main thread's stack: recursion that fits there should fit here. Only the
/// used part takes memory.
const STACK: usize = 8 << 20;

/// With less, a thread might not even get as far as the user's code.
const LEAST_STACK: usize = 64 << 10;

impl Default for Config {
    fn default() -> Self {
        Self {
            threads: 0,
            physical_cores: false,
            left_free: 0,
            name: "trefoil".to_owned(),
            thread_name: None,
            stack_size: None,
            on_start: None,
            on_exit: None,
            unobserved: None,
            caller_helps: true,
            queue_limit: None,
        }
    }
}

impl Config {
    /// The name of the thread in this place.
    pub(in crate::thread) fn name_of(&self, place: usize) -> String {
        let named = self.thread_name.as_ref().map(|name| catch(|| name(place)));
        match named {
            Some(Ok(name)) => name.replace('\0', "\u{FFFD}"),
            Some(Err(_)) | None => format!("{}-{place}", self.name),
        }
    }

    /// A worker's stack size.
    pub(in crate::thread) fn stack_bytes(&self) -> usize {
        let asked = || std::env::var("RUST_MIN_STACK").ok()?.parse().ok();
        let bytes = self.stack_size.or_else(asked).unwrap_or(STACK);
        bytes.max(LEAST_STACK)
    }
}

/// The widest pool; the sleep protocol counts threads in fields of 20 bits.
const MAX_WIDTH: usize = 1 << 15;

/// A larger number in the environment is taken for a typing error.
const MOST_ASKED: isize = 1 << 12;

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
        Some(negative @ ..0) => all_but(negative.unsigned_abs() - 1),
        Some(threads) => threads.unsigned_abs(),
    }
}

/// The number in the environment. An absent variable and 0 mean the default, -1 all processors, -2
/// all but one.
fn asked() -> Option<isize> {
    let text = std::env::var_os("TREFOIL_THREADS")?;
    let text = text.to_string_lossy();
    match text.trim().parse() {
        Ok(0) => {}
        Ok(threads @ ..=MOST_ASKED) => return Some(threads),
        _ if text.trim().is_empty() => {}
        _ => {
            static TOLD: PerProcess<()> = PerProcess::new();
            TOLD.inherit_or_init(|| {
                let _no_matter_if_it_is_closed = writeln!(
                    io::stderr(),
                    "trefoil: TREFOIL_THREADS is ignored: `{}` is not a number from 1 to \
                     {MOST_ASKED}, and not -1 (all processors), -2 (all but one) and so on",
                    text.escape_debug()
                );
            });
        }
    }
    None
}
