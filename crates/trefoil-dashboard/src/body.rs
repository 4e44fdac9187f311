//! The bodies of responses: bytes, or the stream of events.
//!
//! The next event is made when the connection has room for it: a client that reads slowly gets
//! fewer, and nothing piles up for it here.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use trefoil::time::{Sleep, sleep};

use crate::sampler::{INTERVAL, Stream};

/// Counts what a connection does, so that one that does nothing is noticed.
pub(crate) type Activity = Rc<Cell<u64>>;

#[derive(Debug)]
pub(crate) enum Answer {
    Whole(Option<Bytes>),
    Events(Events),
}

/// Counters once a second, and the notes when there are new ones.
#[derive(Debug)]
pub(crate) struct Events {
    stream: Stream,
    seen: Option<u64>,
    next: Pin<Box<Sleep>>,
    /// What comes at once.
    ready: Option<Bytes>,
    activity: Activity,
}

impl Events {
    pub(crate) fn new(stream: Stream, activity: Activity) -> Self {
        Self {
            stream,
            seen: None,
            next: Box::pin(sleep(std::time::Duration::ZERO)),
            // How long a browser waits before it asks again when the stream has ended.
            ready: Some(Bytes::from_static(b"retry: 2000\n\n")),
            activity,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        self.activity.set(self.activity.get() + 1);
        if let Some(bytes) = self.ready.take() {
            return Poll::Ready(bytes);
        }
        ready!(self.next.as_mut().poll(cx));
        self.next = Box::pin(sleep(INTERVAL));
        self.ready = self.stream.notes(&mut self.seen);
        Poll::Ready(self.stream.latest())
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Self::Whole(bytes) => bytes.take(),
            Self::Events(events) => Some(ready!(events.poll_next(cx))),
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}
