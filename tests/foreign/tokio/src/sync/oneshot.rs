//! `oneshot`: a `Completer` and its task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use trefoil::{CancelOnDrop, Completer};

pub mod error {
    #[derive(Clone, Debug, Eq, PartialEq)]
    pub struct RecvError(pub(super) ());

    #[derive(Clone, Debug, Eq, PartialEq)]
    pub enum TryRecvError {
        Empty,
        Closed,
    }
}

use error::{RecvError, TryRecvError};

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("channel closed")
    }
}

impl std::error::Error for RecvError {}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "channel empty",
            Self::Closed => "channel closed",
        })
    }
}

impl std::error::Error for TryRecvError {}

pub fn channel<T: Send + 'static>() -> (Sender<T>, Receiver<T>) {
    let (completer, task) = Completer::new();
    (Sender(completer), Receiver(task.cancel_on_drop()))
}

#[derive(Debug)]
pub struct Sender<T>(Completer<T>);

impl<T> Sender<T> {
    pub fn send(self, value: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(value);
        }
        self.0.complete(Ok(value));
        Ok(())
    }

    pub fn is_closed(&self) -> bool {
        self.0.is_cancelled()
    }

    pub async fn closed(&mut self) {
        self.0.cancelled().await;
    }
}

#[derive(Debug)]
pub struct Receiver<T>(CancelOnDrop<T>);

impl<T> Receiver<T> {
    pub fn close(&mut self) {
        self.0.cancel();
    }

    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.0.try_join() {
            None => Err(TryRecvError::Empty),
            Some(result) => result.map_err(|_| TryRecvError::Closed),
        }
    }

    pub fn blocking_recv(self) -> Result<T, RecvError> {
        self.0.join().map_err(|_| RecvError(()))
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(|_| RecvError(()))
    }
}
