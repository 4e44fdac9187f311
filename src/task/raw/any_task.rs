//! The tasks in a list of futures of any one type.
//!
//! **Job.** `join_all`, `try_join_all` and `race` take futures, and a [`Task`] is a future. But
//! with a task they do more than take its output: they look at it without taking the output, and
//! cancel it. No trait can tell tasks from other futures (`docs/DESIGN.md` says why), so this file
//! finds out from the type.
//!
//! - **T19** [`is_task`] is true for `Task<T>`, of any `T`, and for no other type. It relies on
//!   what [`Iterator::fuse`] promises: after a `None` come only `None`s, unless the iterator is a
//!   [`FusedIterator`], to which `fuse` is a no-op. `Probe<F>` returns something after its first
//!   `None`, and is a [`FusedIterator`] only if `F` is a `Task`. So if a second `next` through
//!   `fuse` returns something, `F` is a task. The optimizer reduces this to a constant.
//! - **T20** A `Task<T>` has the memory layout of its one field, whatever `T` is; and an
//!   [`AnyTask`] that of a `Task`.
//!
//! **Rejected.** Comparing `TypeId`s: types that borrow have none, and `T` is not known. A special
//! waker to which the poll of a task would respond: each poll of each task would pay for it, and a
//! task inside another future would respond, too.
//!
//! Tests: those of this file, `tests/task/futures.rs`.
#![allow(unsafe_code)]

use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::handle::Task;
use super::header::TaskRef;

/// Returns something after its first `None`, which a [`FusedIterator`] must not.
struct Probe<F> {
    asked: bool,
    _of: PhantomData<F>,
}

impl<F> Iterator for Probe<F> {
    type Item = ();

    fn next(&mut self) -> Option<()> {
        mem::replace(&mut self.asked, true).then_some(())
    }
}

/// False, on purpose: `fuse` believes it, and that is how a task is recognized (T19).
impl<T> FusedIterator for Probe<Task<T>> {}

/// Whether `F` is a `Task<T>`, of some `T` (T19).
#[inline]
pub(in crate::task) fn is_task<F>() -> bool {
    let probe = Probe::<F> {
        asked: false,
        _of: PhantomData,
    };
    let mut probe = probe.fuse();
    probe.next().is_none() && probe.next().is_some()
}

/// Stands for the output type of a task, where that is not known.
enum Unknown {}

/// A task with an output of unknown type, which is not touched.
#[repr(transparent)]
pub(in crate::task) struct AnyTask(Task<Unknown>);

impl AnyTask {
    /// As [`Task::register`].
    #[inline]
    pub(in crate::task) fn register(&mut self, waker: Waker) -> bool {
        self.0.register(waker)
    }

    #[inline]
    pub(in crate::task) fn cell(&self) -> &TaskRef {
        self.0.cell()
    }
}

/// These futures as tasks, if they are tasks.
#[inline]
pub(in crate::task) fn as_tasks<F>(futures: &mut [F]) -> Option<&mut [AnyTask]> {
    let tasks = &raw mut *futures as *mut [AnyTask];
    // SAFETY: T19, T20: each is a `Task<T>`, and an `AnyTask` has the same layout, and touches no
    // `T`.
    is_task::<F>().then(|| unsafe { &mut *tasks })
}

/// Like [`as_tasks`], where the type of their values is known.
#[inline]
pub(in crate::task) fn as_tasks_of<F, T, E>(futures: &mut [F]) -> Option<&mut [Task<T>]>
where
    F: Future<Output = Result<T, E>>,
{
    let tasks = &raw mut *futures as *mut [Task<T>];
    // SAFETY: T19: `F` is `Task<U>`, whose output is a `Result<U, TaskError>`, and here a
    // `Result<T, E>`: `U` is `T`.
    is_task::<F>().then(|| unsafe { &mut *tasks })
}

/// The output of a task that nothing will complete, if `F` is a task: `Closed`.
pub(in crate::task) fn closed<F: Future>() -> Option<F::Output> {
    if !is_task::<F>() {
        return None;
    }
    let mut taken = Task::ready(());
    let _taken = taken.take();
    let taken = ManuallyDrop::new(taken);
    // SAFETY: T19, T20: `F` is a `Task<T>`, which has the layout of a `Task<()>`; its count moves
    // along (T6). T2, T7: its output was taken, so neither the next line nor its drop touches
    // one, and the `T` does not matter.
    let taken = unsafe { mem::transmute_copy::<ManuallyDrop<Task<()>>, F>(&taken) };
    Some(output_of(taken))
}

/// The output of a task that has ended.
pub(in crate::task) fn output_of<F: Future>(ended: F) -> F::Output {
    match pin!(ended).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("it has ended"),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::cell::Cell;
    use std::future::Ready;
    use std::pin::Pin;
    use std::rc::Rc;

    use super::*;
    use crate::task::CancelOnDrop;
    use crate::task::error::TaskError;

    #[test]
    fn only_tasks_are_tasks() {
        fn of_borrow<'a>(_: &'a u8) -> bool {
            is_task::<Task<&'a u8>>()
        }
        assert!(is_task::<Task<()>>() && is_task::<Task<Rc<[u64; 4]>>>() && of_borrow(&1));
        assert!(is_task::<Task<Task<u8>>>() && is_task::<Task<Wide>>());
        assert!(!is_task::<CancelOnDrop<u8>>() && !is_task::<Ready<u8>>());
        assert!(!is_task::<&mut Task<u8>>() && !is_task::<Pin<Box<Task<u8>>>>());
        assert!(!is_task::<Option<Task<u8>>>() && !is_task::<ManuallyDrop<Task<u8>>>());
    }

    #[repr(align(64))]
    struct Wide(#[expect(dead_code, reason = "it is to be wide")] [u8; 100]);

    #[test]
    fn the_layouts_are_one() {
        assert_eq!(size_of::<AnyTask>(), size_of::<Task<[u64; 9]>>());
        let mut tasks = [
            Task::ready(Rc::new(Cell::new(1))),
            Task::ready(Rc::default()),
        ];
        let ids = tasks.each_ref().map(Task::id);
        let any = as_tasks(&mut tasks).unwrap();
        assert_eq!([any[0].cell().id(), any[1].cell().id()], ids);
        assert!(!any[0].register(Waker::noop().clone()), "it has ended");
        let [one, _] = tasks;
        assert_eq!(output_of(one).unwrap().get(), 1);
        assert!(as_tasks(&mut [std::future::ready(1)]).is_none());
        assert!(as_tasks_of(&mut [std::future::ready(Ok::<u8, u8>(1))]).is_none());
    }

    #[test]
    fn no_task_is_closed_whatever_it_would_have_given() {
        let closed_one = closed::<Task<Wide>>().unwrap();
        assert!(matches!(closed_one, Err(TaskError::Closed)));
        assert!(matches!(
            closed::<Task<Box<u8>>>(),
            Some(Err(TaskError::Closed))
        ));
        assert!(closed::<Ready<u8>>().is_none());
    }
}
