//! Who completes the task of a job that ends.
//!
//! **Rule.** Whoever has the engine completes it on the spot (`finish`). But a thread that hands
//! over decoded values, or a complete error, gets the job that ends with them: to complete it runs
//! code of the user's, which must not run under the engine's lock.
//!
//! Tests: `tests/process/callers.rs`.

use crate::process::job::Job;

/// Who gets the job that ends.
#[derive(Default)]
pub(in crate::process::sched) enum JobTaker {
    #[default]
    Nobody,
    /// The thread that hands something over, and the job that has ended with it.
    Thread(Option<Box<Job>>),
}

impl JobTaker {
    /// A thread hands something over.
    pub(in crate::process::sched) fn begin(&mut self) {
        *self = Self::Thread(None);
    }

    /// Whether a thread does that.
    pub(in crate::process::sched) fn is_thread(&self) -> bool {
        matches!(self, Self::Thread(_))
    }

    /// It has done that. Returns the job that it must complete.
    pub(in crate::process::sched) fn end(&mut self) -> Option<Box<Job>> {
        match std::mem::take(self) {
            Self::Nobody => None,
            Self::Thread(job) => job,
        }
    }

    /// A job ends. Returns it, if it is completed on the spot.
    pub(in crate::process::sched) fn take(&mut self, job: Box<Job>) -> Option<Box<Job>> {
        match self {
            Self::Nobody => Some(job),
            Self::Thread(taken) => {
                *taken = Some(job);
                None
            }
        }
    }
}
