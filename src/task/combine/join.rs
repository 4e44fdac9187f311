//! A few futures at once, of different types, in one task: the macro `join!`.
//!
//! All are polled with the task's own waker, so each wake-up polls all that have not ended. Each
//! time another one is polled first: what the first takes (of a socket that they share, of the time
//! until a deadline) the others lack. This is meant for a few futures that are written one by one.
//! For a list, spawn them and pass the tasks to `join_all`.

use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// Waits for a few futures at once, inside one task, and returns all their outputs, as a tuple in
/// their order.
///
/// The futures may be of any types ([`IntoFuture`]) and may borrow. They are not spawned: they
/// share the task, and the thread, of the calling code. Use it in async code, on any runtime.
///
/// At first they are polled in their order, then each time another one is the first, so that none
/// takes from the others what they share.
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
/// Dropping it drops the futures, and the outputs of those that have ended.
#[macro_export]
macro_rules! join {
    (@ [$({ $joining:ident $future:expr })*]) => {{
        $(let mut $joining = ::std::pin::pin!($crate::task::Joining::of($future));)*
        let mut first = 0;
        ::std::future::poll_fn(|cx| {
            let (mut all, mut number) = (true, 0);
            // From the first one to the last, then those before it.
            for is_behind in [true, false] {
                number = 0;
                $(
                    if (number >= first) == is_behind {
                        all &= $joining.as_mut().poll(cx);
                    }
                    number += 1;
                )*
            }
            first = if first + 1 < number { first + 1 } else { 0 };
            if all { ::std::task::Poll::Ready(()) } else { ::std::task::Poll::Pending }
        })
        .await;
        ($($joining.as_mut().take(),)*)
    }};
    // Each round makes a new variable, because `joining` is a different name in each.
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

    /// Polls the future. Returns true if it has ended.
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
