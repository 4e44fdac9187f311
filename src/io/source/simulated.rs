//! Sources against a simulated kernel: random readiness, cancellation and drops at every wait.
//!
//! A [`Wire`] is what a kernel keeps for one socket: bytes to be read, room to write, a mark of
//! urgent data, whether the peer has closed, and whether there is an edge to report. It behaves
//! like edge-triggered `epoll`: each change puts the wire on the list of wires to be reported; a
//! report has the state at the moment of the report; and nothing is reported twice. The test
//! decides when and in which order, and adds false reports, and reports for sources that are gone.
//!
//! Actors read and write through real sources on a real loop (`event_loop::simulated`), in every
//! way: awaited, within a timeout, dropped after some polls, both directions at once, cancelled as
//! tasks. Bytes come during operations.
//!
//! Then, when everything was reported and no task can run:
//!
//! - no reader waits for a wire that has something to read, no writer for one that has room;
//! - each byte was read once;
//! - after the wires have closed, every actor ends, and no waiter and no task is left.
//!
//! A run is its seed: a failure names it. Broken on purpose (a short read that always clears, one
//! that is never tried again, an event that wakes only the first waiter or only one direction,
//! readiness that is never set, a waiter that keeps its first waker, shares its number or stays
//! when it is dropped) it fails within the first few dozen.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::{Completed, IoSource};
use crate::event_loop::{Direction, EventLoop, SourceKey, spawn, yield_now};
use crate::sys::poller::Readiness;
use crate::task::{Task, timeout};

const STEPS: u32 = 250;
const CAPACITY: usize = 12;

/// More turns than any run takes to come to rest.
const TURNS: u32 = 100_000;

/// Pseudo-random numbers, the same for each seed.
#[derive(Clone)]
struct Random(Rc<Cell<u64>>);

impl Random {
    fn below(&self, limit: usize) -> usize {
        let mut z = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit as u64) as usize
    }

    fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }
}

struct Wire {
    source: IoSource<OwnedFd>,
    /// A read may stop before it has taken what there is.
    stops: bool,
    random: Random,
    state: RefCell<WireState>,
}

#[derive(Default)]
struct WireState {
    readable: usize,
    /// A read stops before the byte that is so far away.
    mark: Option<usize>,
    closed: bool,
    room: usize,
    /// A write has found no room.
    no_space: bool,
    registered: bool,
    /// There is an edge to report.
    queued: bool,
    arrived: usize,
    got: usize,
}

impl Wire {
    fn new(random: &Random) -> Rc<Self> {
        let quiet = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        Rc::new(Self {
            source: IoSource::new(quiet),
            stops: random.one_in(3),
            random: random.clone(),
            state: RefCell::default(),
        })
    }

    fn key(&self) -> Option<SourceKey> {
        self.source.bound.get()?.key.get().copied()
    }

    fn operate(
        &self,
        direction: Direction,
        wanted: usize,
    ) -> impl Future<Output = io::Result<usize>> + Unpin {
        Box::pin(self.source.operate(direction, move |_| match direction {
            Direction::Read => self.read(wanted),
            Direction::Write => self.write(wanted),
        }))
    }

    // What the kernel does.

    fn arrive(&self, count: usize) {
        let mut state = self.state.borrow_mut();
        if state.closed {
            return;
        }
        if state.mark.is_none() && self.random.one_in(6) {
            state.mark = Some(state.readable);
        }
        state.readable += count;
        state.arrived += count;
        state.queued = true;
    }

    fn drain(&self, count: usize) {
        let mut state = self.state.borrow_mut();
        state.room = CAPACITY.min(state.room + count);
        if std::mem::take(&mut state.no_space) || self.random.one_in(2) {
            state.queued = true;
        }
    }

    fn close(&self) {
        let mut state = self.state.borrow_mut();
        state.closed = true;
        state.queued = true;
    }

    /// Whether there is something to report, such as the registration.
    fn is_queued(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if self.key().is_some() && !state.registered {
            state.registered = true;
            state.queued = true;
        }
        state.registered && state.queued
    }

    fn report(&self, event_loop: &EventLoop) {
        if !self.is_queued() {
            return;
        }
        let ready = {
            let mut state = self.state.borrow_mut();
            state.queued = false;
            let no_edge_follows = state.closed || state.mark.is_some();
            [
                Readiness::new(state.readable > 0, no_edge_follows),
                Readiness::new(state.room > 0, state.closed),
            ]
        };
        event_loop.inject(self.key().expect("it is registered"), ready);
    }

    // System calls.

    fn read(&self, wanted: usize) -> io::Result<Completed<usize>> {
        if self.random.one_in(8) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = {
            let mut state = self.state.borrow_mut();
            let mut count = wanted.min(state.readable);
            if count == 0 {
                return if state.closed {
                    Ok(Completed::Full(0))
                } else {
                    Err(io::ErrorKind::WouldBlock.into())
                };
            }
            if self.stops && self.random.one_in(3) {
                count = 1; // no mark is reported
            }
            match &mut state.mark {
                Some(0) => state.mark = None,
                Some(ahead) => {
                    count = count.min(*ahead);
                    *ahead -= count;
                }
                None => {}
            }
            state.readable -= count;
            state.got += count;
            count
        };
        if self.random.one_in(6) {
            self.arrive(1); // before it can be known that the next read would block
        }
        Ok(Completed::of(wanted, count, !self.stops))
    }

    fn write(&self, wanted: usize) -> io::Result<Completed<usize>> {
        let count = {
            let mut state = self.state.borrow_mut();
            if state.closed {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let count = wanted.min(state.room);
            state.no_space = count < wanted;
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            state.room -= count;
            count
        };
        if self.random.one_in(6) {
            self.drain(1);
        }
        Ok(Completed::of(wanted, count, true))
    }
}

/// Drops the future after so many polls, before or after it was woken.
struct Cut<F> {
    future: F,
    left: usize,
}

impl<F: Future + Unpin> Future for Cut<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        if self.left == 0 {
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut self.future).poll(cx).map(Some)
    }
}

/// Moves bytes one way until the wire has closed.
async fn actor(wire: Rc<Wire>, direction: Direction) {
    let random = wire.random.clone();
    let manners = if random.one_in(3) { 4 } else { 3 };
    loop {
        let wanted = 1 + random.below(6);
        let mut operation = wire.operate(direction, wanted);
        let patience = Duration::from_millis(random.below(20) as u64);
        let moved = match random.below(manners) {
            0 => Some(operation.await),
            1 => timeout(patience, operation).await.ok(),
            2 => {
                let cut = Cut {
                    left: random.below(4),
                    future: operation,
                };
                cut.await
            }
            // Waits for either direction.
            _ => {
                let other = match direction {
                    Direction::Read => Direction::Write,
                    Direction::Write => Direction::Read,
                };
                let mut other = wire.operate(other, wanted);
                let first = poll_fn(|cx| match Pin::new(&mut other).poll(cx) {
                    Poll::Pending => Pin::new(&mut operation).poll(cx),
                    ready => ready,
                });
                Some(first.await)
            }
        };
        match moved {
            None | Some(Ok(1..)) => {}
            Some(Ok(0)) => return,
            Some(Err(error)) => {
                assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
                if direction == Direction::Write {
                    return;
                }
            }
        }
        if random.one_in(3) {
            yield_now().await;
        }
    }
}

struct World {
    event_loop: EventLoop,
    random: Random,
    wires: Vec<Rc<Wire>>,
    actors: Vec<(Rc<Wire>, Direction, Task<()>)>,
    /// The keys of sources that are gone, or about to go.
    gone: Vec<SourceKey>,
}

impl World {
    fn new(seed: u64) -> Self {
        let random = Random(Rc::new(Cell::new(seed)));
        let event_loop = EventLoop::builder().virtual_time().build().unwrap();
        let mut world = Self {
            event_loop,
            random,
            wires: Vec::new(),
            actors: Vec::new(),
            gone: Vec::new(),
        };
        for _ in 0..=world.random.below(3) {
            world.add();
        }
        world
    }

    /// A wire, with one to three actors in each direction.
    fn add(&mut self) {
        let wire = Wire::new(&self.random);
        for direction in [Direction::Read, Direction::Write] {
            for _ in 0..=self.random.below(3) {
                self.start(&wire, direction);
            }
        }
        self.wires.push(wire);
    }

    fn start(&mut self, wire: &Rc<Wire>, direction: Direction) {
        let future = actor(wire.clone(), direction);
        let actors = &mut self.actors;
        self.event_loop.block_on(async {
            actors.push((wire.clone(), direction, spawn(future)));
        });
    }

    fn step(&mut self) {
        let at = self.random.below(self.wires.len());
        let wire = self.wires[at].clone();
        match self.random.below(20) {
            0..=3 => wire.arrive(1 + self.random.below(8)),
            4..=6 => wire.drain(1 + self.random.below(8)),
            7..=10 => wire.report(&self.event_loop),
            11..=14 => {
                let more = self.event_loop.turn_simulated();
                if !more {
                    self.check_waiters();
                }
            }
            15 => {
                let passed = Duration::from_millis(self.random.below(10) as u64);
                self.event_loop.advance(passed);
            }
            16 => {
                if let Some(key) = wire.key() {
                    self.event_loop
                        .inject(key, [Readiness::new(true, false); 2]); // a false report
                }
            }
            17 => {
                let gone = self.gone.len();
                if gone > 0 {
                    let key = self.gone[self.random.below(gone)];
                    // Another source may have its place by now, for which this is a false report.
                    self.event_loop.inject(key, [Readiness::new(true, true); 2]);
                }
            }
            18 => {
                // Another actor replaces one that is cancelled.
                let at = self.random.below(self.actors.len());
                let (wire, direction, task) = self.actors.swap_remove(at);
                task.cancel();
                self.start(&wire, direction);
            }
            _ if self.random.one_in(3) => {
                self.wires.swap_remove(at);
                self.gone.extend(wire.key());
                self.end(&wire);
                drop(wire);
                self.rest(); // its source is gone
                self.add();
            }
            _ => {}
        }
    }

    /// Reports everything that there is to report, until no task can run.
    fn rest(&self) {
        let mut turns = 0;
        loop {
            while self.event_loop.turn_simulated() {
                turns += 1;
                assert!(turns < TURNS, "it does not come to rest");
            }
            let used = self.actors.iter().map(|(wire, ..)| wire);
            let queued: Vec<_> = used.filter(|wire| wire.is_queued()).collect();
            if queued.is_empty() {
                return;
            }
            for wire in queued {
                wire.report(&self.event_loop);
            }
        }
    }

    /// Closes a wire: its actors end.
    fn end(&mut self, wire: &Rc<Wire>) {
        wire.close();
        self.rest();
        let (ended, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.actors)
            .into_iter()
            .partition(|(used, ..)| Rc::ptr_eq(used, wire));
        self.actors = rest;
        for (_, _, task) in ended {
            assert!(task.is_finished(), "its wire has closed");
            task.join().unwrap();
        }
        let state = wire.state.borrow();
        assert_eq!(state.readable, 0, "not all was read");
        assert_eq!(state.got, state.arrived);
    }

    /// When no task can run: each actor that has not ended waits, for two directions at most.
    fn check_waiters(&self) {
        let live = self.actors.iter().filter(|(.., task)| !task.is_finished());
        let (live, waiters) = (live.count(), self.event_loop.count_waiters());
        assert!(waiters <= 2 * live, "who has given up waits on");
    }

    fn check_and_end(mut self) {
        self.rest();
        self.check_waiters();
        for wire in &self.wires {
            let state = wire.state.borrow();
            assert_eq!(state.readable, 0, "a reader waits in vain");
            assert_eq!(state.room, 0, "a writer waits in vain");
        }
        for wire in std::mem::take(&mut self.wires) {
            self.end(&wire);
        }
        self.rest();
        assert_eq!(self.event_loop.count_waiters(), 0);
        assert_eq!(self.event_loop.count_tasks(), 0);
        assert_eq!(self.event_loop.next_deadline(), None, "no timer is left");
    }
}

fn simulate(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.check_and_end();
}

#[test]
fn no_wait_is_in_vain_whatever_the_kernel_reports() {
    let seeds = match std::env::var_os("TREFOIL_FULL") {
        Some(_) => 1_500,
        None => 750,
    };
    for seed in 0..seeds {
        let run = catch_unwind(AssertUnwindSafe(|| simulate(seed)));
        assert!(run.is_ok(), "seed {seed}: as said above");
    }
}
