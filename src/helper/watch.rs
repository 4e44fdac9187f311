//! Waits for descriptors, for those that have neither a thread nor a loop for it.
//!
//! **Job.** A future that waits for an item of another process may be polled on any runtime; a child that was dropped is
//! to be fetched when it ends. One helper thread waits for all of these.
//!
//! **Protocol.**
//! 1. [`enter`] notes what to wait for, and the waker; it starts the job if it does not run, else it rings the job's bell.
//! 2. The job polls everything that is entered. What is ready, or late, is taken out, and its waker is called. What is not wanted any
//!    longer is taken out by [`Ready`].
//! 3. With nothing entered the job waits [`LINGER`] for more, and ends. `running` changes only under the lock, in the same critical section that finds nothing
//!    entered.
//!
//! Wakers are strangers' code: they are cloned, called and dropped outside of the lock. Should the system refuse the thread, `enter` is
//! an error. Should it refuse the bell, the job looks at what is entered from time to time.
//!
//! Tests: `tests/process/channel.rs`, `tests/event_loop/children.rs`.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};

use super::contain;
use crate::loom::Mutex;
use crate::sys::fork::PerProcess;
use crate::sys::poll::poll_patiently;

/// How long the idle job stays: to start it takes longer than to ring.
const LINGER: Duration = Duration::from_millis(200);

/// How often to look at what no descriptor tells.
pub(crate) const RARELY: Duration = Duration::from_millis(100);

/// A descriptor, open for as long as it is waited for.
pub(crate) type Source = Arc<dyn AsFd + Send + Sync>;

/// Descriptors to wait for, and what for.
#[derive(Clone)]
pub(crate) struct Interest(pub(crate) [Option<(Source, PollFlags)>; 2]);

impl Interest {
    pub(crate) fn fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        let fds = self.0.iter().flatten();
        fds.map(|(source, flags)| PollFd::from_borrowed_fd(source.as_fd(), *flags))
    }
}

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
    /// The job's, while it runs.
    bell: Option<Arc<OwnedFd>>,
}

/// A forked child has none of its parent's threads.
fn state() -> &'static Mutex<State> {
    static STATE: PerProcess<Mutex<State>> = PerProcess::new();
    STATE.get_or_init(Mutex::default)
}

fn ring(bell: Option<Arc<OwnedFd>>) {
    if let Some(bell) = bell {
        let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
    }
}

/// Has `waker` called once one of these is ready, or it is late. An error: there is no thread to wait.
pub(crate) fn enter(interest: Interest, until: Option<Instant>, waker: Waker) -> io::Result<u64> {
    let mut state = state().lock();
    if !state.running {
        super::start(run)?;
        state.running = true;
    }
    let key = state.next;
    state.next += 1;
    let entry = Entry {
        interest,
        until,
        waker,
    };
    state.entries.insert(key, entry);
    let bell = state.bell.clone();
    drop(state);
    ring(bell);
    Ok(key)
}

/// It still waits; from now on with this waker.
fn refresh(key: u64, waker: &Waker) -> bool {
    let mut fresh = waker.clone();
    let mut state = state().lock();
    let entry = state.entries.get_mut(&key);
    let waits = entry.map(|entry| std::mem::swap(&mut entry.waker, &mut fresh));
    drop(state);
    drop(fresh);
    waits.is_some()
}

fn leave(key: u64) {
    let mut state = state().lock();
    let entry = state.entries.remove(&key);
    let bell = state.bell.clone();
    drop(state);
    if entry.is_some() {
        ring(bell); // the job has its descriptors open, too
    }
    contain(|| drop(entry));
}

/// The job.
fn run() {
    let mut bell = None;
    let mut lingers = false;
    loop {
        if bell.is_none() {
            bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .ok()
                .map(Arc::new);
        }
        let mut state = state().lock();
        let idle = state.entries.is_empty();
        if idle && lingers {
            state.running = false;
            state.bell = None;
            return;
        }
        state.bell.clone_from(&bell);
        let waits: Vec<(u64, Interest, Option<Instant>)> = state
            .entries
            .iter()
            .map(|(key, entry)| (*key, entry.interest.clone(), entry.until))
            .collect();
        drop(state);
        let mut fds = Vec::new();
        fds.extend(bell.as_ref().map(|bell| PollFd::new(bell, PollFlags::IN)));
        // Each descriptor once, however many wait for it: the kernel polls no more than may be open.
        let mut places = HashMap::new();
        let mut needs = Vec::with_capacity(waits.len());
        for (key, interest, _) in &waits {
            for ((source, flags), fd) in interest.0.iter().flatten().zip(interest.fds()) {
                let name = (source.as_fd().as_raw_fd(), *flags);
                let place = *places.entry(name).or_insert_with(|| {
                    fds.push(fd);
                    fds.len() - 1
                });
                needs.push((*key, place));
            }
        }
        let first = waits.iter().filter_map(|(.., until)| *until).min();
        lingers = idle;
        let blind = bell.is_none().then(|| Instant::now() + RARELY);
        let idle = idle.then(|| Instant::now() + LINGER);
        let until = first.into_iter().chain(blind).chain(idle).min();
        poll_patiently(
            &mut fds,
            until.map(|at| at.saturating_duration_since(Instant::now())),
        );
        if let Some(bell) = &bell
            && !fds[0].revents().is_empty()
        {
            let _ = rustix::io::read(&**bell, &mut [0; 8]);
        }
        let now = Instant::now();
        let ready = needs
            .iter()
            .filter(|(_, place)| !fds[*place].revents().is_empty());
        let late = waits
            .iter()
            .filter(|(.., until)| until.is_some_and(|at| at <= now));
        let done: Vec<u64> = ready
            .map(|(key, _)| *key)
            .chain(late.map(|(key, ..)| *key))
            .collect();
        let mut state = self::state().lock();
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
            drop(interest); // first: the woken code may look at what is left
            contain(|| waker.wake());
        }
    }
}

/// Done when something may have happened, or it is late.
pub(crate) struct Ready {
    interest: Option<Interest>,
    until: Option<Instant>,
    key: Option<u64>,
}

impl Ready {
    pub(crate) fn new(interest: Interest, until: Option<Instant>) -> Self {
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
            self.key = enter(interest, self.until, context.waker().clone()).ok();
            if self.key.is_none() {
                context.waker().wake_by_ref(); // no thread: it looks and asks again
            }
            return Poll::Pending;
        }
        match self.key {
            Some(key) if refresh(key, context.waker()) => Poll::Pending,
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
            leave(key);
        }
    }
}
