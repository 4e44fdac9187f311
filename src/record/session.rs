//! One recording: which threads take part in it, what they have written, and by which clock.
//!
//! **Job.** Steps 1 to 3 of the parent module.
//!
//! **Clock.** The processor's counter ([`ticks`]), where the kernel itself takes its time from it, which it does only
//! while the counters of all processors agree; else the system's clock, which costs twice as much. The counter's rate is
//! found from the moments of start and stop, which are known in both.
//!
//! **Budget.** Threads pay for room in advance, out of one number for all of them. A thread's first room is small, the
//! following ones are larger, so that threads seldom meet at that number, and one that writes little takes little.
//!
//! The word and the number of the next recording live as long as the process, and no protocol but the one told in the
//! parent module depends on them.
//!
//! Tests: below, `tests/trace/`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering}; // a word and counters: no protocol
use std::time::Instant;

use super::event::{Event, Role, What};
use crate::loom::{Mutex, per_thread, thread};
use crate::sys::fork::{self, PerProcess};
use crate::sys::ticks;

/// The number of the recording that goes on; 0: none.
static WORD: AtomicU64 = AtomicU64::new(0); // no protocol

/// What goes on in this process.
static CURRENT: PerProcess<Mutex<Option<Arc<Session>>>> = PerProcess::new();

/// How many events a thread first pays for, and at most at once.
const LEAST: usize = 1 << 6;
const MOST: usize = 1 << 12;

/// How many bytes of a name cost as much as an event.
const EVENT: usize = size_of::<Event>();

#[inline(always)]
pub(super) fn is_on() -> bool {
    WORD.load(Ordering::Relaxed) != 0
}

#[inline(always)]
pub(super) fn note(what: impl FnOnce() -> What) {
    let number = WORD.load(Ordering::Relaxed);
    if number != 0 {
        write(number, what());
    }
}

#[inline(always)]
pub(super) fn named(task: u64, name: &str) {
    let number = WORD.load(Ordering::Relaxed);
    if number != 0 {
        write_name(number, task, name);
    }
}

/// A recording that goes on, or is over.
pub(crate) struct Session {
    number: u64,
    /// The process, by its forks, that it was started in.
    born: u32,
    start: Moment,
    clock: Clock,
    /// How many events there is room for.
    left: AtomicUsize, // no protocol
    /// What each thread writes. None: it is over.
    logs: Mutex<Option<Vec<Arc<Mutex<Log>>>>>,
}

/// One thread's part of it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The thread's.
    pub(crate) name: Option<String>,
    pub(crate) os_id: u32,
    /// In the order in which they happened; once the recording has stopped, in nanoseconds from its start.
    pub(crate) events: Vec<Event>,
    /// Of tasks.
    pub(crate) names: HashMap<u64, Box<str>>,
    /// Events for which there was no room.
    pub(crate) lost: u64,
}

/// All that was written.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) threads: Vec<Log>,
    /// How long it was, in nanoseconds.
    pub(crate) length: u64,
}

/// Where times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    Counter,
    System(Instant),
}

impl Clock {
    /// The counter, if the kernel trusts it.
    fn choose() -> Self {
        const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let trusted = std::fs::read_to_string(SOURCE);
        if cfg!(target_arch = "x86_64") && trusted.is_ok_and(|source| source.trim() == "tsc") {
            Self::Counter
        } else {
            Self::System(Instant::now())
        }
    }

    #[inline]
    fn now(self) -> u64 {
        match self {
            Self::Counter => ticks::now(),
            Self::System(start) => start.elapsed().as_nanos() as u64,
        }
    }
}

/// A moment by both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    instant: Instant,
    ticks: u64,
}

impl Moment {
    fn now(clock: Clock) -> Self {
        Self {
            instant: Instant::now(),
            ticks: clock.now(),
        }
    }
}

/// How long a recording was in nanoseconds, and what turns ticks into nanoseconds from its start. Those are not behind
/// its end: a thread may have written a little more, or the counter have jumped.
fn scale(start: Moment, stop: Moment) -> (u64, impl Fn(u64) -> u64) {
    let length = (stop.instant - start.instant).as_nanos() as u64;
    let each = length as f64 / stop.ticks.saturating_sub(start.ticks).max(1) as f64;
    let nanos =
        move |ticks: u64| ((ticks.saturating_sub(start.ticks) as f64 * each) as u64).min(length);
    (length, nanos)
}

/// Begins a recording of `limit` events at most. `None`: there is one already.
pub(crate) fn start(limit: usize) -> Option<Arc<Session>> {
    // Numbers begin at 1. Recordings of the parent's have had others than those of a forked child.
    static NEXT: AtomicU64 = AtomicU64::new(1); // no protocol
    watch_forks();
    let mut current = CURRENT.get_or_init(|| Mutex::new(None)).lock();
    if current.is_some() {
        return None;
    }
    let clock = Clock::choose();
    let session = Arc::new(Session {
        number: NEXT.fetch_add(1, Ordering::Relaxed),
        born: fork::generation(),
        start: Moment::now(clock),
        clock,
        left: AtomicUsize::new(limit),
        logs: Mutex::new(Some(Vec::new())),
    });
    *current = Some(Arc::clone(&session));
    WORD.store(session.number, Ordering::Relaxed);
    Some(session)
}

fn watch_forks() {
    static WATCHED: AtomicBool = AtomicBool::new(false); // no protocol
    fork::watch();
    if !WATCHED.swap(true, Ordering::Relaxed) {
        fork::in_child(forget);
    }
}

/// Touches the word only (Y30).
extern "C" fn forget() {
    WORD.store(0, Ordering::Relaxed);
}

impl Session {
    /// Ends it; gives what was written, once.
    pub(crate) fn stop(&self) -> Recorded {
        if self.born != fork::generation() {
            return Recorded::default(); // its locks may be held for ever
        }
        let mut current = CURRENT.get_or_init(|| Mutex::new(None)).lock();
        if current
            .as_ref()
            .is_some_and(|session| session.number == self.number)
        {
            WORD.store(0, Ordering::Relaxed);
            *current = None;
        }
        drop(current);
        let stop = Moment::now(self.clock);
        let logs = self.logs.lock().take().unwrap_or_default();
        let (length, nanos) = scale(self.start, stop);
        let mut threads: Vec<Log> = logs
            .iter()
            .map(|log| std::mem::take(&mut *log.lock()))
            .collect();
        for log in &mut threads {
            let mut before = 0;
            for event in &mut log.events {
                event.at = nanos(event.at).max(before);
                before = event.at;
            }
        }
        Recorded { threads, length }
    }

    /// Takes `count` events out of the budget, or what is left of it.
    fn reserve(&self, count: usize) -> usize {
        let take = |left: usize| Some(left.saturating_sub(count));
        let relaxed = Ordering::Relaxed;
        let left = self.left.fetch_update(relaxed, relaxed, take);
        left.map_or(0, |left| left.min(count))
    }
}

/// A thread's side.
struct Here {
    role: Cell<Role>,
    own: RefCell<Option<Own>>,
}

/// Its place in the latest recording that it took part in.
struct Own {
    session: Arc<Session>,
    log: Arc<Mutex<Log>>,
    /// How many more events are paid for, and how many it will pay for next.
    room: usize,
    next: usize,
}

per_thread! {
    static HERE: Here = Here {
        role: Cell::new(Role::Outside),
        own: RefCell::new(None),
    };
}

/// This thread is this from now on; gives what it was.
pub(super) fn replace_role(role: Role) -> Role {
    let before = HERE.try_with(|here| here.role.replace(role));
    note(|| What::Is { role });
    before.unwrap_or(Role::Outside)
}

#[cold]
#[inline(never)]
fn write(number: u64, what: What) {
    with_own(number, |own| own.write(what));
}

#[cold]
#[inline(never)]
fn write_name(number: u64, task: u64, name: &str) {
    with_own(number, |own| own.name(task, name));
}

#[inline]
fn with_own(number: u64, f: impl FnOnce(&mut Own)) {
    // Where the thread is about to be gone, nothing is written.
    let _ = HERE.try_with(|here| {
        // An allocator of the user's that does something worth noting, inside of a note.
        let Ok(mut own) = here.own.try_borrow_mut() else {
            return;
        };
        if own.as_ref().is_none_or(|own| own.session.number != number) {
            *own = Own::enter(number, here.role.get());
        }
        if let Some(own) = &mut *own {
            f(own);
        }
    });
}

impl Own {
    /// Takes part in the recording, if it still goes on.
    #[cold]
    fn enter(number: u64, role: Role) -> Option<Self> {
        let session = CURRENT.get()?.lock().clone()?;
        if session.number != number {
            return None;
        }
        let log = Arc::new(Mutex::new(Log {
            name: thread::current().name().map(str::to_owned),
            os_id: rustix::thread::gettid().as_raw_nonzero().get() as u32,
            ..Log::default()
        }));
        session.logs.lock().as_mut()?.push(Arc::clone(&log));
        let mut own = Self {
            session,
            log,
            room: 0,
            next: LEAST,
        };
        own.write(What::Is { role });
        Some(own)
    }

    #[inline]
    fn write(&mut self, what: What) {
        let at = self.session.clock.now();
        let mut log = self.log.lock();
        if self.room == 0 {
            self.room = self.session.reserve(self.next);
            self.next = (self.next * 2).min(MOST);
        }
        if self.room == 0 {
            log.lost += 1;
            return;
        }
        self.room -= 1;
        log.events.push(Event { at, what });
    }

    fn name(&mut self, task: u64, name: &str) {
        let mut log = self.log.lock();
        let cost = 2 + name.len() / EVENT;
        if !log.names.contains_key(&task) && self.session.reserve(cost) > 0 {
            log.names.insert(task, name.into());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_counter_that_jumps_leads_nowhere_else() {
        let instant = Instant::now();
        let at = |ticks, nanos| Moment {
            instant: instant + Duration::from_nanos(nanos),
            ticks,
        };
        let (length, nanos) = scale(at(3000, 0), at(5000, 1000));
        assert_eq!(length, 1000);
        assert_eq!([2999, 3000, 4000, 5000].map(nanos), [0, 0, 500, 1000]);
        let (_, nanos) = scale(at(3000, 0), at(5000, 1000));
        assert_eq!(nanos(u64::MAX), 1000);
        let (_, back) = scale(at(3000, 0), at(10, 1000));
        assert_eq!([0, 3000, 3001, u64::MAX].map(back), [0, 0, 1000, 1000]);
    }

    #[test]
    fn events_and_names_are_kept_while_there_is_room() {
        let mut own = Own {
            session: Arc::new(Session {
                number: u64::MAX,
                born: fork::generation(),
                start: Moment::now(Clock::Counter),
                clock: Clock::Counter,
                left: AtomicUsize::new(LEAST + 10),
                logs: Mutex::new(None),
            }),
            log: Arc::default(),
            room: 0,
            next: LEAST,
        };
        own.write(What::Waits);
        for task in 0..1000 {
            own.name(task % 500, "name");
        }
        let names = own.log.lock().names.len();
        assert_eq!(names, 5, "what there is no room for takes none");
        for _ in 0..1000 {
            own.write(What::Waits);
        }
        let log = own.log.lock();
        assert_eq!((log.events.len(), log.lost), (LEAST, 937));
    }
}
