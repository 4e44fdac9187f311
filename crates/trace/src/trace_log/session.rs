//! One recording: its threads, their logs, and its clock.
//!
//! **Job.** This file does steps 1 to 3 of the parent module.
//!
//! **Clock.** The processor's counter ([`ticks`]), if the kernel itself uses it as its clock, which
//! it does only while the counters of all processors agree; otherwise the system's clock, which
//! costs twice as much. The counter's rate is computed from the moments of start and stop, which
//! are read from both.
//!
//! **Budget.** Threads reserve room in advance ([`ROOM`]), from one counter for all of them, so
//! that they seldom contend for it.
//!
//! The word and the number of the next recording live as long as the process, and only the protocol
//! of the parent module depends on them.
//!
//! Tests: below, `tests/trace/`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
// A word and counters: no protocol.
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::time::Instant;

use super::event::{Event, Role, What};
use crate::loom::{Mutex, per_thread, thread};
use crate::sys::fork::{self, PerProcess};
use crate::sys::{thread_id, ticks};

/// The number of the running recording; 0: none.
static WORD: AtomicU64 = AtomicU64::new(0); // no protocol

/// The recording of this process.
static CURRENT: PerProcess<Mutex<Option<Arc<Session>>>> = PerProcess::new();

/// How many events a thread reserves at once.
const ROOM: usize = 128;

/// The running recording; 0: none. Without the feature it is always 0.
#[inline(always)]
fn number() -> u64 {
    match cfg!(feature = "trace") {
        true => WORD.load(Relaxed),
        false => 0,
    }
}

/// Whether there is a running recording.
#[inline(always)]
pub fn is_on() -> bool {
    number() != 0
}

#[inline(always)]
pub(super) fn note(what: impl FnOnce() -> What) {
    let number = number();
    if number != 0 {
        write(number, |own| own.write(what()));
    }
}

/// Notes that a task has, or gets, this name.
#[inline(always)]
pub fn named(task: u64, name: &str) {
    let number = number();
    if number != 0 {
        write(number, |own| own.name(task, name));
    }
}

/// A recording, running or stopped.
pub(crate) struct Session {
    number: u64,
    clock: Clock,
    /// How many more events there is room for.
    left: AtomicUsize, // no protocol
    /// The logs of all threads.
    logs: Mutex<Vec<Arc<Mutex<Log>>>>,
}

/// One thread's part of a recording.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// The thread's role.
    pub(crate) name: Option<String>,
    pub(crate) os_id: u32,
    /// The events, in the order in which they happened.
    pub(crate) events: Vec<Event>,
    /// The names of tasks.
    pub(crate) names: HashMap<u64, Box<str>>,
    /// How many events there was no room for.
    pub(crate) lost: u64,
}

/// The clock: the processor's counter, if the kernel uses it, or the system's clock.
struct Clock {
    start: Instant,
    /// The counter's value at the start, if the kernel uses the counter.
    counter: Option<u64>,
}

impl Clock {
    fn start() -> Self {
        const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
        let source = std::fs::read_to_string(SOURCE).unwrap_or_default();
        let trusted = cfg!(target_arch = "x86_64") && source.trim() == "tsc";
        Self {
            start: Instant::now(),
            counter: trusted.then(ticks::now),
        }
    }

    #[inline]
    fn now(&self) -> u64 {
        match self.counter {
            Some(_) => ticks::now(),
            None => self.start.elapsed().as_nanos() as u64,
        }
    }
}

/// Returns a function that converts ticks to nanoseconds from the start of a recording of this
/// length, which began and ended at these ticks. Later ticks are cut at the end: a thread may have
/// written a little more, or the counter may have jumped.
fn scale(start: u64, stop: u64, length: u64) -> impl Fn(u64) -> u64 {
    let each = length as f64 / stop.saturating_sub(start).max(1) as f64;
    move |ticks| ((ticks.saturating_sub(start) as f64 * each) as u64).min(length)
}

/// Begins a recording of at most `limit` events. `None`: one is running already.
pub(crate) fn start(limit: usize) -> Option<Arc<Session>> {
    // Numbers begin at 1. A forked child's recordings have other numbers than its parent's.
    static NEXT: AtomicU64 = AtomicU64::new(1); // no protocol
    register_fork_handler();
    let mut current = CURRENT.get_or_init(|| Mutex::new(None)).lock();
    if current.is_some() {
        return None;
    }
    let session = Arc::new(Session {
        number: NEXT.fetch_add(1, Relaxed),
        clock: Clock::start(),
        left: AtomicUsize::new(limit),
        logs: Mutex::new(Vec::new()),
    });
    *current = Some(Arc::clone(&session));
    WORD.store(session.number, Relaxed);
    Some(session)
}

fn register_fork_handler() {
    static REGISTERED: AtomicBool = AtomicBool::new(false); // no protocol
    fork::register_handler();
    if !REGISTERED.swap(true, Relaxed) {
        fork::in_child(forget);
    }
}

/// Runs in a forked child, and changes only the word (Y30).
extern "C" fn forget() {
    WORD.store(0, Relaxed);
}

impl Session {
    /// Ends the recording. The first call returns what each thread has written, with times in
    /// nanoseconds from the start, and the duration.
    pub(crate) fn stop(&self) -> (Vec<Log>, u64) {
        let ended = WORD.compare_exchange(self.number, 0, Relaxed, Relaxed);
        if ended.is_err() {
            // The recording has ended already, or this is a forked child, where its locks may be
            // held for ever.
            return Default::default();
        }
        *CURRENT.get_or_init(|| Mutex::new(None)).lock() = None;
        let length = self.clock.start.elapsed().as_nanos() as u64;
        let nanos = scale(self.clock.counter.unwrap_or(0), self.clock.now(), length);
        let logs = std::mem::take(&mut *self.logs.lock());
        let mut logs: Vec<Log> = logs
            .iter()
            .map(|log| std::mem::take(&mut *log.lock()))
            .collect();
        for log in &mut logs {
            let mut before = 0;
            for event in &mut log.events {
                event.at = nanos(event.at).max(before);
                before = event.at;
            }
        }
        (logs, length)
    }

    /// Takes room for some events from the budget, or the rest of it.
    fn reserve(&self, count: usize) -> usize {
        let take = |left: usize| Some(left.saturating_sub(count));
        let left = self.left.fetch_update(Relaxed, Relaxed, take);
        left.map_or(0, |left| left.min(count))
    }
}

/// The recording state of one thread.
struct Here {
    role: Cell<Role>,
    own: RefCell<Option<Own>>,
}

/// The thread's log in the latest recording that it took part in.
struct Own {
    session: Arc<Session>,
    log: Arc<Mutex<Log>>,
    /// How many more events are reserved for this thread.
    room: usize,
}

per_thread! {
    static HERE: Here = Here {
        role: Cell::new(Role::Outside),
        own: RefCell::new(None),
    };
}

/// This thread's previous role, which is restored when this is dropped.
#[must_use]
#[derive(Debug)]
pub struct Before(Role);

impl Drop for Before {
    fn drop(&mut self) {
        replace_role(self.0);
    }
}

/// Sets this thread's role, also for recordings that begin later.
#[inline(always)]
pub fn role(role: Role) -> Before {
    Before(replace_role(role))
}

#[inline(always)]
fn replace_role(role: Role) -> Role {
    if !cfg!(feature = "trace") {
        return role;
    }
    let before = HERE.try_with(|here| here.role.replace(role));
    note(|| What::Is { role });
    before.unwrap_or(Role::Outside)
}

#[cold]
#[inline(never)]
fn write(number: u64, write: impl FnOnce(&mut Own)) {
    // While the thread is ending, nothing is written.
    let _ = HERE.try_with(|here| {
        // A user's allocator may cause an event while one is being written.
        let Ok(mut own) = here.own.try_borrow_mut() else {
            return;
        };
        if own.as_ref().is_none_or(|own| own.session.number != number) {
            *own = Own::enter(number, here.role.get());
        }
        if let Some(own) = &mut *own {
            write(own);
        }
    });
}

impl Own {
    /// Registers this thread's log with the recording, if it is still running.
    #[cold]
    fn enter(number: u64, role: Role) -> Option<Self> {
        let session = CURRENT.get()?.lock().clone()?;
        if session.number != number {
            return None;
        }
        let log = Arc::new(Mutex::new(Log {
            name: thread::current().name().map(str::to_owned),
            os_id: thread_id::mine() as u32,
            ..Log::default()
        }));
        session.logs.lock().push(Arc::clone(&log));
        let room = 0;
        let mut own = Self { session, log, room };
        own.write(What::Is { role });
        Some(own)
    }

    #[inline]
    fn write(&mut self, what: What) {
        let at = self.session.clock.now();
        let mut log = self.log.lock();
        if self.room == 0 {
            self.room = self.session.reserve(ROOM);
        }
        if self.room == 0 {
            log.lost += 1;
            return;
        }
        self.room -= 1;
        log.events.push(Event { at, what });
    }

    /// A name takes the room of two events, or more if it is long.
    fn name(&mut self, task: u64, name: &str) {
        let mut log = self.log.lock();
        let cost = 2 + name.len() / size_of::<Event>();
        if !log.names.contains_key(&task) && self.session.reserve(cost) > 0 {
            log.names.insert(task, name.into());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_jumps_leads_nowhere_else() {
        let nanos = scale(3000, 5000, 1000);
        assert_eq!([2999, 3000, 4000, 5000].map(&nanos), [0, 0, 500, 1000]);
        assert_eq!(nanos(u64::MAX), 1000);
        let back = scale(3000, 10, 1000);
        assert_eq!([0, 3000, 3001, u64::MAX].map(back), [0, 0, 1000, 1000]);
    }

    #[test]
    fn events_and_names_are_kept_while_there_is_room() {
        let mut own = Own {
            session: Arc::new(Session {
                number: u64::MAX,
                clock: Clock::start(),
                left: AtomicUsize::new(ROOM + 10),
                logs: Mutex::new(Vec::new()),
            }),
            log: Arc::default(),
            room: 0,
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
        let lost = 1001 - ROOM as u64;
        assert_eq!((log.events.len(), log.lost), (ROOM, lost));
    }
}
