//! `IntoTask`: what functions over tasks take.

use crate::task::raw::Task;

/// A [`Task`], or what becomes one: a [`CancelOnDrop`](crate::task::CancelOnDrop), a
/// [`Process`](crate::Process). Every type that is `Into<Task<T>>` implements it; there is no need
/// to implement or to name it.
///
/// A future is no task: nothing would run it.
///
/// ```compile_fail
/// async fn load(n: u32) -> u32 { n }
///
/// trefoil::run(async { trefoil::join_all([load(1), load(2)]).await });
/// ```
///
/// ```
/// async fn load(n: u32) -> u32 { n }
///
/// trefoil::run(async { trefoil::join_all([load(1), load(2)].map(trefoil::spawn)).await });
/// ```
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is not a task",
    label = "expected a `Task`",
    note = "a future becomes a task when it is spawned: `join_all(futures.map(trefoil::spawn))`, or \
        `pool.spawn_async(future)` on threads",
    note = "for a few futures of different types there are `join!` and `select!`"
)]
pub trait IntoTask<T>: Into<Task<T>> {}

#[diagnostic::do_not_recommend]
impl<T, F: Into<Task<T>>> IntoTask<T> for F {}
