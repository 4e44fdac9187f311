//! What the executors report: a function for each event.
//!
//! **Job.** With the feature `inspect` they are those of the crate `trefoil-trace`, which is below
//! all of this and knows nothing of it: a task is a number there, and a place in the source.
//! Without the feature they are the empty ones below, and `is_on` is false: the compiler leaves
//! nothing of an event, and nothing of what is only done while somebody listens.
//!
//! Called where a state changes: a task is made, begins, waits, is woken, ends; a thread waits,
//! sleeps, steals; a call goes to a worker process. (Locks: `parking/lock_events.rs`.)

#[cfg(not(feature = "inspect"))]
pub(crate) use nothing::*;
#[cfg(feature = "inspect")]
pub(crate) use something::*;

#[cfg(feature = "inspect")]
#[allow(unused_imports)] // of executors that are left out
mod something {
    pub(crate) use trefoil_trace::live::{
        AskWorkers, Items, Question, READ, TIMER, WRITE, Wakers, answer, register,
        wake_if_asked as executor_made,
    };
    pub(crate) use trefoil_trace::trace_log::trouble::{Trouble, noticed};
    pub(crate) use trefoil_trace::trace_log::*;
}

#[cfg(not(feature = "inspect"))]
#[allow(dead_code)] // of executors that are left out, and what only listeners read
mod nothing {
    use std::panic::Location;
    use std::sync::atomic::{AtomicBool as Hint, Ordering}; // no protocol

    use crate::sys::stderr;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Kind {
        Closure,
        Future,
        Local,
        Root,
        Promise,
    }

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Ending {
        Done,
        Pending,
        Panicked,
        Failed,
        Cancelled,
        Closed,
    }

    pub(crate) enum Role {
        Loop,
        Driver { pool: u32 },
        Worker { pool: u32, index: u32, slot: u32 },
        BlockingCalls,
    }

    pub(crate) enum Wakers {
        None,
        One,
        Many,
    }

    pub(crate) enum Trouble {
        SlowPoll,
        WorkerDied,
        LateItem,
    }

    pub(crate) const TIMER: u8 = 0;
    pub(crate) const READ: u8 = 0;
    pub(crate) const WRITE: u8 = 0;

    /// In place of what would be noted until it is dropped.
    #[must_use]
    #[derive(Debug, Default)]
    pub(crate) struct Nothing(());

    impl Drop for Nothing {
        #[inline(always)]
        fn drop(&mut self) {}
    }

    pub(crate) type Before = Nothing;
    pub(crate) type NotedStep = Nothing;

    /// The count of a `map`: there is none.
    #[derive(Debug)]
    pub(crate) enum Items {}

    impl Items {
        pub(crate) fn add(&self, _: usize) {
            match *self {}
        }
    }

    macro_rules! nothing {
        ($($name:ident($($of:ty),*) -> $out:ty;)*) => {$(
            #[inline(always)]
            pub(crate) fn $name($(_: $of),*) -> $out {
                <$out>::default()
            }
        )*};
    }
    type Site = &'static Location<'static>;
    nothing! {
        is_on() -> bool;
        is_recording() -> bool;
        spawned(u64, u64, Site, Kind) -> ();
        named(u64, &str) -> ();
        begun_heard(u64, Site, Kind) -> ();
        step(u64, &'static str) -> Option<NotedStep>;
        paused(u64, u64, Wakers) -> ();
        queued_again(u64) -> ();
        ended(u64, Ending) -> ();
        settled(u64, Ending) -> ();
        abortable(u64) -> ();
        cancelled(u64) -> ();
        woken(u64) -> ();
        registered(u64, bool) -> ();
        waits_for(u8) -> ();
        blocks(u64, u64, bool) -> ();
        unblocks(u64, bool) -> ();
        role(Role) -> Before;
        region() -> Nothing;
        part(&'static str) -> Nothing;
        waits() -> Nothing;
        sleeps() -> Nothing;
        falls_asleep(bool) -> Nothing;
        stolen(u64, usize) -> ();
        thread_woken(u32, usize) -> ();
        items(&'static str, u64, Option<usize>) -> Option<Items>;
        called(u32, u64, u64) -> ();
        sent(u32, u32, u64, u64, usize, usize) -> ();
        answered(u32, u64, u64, u64) -> ();
        worker_died(u32) -> ();
        noticed(Trouble) -> ();
    }

    /// Says once that nobody listens to what the environment asks for.
    #[allow(clippy::disallowed_types)] // no protocol depends on it
    pub(crate) fn executor_made() {
        static ASKED: Hint = Hint::new(false);
        if ASKED.swap(true, Ordering::Relaxed) {
            return;
        }
        for name in ["TREFOIL_TASKS", "TREFOIL_STUCK"] {
            if std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0") {
                let note = format!(
                    "trefoil: {name} is ignored: the program is built without the feature \
                     `inspect`\n"
                );
                stderr::write_now(note.as_bytes());
            }
        }
    }
}
