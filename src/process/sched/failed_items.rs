//! Which errors of items are held back: those of items that a hook gets, until it has returned, and
//! those with places in the program, until their names are known.
//!
//! Another thread does both (`job::failed_item`, `task::frame_names`); meanwhile the job counts
//! the item among its readings, and has it as failed: no limit of the call ends it otherwise
//! (`Job::only_fails`).
//!
//! Tests: `tests/process/failures.rs`; `src/process/sched/simulated.rs`.

use crate::process::job::job_id::JobId;
use std::cell::RefCell;

use super::policy::Policy;
use super::state::Sched;
use crate::process::job::Work;
use crate::process::job::failed_item::{FailedItem, OnFailedItem};
use crate::process::job::item_id::ItemId;
use crate::process::job::reading::Chore;
#[cfg(feature = "backtrace")]
use crate::process::job::reading::Naming;
use crate::process::value::chunk::Piece;
use crate::task::TaskError;

/// Whether a hook gets the items of the job `id` that fail.
pub(super) fn reports_failures(sched: &Sched, id: JobId) -> bool {
    let job = sched.jobs.get(id);
    job.is_some_and(|job| hook_of(&job.work, &sched.policy).is_some())
}

/// The hook that gets the items of this work that fail.
fn hook_of<'a>(work: &'a Work, policy: &'a Policy) -> Option<&'a OnFailedItem> {
    let own = work.options.on_failed.as_ref();
    own.or(policy.on_failed.as_ref())
        .filter(|_| work.is_reported)
}

/// If a hook gets the item, or its error needs names, has another thread do that, which brings the
/// error later ([`Sched::reported`]). Otherwise returns the error.
pub(super) fn report(
    sched: &mut Sched,
    item: ItemId,
    error: TaskError,
    piece: Option<Piece>,
) -> Option<TaskError> {
    let at = item.at;
    let job = sched.jobs.get_mut(item.job);
    let Some(job) = job.filter(|job| at < job.limit()) else {
        return Some(error);
    };
    let hook = hook_of(&job.work, &sched.policy);
    let (Some(hook), Some(piece), true) = (hook, piece, FailedItem::is_for(&error)) else {
        #[cfg(feature = "backtrace")]
        if error.needs_names() {
            let naming = Naming {
                item,
                error,
                is_given_up: false,
            };
            job.begins_to_fail(at);
            sched.chores.push(Chore::Name(naming));
            return None;
        }
        return Some(error);
    };
    let error = job.error_of(at, error);
    let failed = FailedItem {
        of: item,
        error,
        hook: hook.clone(),
        code: job.work.code,
        argument_type: (job.work.types.names)().0,
        name: job.work.options.name.clone(),
        piece,
        context: job.work.context().cloned(),
        note: RefCell::default(),
        is_given_up: false,
    };
    job.begins_to_fail(at);
    sched.chores.push(Chore::Fail(Box::new(failed)));
    None
}
