//! The thread of a page or of a socket: it has a loop of its own, on which it serves until it is
//! stopped.

use std::fmt;
use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

use trefoil::{CancelToken, EventLoop};

/// A thread that serves. Dropping it stops it, and waits until it has ended.
pub(crate) struct ServingThread {
    stop: CancelToken,
    thread: Option<JoinHandle<()>>,
    /// The process that has the thread: not a forked child.
    program: u32,
}

/// Starts a thread that calls `listen`, and `serve` with the second half of what that returns. The
/// first half is the caller's.
pub(crate) fn start<T: Send + 'static, L>(
    name: &str,
    listen: impl AsyncFnOnce() -> io::Result<(T, L)> + Send + 'static,
    serve: impl AsyncFnOnce(L, CancelToken) + Send + 'static,
) -> io::Result<(T, ServingThread)> {
    let stop = CancelToken::new();
    let stopped = stop.clone();
    let (sender, started) = mpsc::channel(); // (the caller waits for what is sent)
    let thread = Builder::new().name(name.to_owned()).spawn(move || {
        let event_loop = match EventLoop::new() {
            Ok(event_loop) => event_loop,
            Err(error) => {
                let _ = sender.send(Err(error));
                return;
            }
        };
        event_loop.block_on(async {
            match listen().await {
                Ok((opened, listener)) => {
                    let _ = sender.send(Ok(opened));
                    serve(listener, stopped).await;
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                }
            }
        });
    })?;
    let gone = |_| Err(io::Error::other("the thread that should listen has ended"));
    let opened = started.recv().unwrap_or_else(gone)?;
    let serving = ServingThread {
        stop,
        thread: Some(thread),
        program: std::process::id(),
    };
    Ok((opened, serving))
}

impl Drop for ServingThread {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && self.program == std::process::id()
        {
            let _ = thread.join(); // its panic was reported
        }
    }
}

impl fmt::Debug for ServingThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingThread").finish_non_exhaustive()
    }
}
