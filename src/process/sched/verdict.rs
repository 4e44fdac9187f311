//! How a worker died, and why, if nobody has condemned it: the one place that decides it. (A reason
//! that the driver knows comes as `WorkerExit::note`, from `Link::condemn`, and wins. The words of
//! the message are in `task/error.rs`.)
//!
//! Others collect the [`Evidence`]; nobody else says what counts as "out of memory", or who has
//! killed a worker. In this order:
//!
//! | evidence | cause |
//! |---|---|
//! | it aborted, or its status is lost, and the item's output says that an allocation failed | [`Cause::Allocation`] |
//! | it reports that its initializers keep more than the limit | the same |
//! | its launcher knows that the kernel has killed it for want of memory | [`Cause::Kernel`] |
//! | it was killed or has no status, and its pool has killed it | [`Cause::Pool`] |
//! | it was killed, and the kernel has killed somebody for want of memory | [`Cause::Kernel`] |
//! | it was killed otherwise | [`Cause::Outside`] |
//! | anything else: an exit, a crash, a status that nobody knows | [`Cause::Itself`] |
//!
//! Otherwise the kernel counts whom it kills, and does not name them, so each kill explains one
//! death, the next one that has no other cause (`host::kernel_kills`). Which items are blamed for a
//! death is decided in `deaths`.
//!
//! Tests: below; `tests/process/deaths.rs`.

use super::back_off::StartFailure;
use crate::process::launch::pool_error::not_begun;
use crate::sys::child::{is_abort, is_unwanted};
use crate::task::{Cause, WorkerExit};

const SIGKILL: i32 = 9;

/// Why the pool has killed a worker: the scheduler has asked for it.
pub(crate) const KILLED: &str = "its pool killed it";
/// Why the pool has killed a worker: its stream had ended, and the process lived on.
pub(crate) const CLOSED: &str = "it closed its connection to the pool (by `exec`, or with its \
    descriptors) and lived on, so its pool killed it";

/// What is known of memory, from the worker itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Memory {
    #[default]
    Unknown,
    /// The output of the item says that an allocation failed.
    AllocationFailed,
    /// It lives, and what its initializers keep exceeds the pool's limit.
    InitializersKeep,
    /// The kernel has killed it because its control group's memory ran out: its launcher knows.
    KernelKilled,
}

/// What is known of a worker that has died, besides what its [`WorkerExit`] has: how it ended (from
/// the wait status or from a launcher), what it has written, and as its note what the pool has
/// found out.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// Why its pool has killed it.
    pub(crate) killed: Option<&'static str>,
    pub(crate) memory: Memory,
    /// It was a child of this process, and had not said hello.
    pub(crate) was_starting: bool,
    /// Why it was given up before it said hello.
    pub(crate) failed_start: Option<StartFailure>,
    /// What its launcher knows.
    pub(crate) note: Option<String>,
}

/// Adds why the worker died. `claim` is asked last: it takes a kill of the kernel, for want of
/// memory, that explains no other death, if there is one.
pub(crate) fn verdict(
    mut exit: WorkerExit,
    evidence: &Evidence,
    claim: impl FnOnce() -> bool,
) -> WorkerExit {
    let aborted = is_abort(exit.code, exit.signal);
    let has_status = exit.code.is_some() || exit.signal.is_some();
    exit.cause = match (evidence.memory, evidence.killed) {
        (Memory::InitializersKeep, _) => Cause::Allocation,
        (Memory::KernelKilled, _) => Cause::Kernel,
        (Memory::AllocationFailed, _) if aborted => Cause::Allocation,
        // (It may have no status: then it was given up.)
        (_, Some(_)) if !has_status => Cause::Pool,
        (Memory::AllocationFailed, None) if !has_status => Cause::Allocation,
        _ if exit.signal != Some(SIGKILL) => Cause::Itself,
        (_, Some(_)) => Cause::Pool,
        _ if claim() => Cause::Kernel,
        _ => Cause::Outside,
    };
    let of_pool = evidence.killed.filter(|_| exit.cause == Cause::Pool);
    let is_unwanted = is_unwanted(exit.code, exit.signal) && !exit.out_of_memory();
    let keeps = "what its initializers keep exceeds the pool's `memory_limit`";
    exit.note = exit
        .note
        .take()
        .or_else(|| evidence.failed_start.map(|why| why.to_string()))
        .or_else(|| of_pool.map(str::to_owned))
        .or_else(|| (evidence.was_starting && is_unwanted).then(not_begun))
        .or_else(|| (evidence.memory == Memory::InitializersKeep).then(|| keeps.to_owned()));
    if let Some(note) = &evidence.note {
        exit.add_note(note.clone());
    }
    exit
}

#[cfg(all(test, unix))] // its signals
mod tests {
    use super::*;

    const ABORT: Option<i32> = Some(6);
    const KILL: Option<i32> = Some(SIGKILL);
    const FAILED: Memory = Memory::AllocationFailed;
    const NONE: Memory = Memory::Unknown;
    const KERNEL: Memory = Memory::KernelKilled;

    #[test]
    fn each_cause_has_its_evidence() {
        let asked = Some(KILLED);
        let closed = Some(CLOSED);
        // The code and the signal, the pool's kill, what it says of memory, the kernel's kills.
        let table = [
            ((None, None), None, NONE, 0, Cause::Itself, ""),
            ((None, None), None, NONE, 1, Cause::Itself, ""),
            ((None, None), None, FAILED, 0, Cause::Allocation, ""),
            (
                (None, None),
                asked,
                FAILED,
                1,
                Cause::Pool,
                "its pool killed it",
            ),
            ((Some(3), None), None, NONE, 1, Cause::Itself, ""),
            ((Some(3), None), closed, NONE, 1, Cause::Itself, ""),
            ((Some(1), None), None, FAILED, 0, Cause::Itself, ""),
            ((None, Some(11)), None, FAILED, 1, Cause::Itself, ""),
            ((None, ABORT), None, NONE, 1, Cause::Itself, ""),
            ((None, ABORT), asked, NONE, 1, Cause::Itself, ""),
            ((None, ABORT), None, FAILED, 0, Cause::Allocation, ""),
            ((None, ABORT), asked, FAILED, 1, Cause::Allocation, ""),
            ((None, KILL), None, NONE, 0, Cause::Outside, ""),
            ((None, KILL), None, FAILED, 0, Cause::Outside, ""),
            ((None, KILL), None, NONE, 1, Cause::Kernel, ""),
            ((None, KILL), None, FAILED, 2, Cause::Kernel, ""),
            ((None, KILL), None, KERNEL, 0, Cause::Kernel, ""),
            ((None, KILL), asked, KERNEL, 0, Cause::Kernel, ""),
            (
                (None, KILL),
                asked,
                NONE,
                1,
                Cause::Pool,
                "its pool killed it",
            ),
            (
                (None, KILL),
                closed,
                NONE,
                1,
                Cause::Pool,
                "it closed its connection",
            ),
        ];
        for ((code, signal), killed, memory, kernel_kills, cause, note) in table {
            let evidence = Evidence {
                killed,
                memory,
                ..Evidence::default()
            };
            let mut exit = WorkerExit::new(0);
            (exit.code, exit.signal) = (code, signal);
            let exit = verdict(exit, &evidence, || kernel_kills > 0);
            let row = (code, signal, killed, memory, kernel_kills);
            assert_eq!(exit.cause, cause, "{row:?}");
            assert_eq!((exit.code(), exit.signal()), (code, signal));
            let starved = matches!(cause, Cause::Allocation | Cause::Kernel);
            assert_eq!(exit.out_of_memory(), starved, "{row:?}");
            let begins = exit.note.as_deref().unwrap_or("").starts_with(note);
            assert!(begins && exit.note.is_none() == note.is_empty(), "{exit}");
        }
    }

    #[test]
    fn the_note_is_the_most_precise_one() {
        let killed = |was_starting, late, note: Option<&str>, by: Option<&'static str>| {
            let evidence = Evidence {
                killed: by,
                was_starting,
                failed_start: late,
                ..Evidence::default()
            };
            let mut exit = WorkerExit::new(0);
            (exit.signal, exit.note) = (KILL, note.map(str::to_owned));
            verdict(exit, &evidence, || false).note
        };
        let (asked, late) = (Some(KILLED), Some(StartFailure::Waits));
        assert_eq!(
            killed(true, late, Some("known"), asked).as_deref(),
            Some("known")
        );
        assert_eq!(
            killed(true, late, None, asked),
            late.map(|late| late.to_string())
        );
        assert_eq!(
            killed(true, None, None, asked).as_deref(),
            Some("its pool killed it")
        );
        assert_eq!(killed(true, None, None, None), Some(not_begun()));
        assert_eq!(killed(false, None, None, None), None);
        let mut evidence = Evidence {
            memory: Memory::InitializersKeep,
            ..Evidence::default()
        };
        let keeps = verdict(WorkerExit::new(0), &evidence, || true);
        assert!(keeps.out_of_memory() && keeps.to_string().contains("initializers keep"));
        // What the launcher knows is no reason to be silent about that.
        evidence.note = Some("it ran on node1".to_owned());
        let both = verdict(WorkerExit::new(0), &evidence, || true).note;
        let first = keeps.note.unwrap();
        assert_eq!(both, Some(format!("{first}; it ran on node1")));
    }
}
