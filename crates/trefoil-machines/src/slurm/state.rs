//! The state that a pool on Slurm shares with its thread.
//!
//! **Job.** A worker is *asked* for, then *pending* as a job of Slurm's, then *ready* when both of
//! its connections have shown the pool's key, then *present* in a slot, then *ended*. The pool's
//! side (`launch`) asks, takes what is ready, and learns of ends; the thread (`attend`)
//! submits jobs, and ends what is too many or left. Here a new connection becomes a worker
//! ([`SlurmState::answer`]).
//!
//! Tests: below; `crates/trefoil-machines/tests/slurm/`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::handshake::{self, Hello, Key};
use super::sockets::far;
use super::strangers::Strangers;
use crate::common::bell::Bell;
use trefoil::Completer;
use trefoil::process::Launched;

/// How long a worker may wait for its second connection, or for a slot that wants it.
pub(crate) const UNUSED_LIMIT: Duration = Duration::from_secs(10);

/// The state that the pool and the thread share.
#[derive(Debug)]
pub(crate) struct SlurmState {
    pub(crate) state: Mutex<State>,
    /// A worker has connected, or the pool has failed.
    pub(crate) come: Condvar,
    pub(crate) bell: Bell,
    pub(crate) key: Key,
    /// The program's (`Program::identity`): a worker has the same.
    pub(crate) identity: &'static str,
    pub(crate) patience: Duration,
}

#[derive(Default)]
pub(crate) struct State {
    /// The slots that the driver has requested.
    pub(crate) asked: BTreeMap<usize, Completer<io::Result<Launched>>>,
    /// How many workers the pool's beginning waits for.
    pub(crate) awaited: usize,
    /// The workers with only one connection so far, by their tickets.
    pub(crate) halves: HashMap<u64, FirstConnection>,
    pub(crate) ready: VecDeque<Arrived>,
    /// The jobs that have not connected, and when they were submitted.
    pub(crate) pending: HashMap<String, Instant>,
    /// The workers that have slots, by slot.
    pub(crate) present: HashMap<usize, Arrived>,
    /// The jobs whose workers have ended, by the ids of `pending`, and when they did.
    pub(crate) ended: Vec<(String, Instant)>,
    /// Why the pool gets no workers at present, and since when.
    pub(crate) failed: Option<(String, Instant)>,
    pub(crate) strangers: Strangers,
    pub(crate) is_over: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    /// Gives the workers that are ready to the slots that were requested; or the reason why there
    /// are none.
    pub(crate) fn serve(&mut self) {
        self.asked.retain(|_, completer| !completer.is_cancelled());
        while !self.ready.is_empty() || self.failed.is_some() {
            let Some((index, completer)) = self.asked.pop_first() else {
                return;
            };
            let launched = match (self.ready.pop_front(), &self.failed) {
                (Some(arrived), _) => {
                    let launched = arrived.launched();
                    self.present.insert(index, arrived);
                    launched
                }
                (None, Some((words, _))) => Err(io::Error::other(words.clone())),
                (None, None) => Err(io::ErrorKind::NotFound.into()),
            };
            completer.complete(Ok(launched));
        }
    }

    /// How many workers are wanted that have not called back.
    pub(crate) fn wanted(&self) -> usize {
        self.asked.len().max(self.awaited)
    }

    /// The workers that have called back.
    pub(crate) fn here(&self) -> impl Iterator<Item = &Arrived> {
        self.ready.iter().chain(self.present.values())
    }

    /// Makes these submitted jobs pending, except those that have called back already.
    pub(crate) fn await_jobs(&mut self, ids: Vec<String>, now: Instant) {
        for id in ids {
            if self.here().all(|arrived| arrived.submitted != id) {
                self.pending.insert(id, now);
            }
        }
    }

    /// Waits no longer for those of these jobs that have not called back, and returns them.
    pub(crate) fn give_up(&mut self, mut ids: Vec<String>) -> Vec<String> {
        ids.retain(|id| self.pending.remove(id).is_some());
        ids
    }
}

/// The first of a worker's two connections.
pub(crate) struct FirstConnection {
    stream: TcpStream,
    hello: Hello,
    pub(crate) since: Instant,
}

/// A worker with both connections, which waits for a slot or has one.
pub(crate) struct Arrived {
    pub(crate) stream: TcpStream,
    pub(crate) tells: TcpStream,
    /// The id of the job, or the name of its client, as in `pending`.
    pub(crate) submitted: String,
    /// The id of the job, or of its step, in `scancel`'s syntax.
    pub(crate) job: String,
    pub(crate) number: u32,
    pub(crate) since: Instant,
    /// Its node is out of reach, so the pool has shut its stream down.
    pub(crate) is_cut: bool,
}

impl Arrived {
    /// The worker, for the driver.
    fn launched(&self) -> io::Result<Launched> {
        let launched = Launched::stream(self.stream.try_clone()?).pid(self.number);
        let machine = self.stream.peer_addr()?.ip().to_string();
        Ok(launched.machine(machine))
    }

    pub(crate) fn end(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.tells.shutdown(Shutdown::Both);
    }
}

impl SlurmState {
    /// A panic of another thread has left it whole: no step between two of its changes can panic.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a new connection, on a thread of its own.
    pub(crate) fn answer(&self, number: u64, stream: Arc<TcpStream>) {
        let judge = |hello: &Hello| match hello.copy == self.identity {
            true => Ok(()),
            false => Err("the executable there is another build of the program".to_owned()),
        };
        let prepared = stream.set_nonblocking(false);
        let heard = prepared
            .map_err(Into::into)
            .and_then(|()| handshake::answer(&stream, &self.key, handshake::LIMIT, judge));
        let heard = heard.ok();
        let heard = heard.filter(|hello| far(&stream, !hello.is_stream).is_ok());
        let mut state = self.lock();
        let stays = state.strangers.leave(number) && !state.is_over;
        let Some((hello, stream)) = heard.filter(|_| stays).zip(Arc::into_inner(stream)) else {
            return; // it says itself why
        };
        let since = Instant::now();
        let half = FirstConnection {
            stream,
            hello,
            since,
        };
        let Some(other) = state.halves.remove(&half.hello.ticket) else {
            state.halves.insert(half.hello.ticket, half);
            return;
        };
        if other.hello.is_stream == half.hello.is_stream {
            return;
        }
        let (one, two) = match half.hello.is_stream {
            true => (half, other),
            false => (other, half),
        };
        let job = &one.hello.job;
        let (name, step) = job.split_once('@').unwrap_or((job, job));
        state.pending.remove(name);
        state.ready.push_back(Arrived {
            submitted: name.to_owned(),
            job: step.to_owned(),
            number: one.hello.number,
            stream: one.stream,
            tells: two.stream,
            since,
            is_cut: false,
        });
        drop(state);
        self.tell();
    }

    /// Serves the driver, and wakes the thread that builds the pool.
    pub(crate) fn tell(&self) {
        let mut state = self.lock();
        self.come.notify_all();
        state.serve();
    }

    /// Records that no worker can be had at present, and why.
    pub(crate) fn fail(&self, words: String) {
        let mut state = self.lock();
        state.failed = Some((words, Instant::now()));
        drop(state);
        self.tell();
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn arrived(job: &str) -> Arrived {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Arrived {
            tells: stream.try_clone().unwrap(),
            stream,
            submitted: job.to_owned(),
            job: job.to_owned(),
            number: 0,
            since: Instant::now(),
            is_cut: false,
        }
    }

    #[test]
    fn a_worker_that_has_called_back_is_neither_awaited_nor_given_up() {
        let ids = || vec!["7_0".to_owned(), "7_1".to_owned()];
        let mut state = State::default();
        state.ready.push_back(arrived("7_0")); // before `sbatch` has ended
        state.await_jobs(ids(), Instant::now());
        assert_eq!(state.pending.keys().collect::<Vec<_>>(), ["7_1"]);
        assert_eq!(state.give_up(ids()), ["7_1"]);
        assert!(state.pending.is_empty());
        assert!(state.give_up(ids()).is_empty());
    }
}
