//! The accept loop and the backlog that all listeners share.
//!
//! While the system has no descriptor for one more connection, that connection waits in the
//! listener's queue, and the listener stays readable: a server that ignored the error would spin.
//! So `accept` pauses and retries before it returns the error. That limits the rate of such errors,
//! and hides a short shortage. The same is done if the system refuses the call itself (a filter).
//!
//! Tests: `tests/io/sockets.rs::no_descriptor_left_is_an_error_and_not_a_spin`,
//! `tests/io/connecting.rs::a_listener_without_room_does_not_spin`.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::fd::{AsFd, BorrowedFd};

use super::source::{Completed, IoSource};
use crate::event_loop::Direction;
use crate::loom::Mutex;
use crate::sys::refused::{is_shortage, refused};
use crate::sys::sockets::ACCEPT;
use crate::timer;
use crate::timer::{Alarm, Held};

/// How many connections may wait to be accepted; the system has its own limit, too.
const BACKLOG: i32 = 4096;

/// How long to wait before the next attempt to get a descriptor. It is not zero: a server that
/// ignores the error would spin. The docs of the listeners state it.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket of the standard library.
#[derive(Debug)]
pub(super) struct ListeningSocket<T> {
    pub(super) socket: T,
    /// Of `poll_accept`.
    pause: Mutex<Option<Pause>>,
}

/// It pauses, or has paused and tries once more.
#[derive(Debug)]
struct Pause {
    alarm: Alarm,
    /// While it pauses: the cause is outside the loop's virtual clock.
    held: Option<Held>,
    is_over: bool,
}

impl Pause {
    /// Polls for a connection. If the system has no descriptor for it, pauses once, and polls
    /// again.
    fn poll<R>(
        pause: &mut Option<Self>,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        loop {
            if let Some(pause) = pause {
                ready!(pause.alarm.poll_elapsed(cx));
                (pause.held, pause.is_over) = (None, true);
            }
            match poll(cx) {
                Poll::Ready(Err(error)) if is_shortage(&error) => {
                    if pause.is_some() {
                        return Poll::Ready(Err(refused(ACCEPT)(error)));
                    }
                    let (alarm, held) = (Alarm::after(SHORTAGE_PAUSE), timer::hold());
                    *pause = Some(Self {
                        alarm,
                        held,
                        is_over: false,
                    });
                }
                polled => return polled,
            }
        }
    }
}

impl<T> From<T> for ListeningSocket<T> {
    fn from(socket: T) -> Self {
        let pause = Mutex::new(None);
        Self { socket, pause }
    }
}

impl<T: AsFd> AsFd for ListeningSocket<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes a bound socket of the standard library listen.
pub(super) fn listen<T: AsFd>(listener: T) -> io::Result<IoSource<ListeningSocket<T>>> {
    // std lets 128 connections wait, and the system drops further ones: the clients of a burst
    // would hang for a second. A second call to `listen` changes the limit.
    rustix::net::listen(listener.as_fd(), BACKLOG)?;
    IoSource::nonblocking(listener.into())
}

/// Accepts connections with `op`.
pub(super) async fn accept<T: AsFd, R>(
    source: &IoSource<ListeningSocket<T>>,
    op: impl FnMut(&T) -> io::Result<R>,
) -> io::Result<R> {
    let (mut op, mut pause) = (passing_over(op), None);
    let mut operation = source.operation(Direction::Read);
    poll_fn(|cx| Pause::poll(&mut pause, cx, |cx| operation.poll(cx, &mut op))).await
}

/// Like [`accept`], for `poll_accept`: only the latest caller is woken.
pub(super) fn poll_accept<T: AsFd, R>(
    source: &IoSource<ListeningSocket<T>>,
    cx: &mut Context<'_>,
    op: impl FnMut(&T) -> io::Result<R>,
) -> Poll<io::Result<R>> {
    let mut op = passing_over(op);
    let place = &source.get_ref().pause;
    // It is taken out, because polling may drop a waker, which is user code.
    let mut pause = place.lock().take();
    let polled = Pause::poll(&mut pause, cx, |cx| {
        source.poll(cx, Direction::Read, &mut op)
    });
    if polled.is_pending() {
        // (After a pause that is over it waits for a client: the next shortage is a new one.)
        let pauses = pause.take_if(|pause| !pause.is_over);
        let other = std::mem::replace(&mut *place.lock(), pauses);
        drop(other); // that of another caller, who was not the latest
    }
    polled
}

/// `op`, without connections that their clients have closed while they waited.
fn passing_over<T, R>(
    mut op: impl FnMut(&T) -> io::Result<R>,
) -> impl FnMut(&ListeningSocket<T>) -> io::Result<Completed<R>> {
    move |listener| loop {
        match op(&listener.socket) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            result => return result.map(Completed::Full),
        }
    }
}

/// A listener's `poll_accept` and `incoming`.
macro_rules! incoming {
    ($listener:ident, $stream:ty, $address:ty, $incoming:ident) => {
        impl $listener {
            /// The connections that come, as a stream: it accepts each in turn, and never ends. An
            /// error is an item, too, and another connection may come after it.
            ///
            /// ```
            /// use std::time::Duration;
            /// use trefoil::io::{TcpListener, TcpStream};
            ///
            /// trefoil::run(async {
            ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
            ///     let _client = TcpStream::connect(listener.local_addr()?).await?;
            ///     let mut connections = listener.incoming();
            ///     let stream = connections.next().await?;
            ///     stream.write_all(b"hello").await
            /// })?;
            /// # Ok::<(), std::io::Error>(())
            /// ```
            pub fn incoming(&self) -> $incoming<'_> {
                $incoming { listener: self }
            }
        }

        /// Returned by
        #[doc = concat!("[`", stringify!($listener), "::incoming`].")]
        #[derive(Debug)]
        #[must_use = "it accepts only when it is asked for the next connection"]
        pub struct $incoming<'a> {
            listener: &'a $listener,
        }

        impl $incoming<'_> {
            /// Accepts the next connection. Unlike the stream's, this `next` returns no
            /// `Option`, because there is no end.
            ///
            /// # Errors
            ///
            /// Those of
            #[doc = concat!("[`", stringify!($listener), "::accept`].")]
            ///
            /// # Cancel safety
            ///
            /// Dropping the future loses no connection.
            pub async fn next(&mut self) -> std::io::Result<$stream> {
                let (stream, _) = self.listener.accept().await?;
                Ok(stream)
            }
        }

        impl futures_core::Stream for $incoming<'_> {
            type Item = std::io::Result<$stream>;

            fn poll_next(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Self::Item>> {
                let accepted = self.listener.poll_accept(cx);
                accepted.map(|accepted| Some(accepted.map(|(stream, _)| stream)))
            }
        }
    };
}
pub(super) use incoming;

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use crate::event_loop;
    use rustix::io::Errno;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_pause_that_is_over_is_of_no_later_shortage() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap();
        let mut clients = vec![TcpStream::connect(place).unwrap()];
        let short = || Err(Errno::MFILE.into());
        let mut calls = 0;
        let accepted = event_loop::root::run(async move {
            let source = listen(listener).unwrap();
            let mut accept = |_: &TcpListener| {
                calls += 1;
                match calls {
                    1 | 3 => short(),
                    // The client has gone, and another one comes.
                    2 => {
                        clients.push(TcpStream::connect(place).unwrap());
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    call => Ok(call),
                }
            };
            poll_fn(|cx| poll_accept(&source, cx, &mut accept)).await
        });
        assert_eq!(accepted.unwrap(), 4);
    }
}
