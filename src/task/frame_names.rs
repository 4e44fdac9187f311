//! The names of the functions on a stack: who looks them up, and who waits for that.
//!
//! **Job.** Finding the name of an address reads the program's debug information: seconds of
//! processor time and a hundred megabytes, for a large program. So a helper thread does it, and
//! nobody who prints an error waits for it.
//!
//! **Protocol.** 1. Places are queued when somebody has them looked up ([`Places::wait`]), or asks
//! for their names before that ([`Places::names`], which never waits). One thread exists while
//! there are some. 2. [`Places::wait`] is for helper threads that still hold an error back, while
//! no limit of the caller's counts. It gives up after `LONGEST` (debug information on a disk that
//! does not answer), or at once if the thread has been stuck for so long; the names may come later.
//! 3. When nothing is queued, the thread gives the memory of the debug information back. It keeps
//! the names, up to `MOST_KNOWN` places: a program crashes at few of them, again and again.
//!
//! Rejected: a process of its own, which would give all memory back by itself: it would run the
//! program's `main` up to `init`, and not have the libraries that this process has loaded since.
//!
//! Tests: `tests/process/crashes.rs::names_hold_up_nobody`.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// A module, empty for the executable and `None` for none, and a number in it.
pub(crate) type Place = (Option<String>, u64);

/// What is known of one function at a place.
#[derive(Clone, Debug)]
pub(crate) struct Name {
    pub(crate) function: Option<String>,
    pub(crate) is_cpp: bool,
    pub(crate) file: Option<PathBuf>,
    pub(crate) line: Option<u32>,
}

/// What is known of a place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The function, after those that the compiler has put into it.
    pub(crate) names: Arc<[Name]>,
    /// That of the module, in hexadecimal digits.
    pub(crate) build_id: Option<Arc<str>>,
}

/// The places of a stack, innermost first, and what is known of each.
pub(crate) struct Places {
    pub(crate) all: Vec<Place>,
    names: OnceLock<Vec<Known>>,
    is_queued: crate::loom::atomic::AtomicBool,
}

impl Places {
    pub(crate) fn new(all: Vec<Place>) -> Self {
        Self {
            all,
            names: OnceLock::new(),
            is_queued: crate::loom::atomic::AtomicBool::new(false),
        }
    }

    /// The names, once they have been looked up. Has that done, and does not wait for it.
    pub(crate) fn names(self: &Arc<Self>) -> Option<&[Known]> {
        if self.names.get().is_none() {
            lookup::queue(self);
        }
        self.names.get().map(Vec::as_slice)
    }

    /// Whether somebody should wait for them.
    pub(crate) fn are_unnamed(&self) -> bool {
        self.names.get().is_none()
    }

    /// Waits for the names, as long as that makes sense.
    pub(crate) fn wait(self: &Arc<Self>) {
        lookup::wait(self);
    }
}

mod lookup {
    use crate::loom::atomic::Ordering;
    use std::collections::{HashMap, VecDeque};
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::{Known, Name, Place, Places};
    use crate::blocking_threads::{self, contain};
    use crate::loom::{Condvar, Mutex};
    use crate::sys::fork::PerProcess;
    use crate::sys::{heap, modules};

    /// How long an error is held back for its names.
    const LONGEST: Duration = Duration::from_secs(5);

    /// The names of how many places are kept.
    const MOST_KNOWN: usize = 4096;

    static QUEUE: PerProcess<Lookups> = PerProcess::new();

    #[derive(Default)]
    struct Lookups {
        state: Mutex<State>,
        /// Some have been found, or the thread has ended.
        found: Condvar,
    }

    #[derive(Default)]
    struct State {
        waiting: VecDeque<Arc<Places>>,
        /// Since when the thread has been at the same stack. `None`: there is no thread.
        since: Option<Instant>,
        known: HashMap<Place, Known>,
    }

    /// Has the names looked up.
    pub(super) fn queue(places: &Arc<Places>) {
        if places.is_queued.swap(true, Ordering::Relaxed) {
            return;
        }
        let queue = QUEUE.get_or_init(Lookups::default);
        let mut state = queue.state.lock();
        state.waiting.push_back(places.clone());
        if state.since.is_none() {
            state.since = Some(Instant::now());
            if blocking_threads::start(|| queue.serve()).is_err() {
                state.since = None;
                state.waiting.clear();
                places.is_queued.store(false, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn wait(places: &Arc<Places>) {
        queue(places);
        let queue = QUEUE.get_or_init(Lookups::default);
        let (end, mut is_late) = (Instant::now() + LONGEST, false);
        let mut state = queue.state.lock();
        while !is_late
            && places.names.get().is_none()
            && state.since.is_some_and(|since| since.elapsed() < LONGEST)
        {
            (state, is_late) = queue.found.wait_until(state, end);
        }
    }

    impl Lookups {
        fn serve(&self) {
            let mut state = self.state.lock();
            loop {
                while let Some(places) = state.waiting.pop_front() {
                    state.since = Some(Instant::now());
                    let mut known = std::mem::take(&mut state.known);
                    drop(state);
                    let mut names = Vec::new();
                    contain(|| names.extend(places.all.iter().map(|one| find(one, &mut known))));
                    let _ = places.names.set(names);
                    state = self.state.lock();
                    state.known = known;
                    self.found.notify_all();
                }
                drop(state);
                backtrace::clear_symbol_cache();
                heap::give_back();
                state = self.state.lock();
                if state.waiting.is_empty() {
                    state.since = None;
                    return;
                }
            }
        }
    }

    /// Whether a mangled name is of C++: Rust's older ones look like these, and end with a hash.
    fn is_cpp(name: &[u8]) -> bool {
        let hash = name
            .len()
            .checked_sub(20)
            .and_then(|at| name.get(at..at + 3));
        name.starts_with(b"_Z") && hash != Some(b"17h")
    }

    fn find(place: &Place, known: &mut HashMap<Place, Known>) -> Known {
        if let Some(found) = known.get(place) {
            return found.clone();
        }
        let (module, offset) = place;
        let module = module.as_deref();
        let address = module.and_then(|name| modules::address(name, *offset));
        let mut names = Vec::new();
        if let Some(address) = address {
            // (The crate takes it for the address that a call returns to.)
            let address = std::ptr::without_provenance_mut(address + 1);
            backtrace::resolve(address, |symbol| {
                let name = symbol.name();
                names.push(Name {
                    is_cpp: name.as_ref().is_some_and(|name| is_cpp(name.as_bytes())),
                    function: name.map(|name| format!("{name:#}")),
                    file: symbol.filename().map(Path::to_owned),
                    line: symbol.lineno(),
                });
            });
        }
        let digits = |id: Vec<u8>| {
            id.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        let build_id = module.and_then(modules::build_id).map(digits);
        let found = Known {
            names: names.into(),
            build_id: build_id.map(Into::into),
        };
        if known.len() >= MOST_KNOWN {
            known.clear();
        }
        known.insert(place.clone(), found.clone());
        found
    }
}
