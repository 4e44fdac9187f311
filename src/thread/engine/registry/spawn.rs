//! Where new work is queued: in the deque of the worker that makes it, or in the injector.
//!
//! Tests: `tests/thread/pool.rs::{one_worker_joins_tasks_three_deep,
//! a_scopes_own_thread_runs_what_lies_in_the_injector}`,
//! `tests/thread/starved.rs::what_a_sleeping_worker_has_spawned_is_not_starved`.

use std::sync::Arc;

use super::Registry;
use crate::task::Runnable;
use crate::thread::engine::queue::Work;
use crate::thread::engine::raw_current as current;

impl Registry {
    /// Queues a new task; a thread that waits for it may run it if it is in the pool with this tag.
    pub(in crate::thread) fn spawn(self: &Arc<Self>, runnable: Runnable, tag: u32) {
        runnable.set_tag(tag);
        self.set_hook(&runnable);
        current::with_home(|home| match home {
            Some(home) if self.is(home.registry()) => {
                if self.injector.takes_own() {
                    home.push_task(runnable); // so that it is warm
                } else {
                    drop(runnable); // which ends the task in `Closed`
                }
            }
            _ => drop(self.inject(Work::Task(runnable))),
        });
    }

    /// A new task's failure goes to the pool's hook.
    pub(in crate::thread) fn set_hook(&self, runnable: &Runnable) {
        if let Some(hook) = &self.config.unobserved {
            runnable.set_hook(Arc::clone(hook));
        }
    }

    /// Queues work in the injector. If this thread is a worker of the pool, it may do so even while
    /// the injector accepts work only from inside.
    pub(in crate::thread) fn inject_here(self: &Arc<Self>, work: Work) -> Result<(), Work> {
        let pushed = if self.is_home() {
            self.injector.push_woken(work)
        } else {
            self.injector.push(work)
        };
        self.published(); // also after a refusal: entries behind it may have waited for it
        pushed
    }
}
