//! tokio's context on the loop, as reqwest, sqlx, tonic and similar crates need it.
//!
//! They open sockets, sleep and start tasks through the tokio runtime that their thread has
//! entered. Without one they panic: *"there is no reactor running, must be called from the context
//! of a Tokio 1.x runtime"*. [`with`] enters one around each poll of a future, which otherwise is
//! polled by your loop like any other:
//!
//! ```
//! use trefoil::adapters::tokio;
//!
//! let answer = trefoil::run(tokio::with(async {
//!     let nap = ::tokio::spawn(::tokio::time::sleep(std::time::Duration::from_millis(1)));
//!     nap.await.unwrap();
//!     trefoil::spawn_blocking(|| 42).await.unwrap()
//! }));
//! assert_eq!(answer, 42);
//! ```
//!
//! A future that you pass to `trefoil::spawn` must be wrapped separately. Or let the whole thread
//! enter; then everything that runs on its loops is inside:
//!
//! ```
//! let tokio = trefoil::adapters::tokio::handle()?;
//! let _entered = tokio.enter();
//! trefoil::run(async {
//!     trefoil::spawn(::tokio::time::sleep(std::time::Duration::from_millis(1))).await.unwrap();
//! });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! There is one runtime per process, created on first use and kept. It has one thread, which waits
//! for tokio's sockets and timers and polls the tasks of `tokio::spawn`;
//! `tokio::task::spawn_blocking` starts more. A future on your loop that waits for one of its
//! sockets is woken from that thread: an echo over the loopback takes 1.3 to 3.5 times as long as
//! with a socket of [`io`](crate::io). The end of `trefoil::run` does not end tasks of
//! `tokio::spawn`. A loop with [`virtual_time`](crate::EventLoopBuilder::virtual_time) does not
//! move tokio's clock. A forked child gets its own runtime, at its next [`with`].

// Tests: `tests/trefoil-adapters/tests/tokio_context.rs`.
//
// Rejected: using a runtime that the host has already entered. If it has a single thread, and that
// thread runs our loop, nothing drives it. Also rejected: ending the runtime with the last future,
// because connections that a client keeps for its next request would end with it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::loom::Mutex;
use crate::sys::fork::PerProcess;

/// Starts a tokio runtime at its first call, and returns its handle: that which [`with`] enters.
///
/// # Errors
///
/// If the system refuses its descriptors.
///
/// # Panics
///
/// If the system refuses its thread.
///
/// ```
/// let tokio = trefoil::adapters::tokio::handle()?;
/// let task = tokio.spawn(async { 42 });
/// assert_eq!(trefoil::run(task).unwrap(), 42);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn handle() -> io::Result<Handle> {
    static RUNTIME: PerProcess<Mutex<Option<Runtime>>> = PerProcess::new();
    let mut place = RUNTIME.get_or_init(Mutex::default).lock();
    if let Some(runtime) = &*place {
        return Ok(runtime.handle().clone());
    }
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).thread_name("trefoil-tokio");
    let runtime = place.insert(builder.enable_all().build()?);
    Ok(runtime.handle().clone())
}

/// Polls `future`, and drops it once it has been polled, inside a tokio runtime.
///
/// Tokio objects that must be created inside a runtime (a sleep, say) are created by the future:
/// `with(async { sleep(d).await })`, not `with(sleep(d))`. A future that is dropped without having
/// been polled is dropped outside. It is `Send` if `future` is; it may be polled on any executor.
///
/// # Panics
///
/// At the first poll, if the system refuses a thread or descriptor for the runtime. [`handle`]
/// returns an error instead.
///
/// # Cancel safety
///
/// It is as cancel safe as `future`.
///
/// ```
/// use std::time::Duration;
/// use trefoil::adapters::tokio;
///
/// trefoil::run(async {
///     let task = trefoil::spawn(tokio::with(async {
///         ::tokio::time::sleep(Duration::from_secs(3600)).await;
///     }));
///     trefoil::time::sleep(Duration::from_millis(1)).await;
///     assert!(task.cancel());
/// });
/// ```
pub fn with<F: Future>(future: F) -> impl Future<Output = F::Output> {
    With {
        future: Some(future),
        handle: None,
    }
}

pin_project! {
    /// Returned by [`with`].
    struct With<F> {
        // `None`: it is done.
        #[pin]
        future: Option<F>,
        handle: Option<Handle>,
    }

    impl<F> PinnedDrop for With<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.handle.as_ref().map(Handle::enter);
            this.future.set(None);
        }
    }
}

impl<F: Future> Future for With<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let handle = this.handle.get_or_insert_with(|| {
            handle().unwrap_or_else(|error| {
                panic!("trefoil::adapters::tokio could not start a tokio runtime: {error}")
            })
        });
        let _entered = handle.enter();
        let future = this.future.as_mut().as_pin_mut();
        let output = ready!(
            future
                .expect("a future is not polled after its end")
                .poll(cx)
        );
        this.future.set(None);
        Poll::Ready(output)
    }
}
