//! A thread that removes what a worker has left: its temporary folder, its control group.
//!
//! A group cannot be removed before all of its processes are gone, which takes the kernel a moment,
//! and a folder may hold many files; the pool's driver must not wait for either. The thread begins
//! with the first job, and ends with the pool, when all is done.
//!
//! Tests: `tests/sandbox/sandbox.rs`, `tests/sandbox/limits.rs`.

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use super::group;

/// What is to be removed.
#[derive(Debug)]
pub(crate) enum Job {
    Folder(PathBuf),
    Group(PathBuf),
}

impl Job {
    /// Removes it. (What cannot be removed now, the next pool sweeps.)
    pub(crate) fn run(self) {
        match self {
            Self::Folder(path) => drop(std::fs::remove_dir_all(path)),
            Self::Group(path) => drop(group::remove(&path, group::PATIENCE)),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Cleaner(Mutex<Option<(Sender<Job>, JoinHandle<()>)>>);

impl Cleaner {
    /// Has it done by the thread; at once, if there can be none.
    pub(crate) fn remove(&self, job: Job) {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() {
            let (sender, jobs) = channel::<Job>();
            let builder = std::thread::Builder::new().name("trefoil-cleaner".to_owned());
            let started = builder.spawn(move || jobs.into_iter().for_each(Job::run));
            *thread = started.ok().map(|handle| (sender, handle));
        }
        match &*thread {
            Some((sender, _)) => {
                if let Err(unsent) = sender.send(job) {
                    unsent.0.run();
                }
            }
            None => job.run(),
        }
    }

    /// Waits until all of it is removed.
    pub(crate) fn finish(&self) {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((sender, handle)) = thread.take() {
            drop(sender);
            let _ = handle.join();
        }
    }
}
