//! One recording: who takes part in it, on which sheets, by which clock.
//!
//! **Job.** Steps 1 to 3 of the parent module.
//!
//! **Clock.** The processor's counter ([`ticks`]), where the kernel itself takes its time from it, which it does only
//! while the counters of all processors agree; else the system's clock, which costs twice as much. The counter's rate is
//! found from the moments of start and stop, which are known in both. So whatever the rate, an event is as far from
//! them as it was, to some ten nanoseconds.
//!
//! **Budget.** Sheets are paid for in events, out of one number for all threads. The first one of a thread is small,
//! the following ones are larger: a thread that does little costs little.
//!
//! The word and the number of the next recording live as long as the process, and no protocol but the one told in the
//! parent module depends on them.
//!
//! Tests: `tests/trace/`.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering}; // a word and counters: no protocol
use std::time::Instant;

use super::event::{Event, Role, What};
use super::raw_sheet::{self, Page, Pen};
use crate::loom::{Mutex, per_thread, thread};
use crate::sys::fork::{self, PerProcess};
use crate::sys::ticks;

/// The number of the recording that goes on; 0: none.
static WORD: AtomicU64 = AtomicU64::new(0); // no protocol

/// What goes on in this process.
static CURRENT: PerProcess<Mutex<Option<Arc<Session>>>> = PerProcess::new();

/// How many events fit on a thread's first sheet, and on its largest.
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
    /// Events of threads for which nothing was left from the start.
    lost: AtomicU64, // no protocol
    /// None: it is over.
    logs: Mutex<Option<Vec<Arc<Log>>>>,
}

/// One thread's part of it.
struct Log {
    name: Option<String>,
    os_id: u32,
    sheets: Mutex<Vec<Page<Event>>>,
    names: Mutex<Vec<(u64, Box<str>)>>,
    lost: AtomicU64, // written by its thread alone: no protocol
}

/// What a thread has written.
#[derive(Debug)]
pub(crate) struct Written {
    /// The thread's.
    pub(crate) name: Option<String>,
    pub(crate) os_id: u32,
    /// In the order in which they happened; in nanoseconds from the start.
    pub(crate) events: Vec<Event>,
    pub(crate) names: Vec<(u64, Box<str>)>,
    pub(crate) lost: u64,
}

/// All that was written.
#[derive(Debug, Default)]
pub(crate) struct Yield {
    pub(crate) threads: Vec<Written>,
    /// How long it was, in nanoseconds.
    pub(crate) length: u64,
    pub(crate) lost: u64,
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
        // The one in whose middle the least has happened.
        let looks = (0..8).map(|_| {
            let before = clock.now();
            let instant = Instant::now();
            let took = clock.now().saturating_sub(before);
            (took, before + took / 2, instant)
        });
        let (_, ticks, instant) = looks
            .min_by_key(|(took, ..)| *took)
            .unwrap_or_else(|| (0, clock.now(), Instant::now()));
        Self { instant, ticks }
    }
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
        lost: AtomicU64::new(0),
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
    pub(crate) fn stop(&self) -> Yield {
        if self.born != fork::generation() {
            return Yield::default(); // its locks may be held for ever
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
        let Some(logs) = self.logs.lock().take() else {
            return Yield::default();
        };
        let scale = Scale::between(self.start, stop);
        let threads: Vec<Written> = logs.iter().map(|log| log.written(&scale)).collect();
        let lost = threads.iter().map(|thread| thread.lost).sum::<u64>();
        Yield {
            threads,
            length: scale.length,
            lost: lost + self.lost.load(Ordering::Relaxed),
        }
    }

    /// Takes `count` events out of the budget, or what is left of it.
    fn reserve(&self, count: usize) -> Option<usize> {
        let mut left = self.left.load(Ordering::Relaxed);
        while left > 0 {
            let some = count.min(left);
            match self.left.compare_exchange_weak(
                left,
                left - some,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(some),
                Err(now) => left = now,
            }
        }
        None
    }
}

/// From ticks to nanoseconds.
struct Scale {
    start: u64,
    each: f64,
    length: u64,
}

impl Scale {
    fn between(start: Moment, stop: Moment) -> Self {
        let length = (stop.instant - start.instant).as_nanos() as u64;
        let ticks = stop.ticks.saturating_sub(start.ticks).max(1);
        Self {
            start: start.ticks,
            each: length as f64 / ticks as f64,
            length,
        }
    }

    /// Not behind the end: a thread may have written a little more, or the counter have jumped.
    fn nanos(&self, ticks: u64) -> u64 {
        let nanos = ticks.saturating_sub(self.start) as f64 * self.each;
        (nanos as u64).min(self.length)
    }
}

impl Log {
    fn written(&self, scale: &Scale) -> Written {
        let sheets = std::mem::take(&mut *self.sheets.lock());
        let mut events: Vec<Event> = Vec::new();
        for mut event in sheets.iter().flat_map(Page::read) {
            let before = events.last().map_or(0, |event| event.at);
            event.at = scale.nanos(event.at).max(before);
            events.push(event);
        }
        Written {
            name: self.name.clone(),
            os_id: self.os_id,
            events,
            names: std::mem::take(&mut *self.names.lock()),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

/// A thread's side.
struct Here {
    role: Cell<Role>,
    own: RefCell<Option<Own>>,
}

/// Its place in the latest recording that it took part in.
struct Own {
    number: u64,
    session: Arc<Session>,
    /// None: there was no room for it.
    log: Option<Arc<Log>>,
    pen: Option<Pen<Event>>,
    /// How large the next sheet is.
    next: usize,
    /// The tasks whose names it has noted.
    named: HashSet<u64>,
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
    // Where the thread is about to be gone, nothing is written.
    let _ = HERE.try_with(|here| {
        with_own(here, number, |own| {
            let at = own.session.clock.now();
            own.write(Event { at, what });
        });
    });
}

#[cold]
#[inline(never)]
fn write_name(number: u64, task: u64, name: &str) {
    let _ = HERE.try_with(|here| with_own(here, number, |own| own.name(task, name)));
}

#[inline]
fn with_own(here: &Here, number: u64, f: impl FnOnce(&mut Own)) {
    // An allocator of the user's that does something worth noting, inside of a note.
    let Ok(mut own) = here.own.try_borrow_mut() else {
        return;
    };
    if own.as_ref().is_none_or(|own| own.number != number) {
        *own = Own::enter(number, here.role.get());
    }
    if let Some(own) = &mut *own {
        f(own);
    }
}

impl Own {
    /// Takes part in the recording, if it still goes on.
    #[cold]
    fn enter(number: u64, role: Role) -> Option<Self> {
        let session = CURRENT.get()?.lock().clone()?;
        if session.number != number {
            return None;
        }
        let mut own = Self {
            number,
            log: None,
            pen: None,
            next: LEAST,
            named: HashSet::new(),
            session,
        };
        if let Some(room) = own.session.reserve(LEAST) {
            let (pen, page) = raw_sheet::sheet(room);
            let log = Arc::new(Log {
                name: thread::current().name().map(str::to_owned),
                os_id: rustix::thread::gettid().as_raw_nonzero().get() as u32,
                sheets: Mutex::new(vec![page]),
                names: Mutex::new(Vec::new()),
                lost: AtomicU64::new(0),
            });
            own.session.logs.lock().as_mut()?.push(Arc::clone(&log));
            own.log = Some(log);
            own.pen = Some(pen);
        }
        let at = own.session.clock.now();
        own.write(Event {
            at,
            what: What::Is { role },
        });
        Some(own)
    }

    #[inline]
    fn write(&mut self, event: Event) {
        if !self.pen.as_mut().is_some_and(|pen| pen.write(event)) {
            self.turn_over(event);
        }
    }

    /// The sheet is full.
    #[cold]
    fn turn_over(&mut self, event: Event) {
        let Some(log) = &self.log else {
            self.session.lost.fetch_add(1, Ordering::Relaxed);
            return;
        };
        self.next = (self.next * 2).min(MOST);
        let Some(room) = self.session.reserve(self.next) else {
            let lost = log.lost.load(Ordering::Relaxed);
            return log.lost.store(lost + 1, Ordering::Relaxed);
        };
        let (mut pen, page) = raw_sheet::sheet(room);
        pen.write(event);
        log.sheets.lock().push(page);
        self.pen = Some(pen);
    }

    fn name(&mut self, task: u64, name: &str) {
        if let Some(log) = &self.log
            && !self.named.contains(&task)
            && self.session.reserve(2 + name.len() / EVENT).is_some()
        {
            self.named.insert(task);
            log.names.lock().push((task, name.into()));
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
        let scale = Scale::between(at(3000, 0), at(5000, 1000));
        assert_eq!(
            [2999, 3000, 4000, 5000].map(|t| scale.nanos(t)),
            [0, 0, 500, 1000]
        );
        assert_eq!(scale.nanos(u64::MAX), 1000);
        let back = Scale::between(at(3000, 0), at(10, 1000));
        assert_eq!(
            [0, 3000, 3001, u64::MAX].map(|t| back.nanos(t)),
            [0, 0, 1000, 1000]
        );
    }

    #[test]
    fn names_are_kept_while_there_is_room() {
        let session = Arc::new(Session {
            number: u64::MAX,
            born: fork::generation(),
            start: Moment::now(Clock::Counter),
            clock: Clock::Counter,
            left: AtomicUsize::new(10),
            lost: AtomicU64::new(0),
            logs: Mutex::new(None),
        });
        let (pen, page) = raw_sheet::sheet(1);
        let log = Arc::new(Log {
            name: None,
            os_id: 1,
            sheets: Mutex::new(vec![page]),
            names: Mutex::new(Vec::new()),
            lost: AtomicU64::new(0),
        });
        let mut own = Own {
            number: session.number,
            session,
            log: Some(Arc::clone(&log)),
            pen: Some(pen),
            next: LEAST,
            named: HashSet::new(),
        };
        for task in 0..1000 {
            own.name(task % 500, "name");
        }
        assert_eq!(log.names.lock().len(), 5);
        assert_eq!(own.named.len(), 5, "what there is no room for takes none");
    }
}
