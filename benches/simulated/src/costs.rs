//! What things cost on the machine, and how often they happened.

use std::ops::{Add, Sub};

/// Nanoseconds of virtual time.
pub(crate) type Ns = f64;

/// What things cost, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// A load or store of a line that this core has.
    pub hit: Ns,
    /// A read-modify-write of a line that this core alone has.
    pub rmw: Ns,
    /// A full fence.
    pub fence: Ns,
    /// Until a line has come from another core.
    pub transfer: Ns,
    /// Between two moves of one line, if many cores want it.
    pub hop: Ns,
    /// What each other core that has the line adds when it must give it up.
    pub sharer: Ns,
    /// `PAUSE`.
    pub pause: Ns,
    /// Giving up the processor when nothing else wants it.
    pub turn: Ns,
    /// A system call, without what it does.
    pub syscall: Ns,
    /// The kernel's lock of a bucket of futexes is held for so long.
    pub bucket: Ns,
    /// What waking a thread costs the waker.
    pub wake: Ns,
    /// Until a woken thread runs that slept for less than `awake`.
    pub soon: Ns,
    /// Until a woken thread runs that slept for longer.
    pub late: Ns,
    /// After so long a processor without work is halted.
    pub awake: Ns,
    /// An allocation, and as much for its end.
    pub allocation: Ns,
    /// Reading the clock.
    pub clock: Ns,
    /// Starting a thread; half of it until it runs.
    pub thread: Ns,
    /// A thread is not preempted sooner.
    pub slice: Ns,
    /// Two threads of one core: each takes so many times as long.
    pub shared: f64,
}

impl Costs {
    /// Those with which the table of `benches/results/README.md` is met best;
    /// benches/simulated/README.md says how well.
    pub const FITTED: Self = Self {
        hit: 1.0,
        rmw: 5.9,
        fence: 8.0,
        transfer: 90.0,
        hop: 20.0,
        sharer: 35.0,
        pause: 40.0,
        turn: 300.0,
        syscall: 400.0,
        bucket: 300.0,
        wake: 2_500.0,
        soon: 5_000.0,
        late: 30_000.0,
        awake: 100_000.0,
        allocation: 10.0,
        clock: 20.0,
        thread: 20_000.0,
        slice: 1_000_000.0,
        shared: 1.25,
    };

    /// The cost of that name, for the command line.
    pub fn named(&mut self, name: &str) -> Option<&mut Ns> {
        Some(match name {
            "hit" => &mut self.hit,
            "rmw" => &mut self.rmw,
            "fence" => &mut self.fence,
            "transfer" => &mut self.transfer,
            "hop" => &mut self.hop,
            "sharer" => &mut self.sharer,
            "pause" => &mut self.pause,
            "turn" => &mut self.turn,
            "syscall" => &mut self.syscall,
            "bucket" => &mut self.bucket,
            "wake" => &mut self.wake,
            "soon" => &mut self.soon,
            "late" => &mut self.late,
            "awake" => &mut self.awake,
            "allocation" => &mut self.allocation,
            "clock" => &mut self.clock,
            "thread" => &mut self.thread,
            "slice" => &mut self.slice,
            "shared" => &mut self.shared,
            _ => return None,
        })
    }
}

macro_rules! counts {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// How often things happened.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[$meta])* pub $name: u64,)* }
        impl Add for Counts {
            type Output = Self;
            fn add(self, other: Self) -> Self { Self { $($name: self.$name + other.$name,)* } }
        }
        impl Sub for Counts {
            type Output = Self;
            fn sub(self, other: Self) -> Self { Self { $($name: self.$name - other.$name,)* } }
        }
    };
}

counts! {
    /// Loads.
    reads,
    /// Loads of lines that were not here.
    read_misses,
    /// Stores.
    writes,
    /// Stores to lines that were not here, or not here alone.
    write_misses,
    /// Read-modify-writes.
    rmws,
    /// Read-modify-writes of lines that were not here, or not here alone.
    rmw_misses,
    /// Full fences.
    fences,
    /// `PAUSE`.
    pauses,
    /// `sched_yield`.
    yields,
    /// Waits on futexes, those included that did not wait because the word had changed.
    futex_waits,
    /// Calls that wake, whether anybody slept or not.
    futex_wakes,
    /// Threads that were woken.
    woken,
}

impl Counts {
    /// Cache lines that moved.
    #[must_use]
    pub fn misses(&self) -> u64 {
        self.read_misses + self.write_misses + self.rmw_misses
    }
}
