//! Who waits for a descriptor without a thread or a loop of his own.
//!
//! **Job.** A future that has to wait for an item or for a place may be polled on any runtime.
//! One thread of the process waits for all of them.
//!
//! **Protocol.**
//! 1. [`Ready`], polled first, enters its interest and its waker, rings the thread's bell and
//!    starts the thread if there is none.
//! 2. The thread polls everything that is entered. What is ready, or late, is taken out, and its waker is
//!    called. A [`Ready`] whose entry is gone is done; one that is dropped takes its entry out.
//! 3. With nothing entered the thread waits [`LINGER`] for more and ends. `running` changes only under the
//!    lock, in the same critical section that finds nothing entered.
//!
//! Wakers are strangers' code: they are cloned, called and dropped outside of the lock. Should the system
//! refuse the thread or its bell, waiters are woken at once: they look and ask again.
//!
//! Tests: `tests/process/channel.rs`.

use std::collections::HashMap;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::super::baggage::Parcel;
use super::super::driver::poll_by_parts;
use crate::loom::{Mutex, thread};
use crate::sys::fork::PerProcess;
use crate::sys::poll::poll;
use crate::task::panic;

/// How long the idle thread stays.
const LINGER: Duration = Duration::from_millis(200);

/// Descriptors to wait for.
#[derive(Clone, Debug)]
pub(super) struct Interest {
    /// Until it can be read, or its peers are gone.
    reads: Arc<Parcel>,
    /// Until its peers are gone.
    ends: Option<Arc<Parcel>>,
}

impl Interest {
    pub(super) fn new(reads: Arc<Parcel>, ends: Option<Arc<Parcel>>) -> Self {
        Self { reads, ends }
    }

    pub(super) fn add_to<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.extend(self.fds().map(|(_, fd)| fd));
    }

    /// What to poll for, and by which name: the same for the same.
    fn fds(&self) -> impl Iterator<Item = (u64, PollFd<'_>)> {
        let reads = (self.reads.id(), PollFd::new(&*self.reads, PollFlags::IN));
        let ends = self.ends.as_ref();
        let ends = ends.map(|ends| (ends.id(), PollFd::new(&**ends, PollFlags::empty())));
        std::iter::once(reads).chain(ends)
    }
}

/// One who waits.
struct Entry {
    interest: Interest,
    until: Option<Instant>,
    waker: Waker,
}

#[derive(Default)]
struct State {
    entries: HashMap<u64, Entry>,
    next: u64,
    running: bool,
}

struct Watch {
    state: Mutex<State>,
    bell: Option<OwnedFd>,
}

fn watch() -> &'static Watch {
    // A forked child has none of its parent's threads.
    static WATCH: PerProcess<Watch> = PerProcess::new();
    WATCH.get_or_init(|| Watch {
        state: Mutex::new(State::default()),
        bell: rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).ok(),
    })
}

impl Watch {
    fn enter(&'static self, interest: Interest, until: Option<Instant>, waker: Waker) -> u64 {
        let mut state = self.state.lock();
        let key = state.next;
        state.next += 1;
        let entry = Entry {
            interest,
            until,
            waker,
        };
        state.entries.insert(key, entry);
        let start = !std::mem::replace(&mut state.running, true);
        drop(state);
        if !start {
            self.ring();
        } else if self.bell.is_none() || !self.start() {
            let mut state = self.state.lock();
            state.running = false;
            let entries = std::mem::take(&mut state.entries);
            drop(state);
            entries
                .into_values()
                .for_each(|entry| panic::contain(|| entry.waker.wake()));
        }
        key
    }

    /// It still waits; from now on with this waker.
    fn refresh(&self, key: u64, waker: &Waker) -> bool {
        let mut fresh = waker.clone();
        let mut state = self.state.lock();
        let entry = state.entries.get_mut(&key);
        let waits = entry.map(|entry| std::mem::swap(&mut entry.waker, &mut fresh));
        drop(state);
        drop(fresh);
        waits.is_some()
    }

    fn leave(&self, key: u64) {
        let entry = self.state.lock().entries.remove(&key);
        if entry.is_some() {
            self.ring(); // the thread has its descriptors open, too
        }
        panic::contain(|| drop(entry));
    }

    fn ring(&self) {
        if let Some(bell) = &self.bell {
            let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
        }
    }

    fn start(&'static self) -> bool {
        let thread = thread::Builder::new().name("trefoil-watch".to_owned());
        thread.spawn(|| self.run()).is_ok()
    }

    fn run(&self) {
        let Some(bell) = &self.bell else { return };
        let mut lingered = false;
        loop {
            let state = self.state.lock();
            let waits: Vec<(u64, Interest, Option<Instant>)> = state
                .entries
                .iter()
                .map(|(key, entry)| (*key, entry.interest.clone(), entry.until))
                .collect();
            if waits.is_empty() && lingered {
                let mut state = state;
                state.running = false;
                return;
            }
            drop(state);
            let first = waits.iter().filter_map(|(.., until)| *until).min();
            let limit = match waits.is_empty() {
                true => Some(LINGER),
                false => first.map(|at| at.saturating_duration_since(Instant::now())),
            };
            let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
            // Each descriptor once, however many wait for it: the kernel polls no more than may be open.
            let mut places = HashMap::new();
            let mut needs = Vec::with_capacity(waits.len());
            for (key, interest, _) in &waits {
                for (name, fd) in interest.fds() {
                    let place = *places.entry(name).or_insert_with(|| {
                        fds.push(fd);
                        fds.len() - 1
                    });
                    needs.push((*key, place));
                }
            }
            let timeout = limit;
            let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
            let count = match poll(&mut fds, limit.as_ref()) {
                Err(Errno::INVAL) => poll_by_parts(&mut fds, timeout),
                count => count,
            };
            lingered = waits.is_empty() && count == Ok(0);
            if count.is_ok() && !fds[0].revents().is_empty() {
                let _ = rustix::io::read(bell, &mut [0; 8]);
            }
            let now = Instant::now();
            let happened = |place: usize| count.is_ok() && !fds[place].revents().is_empty();
            let ready = needs.iter().filter(|(_, place)| happened(*place));
            let late = waits
                .iter()
                .filter(|(.., until)| until.is_some_and(|at| at <= now));
            let done: Vec<u64> = ready
                .map(|(key, _)| *key)
                .chain(late.map(|(key, ..)| *key))
                .collect();
            let mut state = self.state.lock();
            let done: Vec<Entry> = done
                .iter()
                .filter_map(|key| state.entries.remove(key))
                .collect();
            drop(state);
            drop(fds);
            drop(waits);
            for Entry {
                waker, interest, ..
            } in done
            {
                drop(interest); // first: who is woken may look who is left
                panic::contain(|| waker.wake());
            }
        }
    }
}

/// Done when something may have happened, or it is late.
pub(super) struct Ready {
    interest: Option<Interest>,
    until: Option<Instant>,
    key: Option<u64>,
}

impl Ready {
    pub(super) fn new(interest: Interest, until: Option<Instant>) -> Self {
        Self {
            interest: Some(interest),
            until,
            key: None,
        }
    }
}

impl Future for Ready {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(interest) = self.interest.take() {
            let waker = context.waker().clone();
            self.key = Some(watch().enter(interest, self.until, waker));
            return Poll::Pending;
        }
        match self.key {
            Some(key) if watch().refresh(key, context.waker()) => Poll::Pending,
            _ => {
                self.key = None;
                Poll::Ready(())
            }
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            watch().leave(key);
        }
    }
}
