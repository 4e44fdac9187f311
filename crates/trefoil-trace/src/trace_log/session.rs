//! One recording: its threads, their logs, and its clock.
//!
//! **Job.** This file does steps 1 to 3 of the parent module.
//!
//! **Budget.** Threads reserve room in advance ([`ROOM`]), from one counter for all of them, so
//! that they seldom contend for it.
//!
//! The number of the next recording lives as long as the process, and only the protocol of the
//! parent module depends on it.
//!
//! Tests: below; `tests/trace/main.rs::{what_there_is_no_room_for_is_counted,
//! threads_come_and_go_between_recordings}`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize}; // counters: no protocol

use crate::clock::Clock;
use crate::event::{Event, Role, What};
use crate::loom::{Mutex, per_thread, thread};
use crate::role;
use crate::switch;
use crate::sys::fork::PerProcess;
use crate::sys::thread_id;

/// The recording of this process.
static CURRENT: PerProcess<Mutex<Option<Arc<Session>>>> = PerProcess::new();

/// How many events a thread reserves at once.
const ROOM: usize = 128;

/// Writes an event into the recording with this number, if it still runs.
pub(super) fn write_event(number: u64, what: What) {
    write(number, |own| own.write(what));
}

/// Writes a task's name into the recording.
pub(super) fn write_name(number: u64, task: u64, name: &str) {
    write(number, |own| own.name(task, name));
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

impl Log {
    /// Adds these events, with the times to which this changes ticks, in order; `None`: the event
    /// is left out.
    pub(super) fn add(&mut self, events: Vec<Event>, nanos: impl Fn(u64) -> Option<u64>) {
        let mut before = self.events.last().map_or(0, |event| event.at);
        let events = events.into_iter().filter_map(|Event { at, what }| {
            let at = nanos(at)?.max(before);
            before = at;
            Some(Event { at, what })
        });
        self.events.extend(events);
    }
}

/// Begins a recording of at most `limit` events. `None`: one is running already.
pub(crate) fn start(limit: usize) -> Option<Arc<Session>> {
    // Numbers begin at 1. A forked child's recordings have other numbers than its parent's.
    static NEXT: AtomicU64 = AtomicU64::new(1); // no protocol
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
    switch::begin_recording(session.number);
    Some(session)
}

impl Session {
    /// Ends the recording. The first call returns what each thread has written, with times in
    /// nanoseconds from the start, and the duration.
    pub(crate) fn stop(&self) -> (Vec<Log>, u64) {
        if !switch::end_recording(self.number) {
            // The recording has ended already, or this is a forked child, where its locks may be
            // held for ever.
            return Default::default();
        }
        *CURRENT.get_or_init(|| Mutex::new(None)).lock() = None;
        let (length, nanos) = self.clock.elapsed();
        let logs = take(&mut *self.logs.lock());
        let mut logs: Vec<Log> = logs.iter().map(|log| take(&mut *log.lock())).collect();
        for log in &mut logs {
            let events = take(&mut log.events);
            log.add(events, |at| Some(nanos(at)));
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

/// The thread's log in the latest recording that it took part in.
struct Own {
    session: Arc<Session>,
    log: Arc<Mutex<Log>>,
    /// How many more events are reserved for this thread.
    room: usize,
}

per_thread! {
    /// The thread's log in the latest recording that it took part in.
    static HERE: RefCell<Option<Own>> = RefCell::new(None);
}

fn write(number: u64, write: impl FnOnce(&mut Own)) {
    // While the thread is ending, nothing is written.
    let _ = HERE.try_with(|here| {
        // A user's allocator may cause an event while one is being written.
        let Ok(mut own) = here.try_borrow_mut() else {
            return;
        };
        if own.as_ref().is_none_or(|own| own.session.number != number) {
            *own = Own::enter(number, role::current());
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
