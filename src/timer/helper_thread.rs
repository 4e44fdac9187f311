//! Waits for deadlines and descriptors without a loop: on one helper thread for the whole process.
//!
//! **Job.** It is the timekeeper of every thread that has no loop. It also waits for descriptors
//! (`watched.rs`): a future that waits for an item of another process may be polled on any runtime,
//! and a dropped child must be reaped when it ends. A build without descriptors has none of that,
//! and waits at a condition variable (`no_descriptors.rs`).
//!
//! **Protocol.**
//! 1. [`Waiter::enter`] stores the deadline, the waker, and any descriptors under the same key. It
//!    starts the job if it does not run; otherwise it rings the job's bell if there is something
//!    new to poll, or if the job would wake up too late.
//! 2. The job polls all descriptors until the earliest deadline. For each entry that is ready or
//!    late, it removes the timer and calls the waker.
//! 3. Descriptors whose timer is gone are dropped. (The job holds them open while it polls, so
//!    removing an entry rings the bell.)
//! 4. Without entries the job waits [`JOB_LINGERS`] for more, and ends; its thread stays for other
//!    jobs (`blocking_threads`). `running` changes only under the lock, in the same critical
//!    section that checks whether the timers are empty, so no entry is left to a job that has
//!    ended.
//!
//! If the system refuses the thread, the waiting task is woken at once: it reads the clock itself
//! and asks again. That is a busy wait, but it ends, and it is not a hang. If the system refuses
//! the bell, the job looks at its entries every [`BLIND`].
//!
//! Wakers are user code: they are cloned, called and dropped outside the lock, and one that
//! panics does not end the thread.
//!
//! Checked by the test below, `tests/event_loop/` (an alarm without a loop, the end of the idle
//! thread), `tests/io/children.rs` and `tests/process/channel.rs`.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::timekeeper::Timekeeper;
use super::timers::{TimerKey, Timers};
use super::watched::{Bell, Watched, WatchedFds, look};
use crate::blocking_threads;
use crate::blocking_threads::contain;
use crate::loom::Mutex;
use crate::sys::fork::{self, PerProcess};

/// How long the idle job stays: starting it takes longer than ringing.
const JOB_LINGERS: Duration = Duration::from_millis(200);

/// How often the job looks at its entries if it has no bell.
const BLIND: Duration = Duration::from_millis(10);

/// The latest deadline: in some thirty years.
pub(super) const FAR: Duration = Duration::from_secs(1 << 30);

pub(super) struct Waiter {
    /// The fork generation of the process that it was made in; see `fork.rs`.
    born: u32,
    state: Mutex<WaiterState>,
}

struct WaiterState {
    timers: Timers<Waker>,
    /// The descriptors that some of the timers also wait for.
    watched: Watched,
    running: bool,
    /// The bell of the job, while it runs.
    bell: Option<Arc<Bell>>,
    /// Until when the job polls if the bell does not ring.
    until: Instant,
}

/// The waiter of this process.
pub(super) fn waiter() -> &'static Arc<Waiter> {
    // A forked child has none of its parent's threads, and starts one of its own.
    static WAITER: PerProcess<Arc<Waiter>> = PerProcess::new();
    WAITER.get_or_init(|| {
        Arc::new(Waiter {
            born: fork::generation(),
            state: Mutex::new(WaiterState {
                timers: Timers::new(),
                watched: Watched::default(),
                running: false,
                bell: None,
                until: Instant::now(),
            }),
        })
    })
}

fn ring(bell: Option<Arc<Bell>>) {
    if let Some(bell) = bell {
        bell.ring();
    }
}

impl Waiter {
    /// Whether this is a forked child of the process that made the waiter.
    fn is_foreign(&self) -> bool {
        self.born != fork::generation()
    }

    pub(super) fn enter(
        &self,
        deadline: Instant,
        interest: Option<WatchedFds>,
        waker: Waker,
    ) -> Result<TimerKey, Waker> {
        let mut state = self.state.lock();
        if !state.running {
            if blocking_threads::start(|| waiter().run()).is_err() {
                return Err(waker);
            }
            state.running = true;
        }
        let rings = interest.is_some() || deadline < state.until;
        let key = state.timers.insert(deadline, waker);
        if let Some(interest) = interest {
            state.watched.insert(key, interest);
        }
        let bell = state.bell.clone();
        drop(state);
        if rings {
            ring(bell);
        }
        Ok(key)
    }

    /// Runs the job.
    fn run(&self) {
        let (mut bell, mut ready, mut lingers) = (None, Vec::new(), false);
        loop {
            if bell.is_none() {
                bell = Bell::new().ok().map(Arc::new);
            }
            let mut state = self.state.lock();
            let WaiterState {
                timers, watched, ..
            } = &mut *state;
            let mut woken = Vec::new();
            for &key in &ready {
                if let Some(waker) = timers.remove(key) {
                    woken.push(waker);
                }
            }
            for waker in timers.due(Instant::now()) {
                woken.push(waker);
            }
            let left = watched.take_ended(|key| timers.get_mut(key).is_none());
            let watched = watched.list();
            let next = timers.next_deadline();
            let idle = next.is_none() && woken.is_empty();
            if idle && lingers {
                state.running = false;
                state.bell = None;
                return;
            }
            lingers = idle;
            let most = match (&bell, next) {
                (None, _) => BLIND,
                (Some(_), None) => JOB_LINGERS,
                (Some(_), Some(_)) => FAR,
            };
            let most = Instant::now() + most;
            let until = next.map_or(most, |next| next.min(most));
            (state.until, state.bell) = (until, bell.clone());
            drop(state);
            left.into_iter().for_each(drop); // first: the woken code may use the remaining entries
            for waker in woken {
                blocking_threads::wake(waker);
            }
            ready = look(bell.as_deref(), &watched, until);
        }
    }
}

impl Timekeeper for Waiter {
    fn arm(&self, deadline: Instant, waker: Waker) -> TimerKey {
        match self.enter(deadline, None, waker) {
            Ok(key) => key,
            Err(waker) => {
                blocking_threads::wake(waker);
                TimerKey::STALE
            }
        }
    }

    fn refresh(&self, key: TimerKey, waker: &Waker) -> bool {
        if self.is_foreign() {
            return false;
        }
        let waker = waker.clone();
        let replaced = self.state.lock().timers.replace(key, waker);
        replaced.is_ok()
    }

    fn disarm(&self, key: TimerKey) {
        if self.is_foreign() {
            return; // no job runs here, and its lock may be held for ever
        }
        let mut state = self.state.lock();
        let waker = state.timers.remove(key);
        let interest = state.watched.remove(key);
        let bell = state.bell.clone();
        drop(state);
        if interest.is_some() {
            ring(bell);
        }
        contain(|| drop((waker, interest)));
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;

    const TEST_LIMIT: Duration = Duration::from_secs(20);

    struct Report(Sender<()>);

    impl Wake for Report {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    fn waits_until_at_least(until: Instant) {
        let limit = Instant::now() + TEST_LIMIT;
        while waiter().state.lock().until < until {
            assert!(
                Instant::now() < limit,
                "it does not wait for the far deadline"
            );
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_nearer_deadline_ends_the_wait_for_a_farther_one() {
        let (tell, told) = channel();
        let waker = || Waker::from(Arc::new(Report(tell.clone())));
        let far = Instant::now() + Duration::from_secs(3600);
        for _ in 0..100 {
            let key = waiter().arm(far, waker());
            waits_until_at_least(far);
            let near = Instant::now() + Duration::from_micros(100);
            waiter().arm(near, waker());
            assert_eq!(told.recv_timeout(TEST_LIMIT), Ok(()));
            assert!(Instant::now() >= near, "early");
            waiter().disarm(key);
        }
        assert!(told.try_recv().is_err(), "the far one is not due");
    }
}
