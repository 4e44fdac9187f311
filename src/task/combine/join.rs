//! A few futures at once, of different types, in one task: the macro `join!`.
//!
//! Each is polled with the task's own waker, so each wake-up polls all that have not ended: meant
//! for a few, written one by one. For a list, spawn them and give the tasks to `join_all`.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Waits for a few futures at once, inside one task, and gives all their outputs, as a tuple in
/// their order.
///
/// They may be of any types ([`IntoFuture`]), may borrow, and are not spawned: they share the task,
/// and the thread, of the code that has this. To be used in async code, on any runtime.
///
/// ```
/// let pool = trefoil::ThreadPool::with_threads(1);
/// let (sum, text) = trefoil::run(async {
///     let word = String::from("both");
///     let wait = async {
///         trefoil::yield_now().await;
///         word.len()
///     };
///     trefoil::join!(pool.spawn(|| 1 + 2), wait)
/// });
/// assert_eq!((sum.unwrap(), text), (3, 4));
/// ```
///
/// # Cancel safety
/// Dropping it drops the futures, and outputs that are there.
#[macro_export]
macro_rules! join {
    (@ [$({ $joining:ident $future:expr })*]) => {{
        $(let mut $joining = ::std::pin::pin!($crate::task::Joining::of($future));)*
        ::std::future::poll_fn(|cx| {
            let mut all = true;
            $(all &= $joining.as_mut().poll(cx);)*
            match all {
                true => ::std::task::Poll::Ready(()),
                false => ::std::task::Poll::Pending,
            }
        })
        .await;
        ($($joining.as_mut().take(),)*)
    }};
    // Each round makes a variable of its own: `joining` is another name in each.
    (@ [$($before:tt)*] $future:expr, $($rest:tt)*) => {
        $crate::join!(@ [$($before)* { joining $future }] $($rest)*)
    };
    ($($future:expr),* $(,)?) => {
        $crate::join!(@ [] $($future,)*)
    };
}

pin_project! {
    /// One of the futures of a `join!`, and later its output.
    #[doc(hidden)]
    pub struct Joining<F: Future> {
        // `None`: it has ended.
        #[pin]
        future: Option<F>,
        output: Option<F::Output>,
    }
}

impl<F: Future> Joining<F> {
    pub fn of(future: impl IntoFuture<IntoFuture = F>) -> Self {
        Self {
            future: Some(future.into_future()),
            output: None,
        }
    }

    /// True: it has ended.
    pub fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            return true;
        };
        let Poll::Ready(output) = future.poll(cx) else {
            return false;
        };
        this.future.set(None);
        *this.output = Some(output);
        true
    }

    pub fn take(self: Pin<&mut Self>) -> F::Output {
        let output = self.project().output.take();
        output.expect("all have ended")
    }
}
