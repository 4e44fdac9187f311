//! The executors that are watched, and the questions that are put to them.
//!
//! A pool is asked for its counters under the lock of the list, so that after a
//! [`Watched`](crate::Watched) was dropped, no handle of its pool is left here.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use trefoil::{CancelOnDrop, LoopHandle, ProcessPool, ProcessStats, Task, ThreadPool};

use crate::snapshot::{
    CountsView, DelayView, ExecutorView, KindView, SHOWN, WorkerView, micros, micros_since,
};
use crate::system::Processes;

/// All that are watched.
#[derive(Debug, Default)]
pub(crate) struct Executors(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    next: u64,
    entries: Vec<Entry>,
}

/// One executor.
#[derive(Debug)]
pub(crate) struct Entry {
    id: u64,
    name: String,
    executor: Executor,
    probe: Probe,
}

/// Any of the three.
#[derive(Debug)]
pub(crate) enum Executor {
    Threads(ThreadPool),
    Processes(ProcessPool),
    Loop(LoopHandle),
}

/// Measures how long spawned work waits: with one closure at a time that does nothing.
#[derive(Debug, Default)]
struct Probe {
    sent: Option<(Instant, CancelOnDrop<Duration>)>,
    last: Option<Duration>,
}

impl Executors {
    pub(crate) fn add(&self, name: String, executor: Executor) -> u64 {
        let mut list = self.0.lock();
        let id = list.next;
        list.next += 1;
        list.entries.push(Entry {
            id,
            name,
            executor,
            probe: Probe::default(),
        });
        id
    }

    /// The entry, to be dropped by the caller, which may wait for the end of its pool.
    #[must_use]
    pub(crate) fn remove(&self, id: u64) -> Option<Entry> {
        let mut list = self.0.lock();
        let at = list.entries.iter().position(|entry| entry.id == id)?;
        Some(list.entries.remove(at))
    }

    /// All entries, to be dropped by the caller.
    #[must_use]
    pub(crate) fn remove_all(&self) -> Vec<Entry> {
        std::mem::take(&mut self.0.lock().entries)
    }

    /// The process ids of all worker processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let list = self.0.lock();
        let pools = list
            .entries
            .iter()
            .filter_map(|entry| match &entry.executor {
                Executor::Processes(pool) => Some(pool.worker_pids()),
                _ => None,
            });
        pools
            .flat_map(|pids| pids.into_iter().take(SHOWN))
            .collect()
    }

    /// A view of each, and how many workers it leaves out.
    pub(crate) fn views(&self, processes: &Processes) -> (Vec<ExecutorView>, usize) {
        let mut left_out = 0;
        let mut list = self.0.lock();
        let views = list.entries.iter_mut().map(|entry| {
            let kind = entry.view(processes, &mut left_out);
            ExecutorView {
                id: entry.id,
                name: entry.name.clone(),
                kind,
            }
        });
        let views = views.collect();
        (views, left_out)
    }

    /// Replaces the worker process with this id; false if no pool that is watched has it.
    #[cfg(unix)]
    pub(crate) fn replace_worker(&self, pid: u32) -> bool {
        let list = self.0.lock();
        list.entries.iter().any(|entry| match &entry.executor {
            Executor::Processes(pool) => pool.replace_worker(pid),
            _ => false,
        })
    }
}

impl Entry {
    fn view(&mut self, processes: &Processes, left_out: &mut usize) -> KindView {
        match &self.executor {
            Executor::Threads(pool) => {
                let stats = pool.stats();
                KindView::Threads {
                    threads: stats.threads,
                    busy: stats.busy,
                    waiting: stats.waiting,
                    queued: stats.queued,
                    taken: stats.taken,
                    delay: self.probe.ask(|probe| pool.spawn(probe)),
                }
            }
            Executor::Processes(pool) => {
                let pids = pool.worker_pids();
                *left_out += pids.len().saturating_sub(SHOWN);
                let workers = pids.iter().take(SHOWN).map(|pid| WorkerView {
                    pid: *pid,
                    process: processes.child(*pid),
                });
                KindView::Processes {
                    counts: CountsView::of(&pool.stats()),
                    workers: workers.collect(),
                }
            }
            Executor::Loop(handle) => KindView::Loop {
                delay: self.probe.ask(|probe| handle.call_soon(probe)),
            },
        }
    }
}

impl Probe {
    /// What is known, and the next question if the last one has been answered.
    fn ask(&mut self, spawn: impl FnOnce(Question) -> Task<Duration>) -> DelayView {
        let mut refused = None;
        if let Some((_, task)) = &mut self.sent
            && let Some(result) = task.try_join()
        {
            self.sent = None;
            match result {
                Ok(delay) => self.last = Some(delay),
                Err(_) => refused = Some("it has ended"),
            }
        }
        let waiting_us = self.sent.as_ref().map(|(sent, _)| micros_since(*sent));
        if self.sent.is_none() && refused.is_none() {
            let sent = Instant::now();
            let task = spawn(question(sent)).named("dashboard");
            self.sent = Some((sent, task.cancel_on_drop()));
        }
        DelayView {
            last_us: self.last.map(micros),
            waiting_us,
            refused,
        }
    }
}

impl Drop for Probe {
    /// That the executor has ended is no lost failure.
    fn drop(&mut self) {
        if let Some((_, task)) = &mut self.sent {
            let _ = task.try_join();
        }
    }
}

/// The closure that is spawned.
type Question = Box<dyn FnOnce() -> Duration + Send>;

fn question(sent: Instant) -> Question {
    Box::new(move || sent.elapsed())
}

impl CountsView {
    fn of(stats: &ProcessStats) -> Self {
        Self {
            workers: stats.workers,
            busy: stats.busy,
            pending: stats.pending,
            completed: stats.completed,
            failed: stats.failed,
            retried: stats.retried,
            timed_out: stats.timed_out,
            started: stats.started,
            died: stats.died,
        }
    }
}
