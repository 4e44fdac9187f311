//! The conversation of a pool with its gateway to Dask.
//!
//! **Protocol.** The gateway writes lines (`dask` says which). The pool sends messages, in order:
//! the end of a worker's stream with one byte, or the number of a result that the cluster need not
//! keep any longer.
//!
//! The gateway does not read while it is busy, and the kernel has room for some hundred messages
//! only. The pool's threads must not wait for it: what does not fit is kept here, and a thread
//! sends it when there is room. It ends when everything is sent, or the gateway is gone.
//!
//! Tests: below; `tests/dask/promises.rs`.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::loom::Mutex;
use crate::loom::thread;
use crate::process::value::attachments;
use crate::sys::poll::poll_patiently;
use crate::sys::refused::is_crowded;
use crate::sys::sockets::SEND;

/// How long to wait until a message is sent again that the kernel has refused although there is
/// room: no event reports when it takes it.
const CROWDED: Duration = Duration::from_millis(5);

/// Our end.
#[derive(Debug)]
pub(super) struct Control {
    socket: UnixStream,
    /// Bytes that the gateway has written, and that no line has been made of yet.
    said: Mutex<Vec<u8>>,
    unsent: Mutex<Unsent>,
}

/// What the socket had no room for.
#[derive(Debug, Default)]
struct Unsent {
    messages: VecDeque<Message>,
    /// A thread sends it.
    has_thread: bool,
}

/// One message, or what is left of it.
#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    /// It goes with the first byte.
    end: Option<OwnedFd>,
}

/// Why not everything was sent.
enum Left {
    /// The socket is full.
    Full,
    /// The kernel has no memory, or too many descriptors are under way.
    Crowded,
}

impl Control {
    pub(super) fn new(socket: UnixStream) -> Self {
        Self {
            socket,
            said: Mutex::default(),
            unsent: Mutex::default(),
        }
    }

    /// How long [`line`](Self::line) may wait. `None`: it does not.
    pub(super) fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.socket.set_read_timeout(patience)?;
        self.socket.set_nonblocking(patience.is_none())
    }

    /// The gateway's next line; empty after its end.
    pub(super) fn line(&self) -> io::Result<String> {
        let mut said = self.said.lock();
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = said.iter().position(|byte| *byte == b'\n') {
                let line = said.drain(..=end).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            match (&self.socket).read(&mut buffer) {
                Ok(0) => return Ok(String::new()),
                Ok(count) => said.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(String::new());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes this line the next one again.
    pub(super) fn put_back(&self, line: &str) {
        let line = format!("{line}\n").into_bytes();
        self.said.lock().splice(..0, line);
    }

    /// Hands over the end of a worker's stream. Never waits.
    pub(super) fn open(self: &Arc<Self>, end: OwnedFd) {
        self.send(Message {
            bytes: vec![b'w'],
            end: Some(end),
        });
    }

    /// Frees the result that the cluster keeps as `id`. Never waits.
    pub(super) fn free(self: &Arc<Self>, id: u64) {
        let mut bytes = vec![b'f'];
        bytes.extend(id.to_le_bytes());
        self.send(Message { bytes, end: None });
    }

    fn send(self: &Arc<Self>, message: Message) {
        let mut unsent = self.unsent.lock();
        unsent.messages.push_back(message);
        if unsent.has_thread || self.send_some(&mut unsent.messages).is_ok() {
            return;
        }
        let own = self.clone();
        let thread = thread::Builder::new().name("trefoil-control".to_owned());
        // (Without a thread, what is left waits until the next message is sent.)
        unsent.has_thread = thread.spawn(move || own.send_rest()).is_ok();
    }

    /// Sends everything, however long that takes.
    fn send_rest(&self) {
        loop {
            let mut unsent = self.unsent.lock();
            let left = self.send_some(&mut unsent.messages);
            unsent.has_thread = left.is_err();
            drop(unsent);
            match left {
                Ok(()) => return,
                Err(Left::Full) => {
                    poll_patiently(&mut [PollFd::new(&self.socket, PollFlags::OUT)], None);
                }
                Err(Left::Crowded) => std::thread::sleep(CROWDED),
            }
        }
    }

    /// Sends as many messages as the kernel takes. If the gateway is gone, there are none any more.
    fn send_some(&self, messages: &mut VecDeque<Message>) -> Result<(), Left> {
        while let Some(message) = messages.front_mut() {
            let parts = [IoSlice::new(&message.bytes)];
            match attachments::send(&self.socket, &parts, message.end.as_slice(), SEND) {
                Ok(count) => {
                    message.end = None;
                    message.bytes.drain(..count);
                    if message.bytes.is_empty() {
                        messages.pop_front();
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(Left::Full),
                Err(error) if is_crowded(error) => return Err(Left::Crowded),
                Err(_) => messages.clear(), // the workers' streams end with it
            }
        }
        Ok(())
    }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;
    use std::io::Write;

    use rustix::net::RecvFlags;

    use crate::process::host::handover::receive;

    /// More messages than the kernel has room for.
    const MANY: u64 = 3000;

    #[test]
    fn what_does_not_fit_is_sent_later_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let control = Arc::new(Control::new(ours));
        control.set_patience(None).unwrap();
        (0..MANY).for_each(|id| control.free(id));
        let left = control.unsent.lock().messages.len();
        assert!(left > 0, "there was room for {MANY}");
        for id in 0..MANY {
            let mut message = [0; 9];
            theirs.read_exact(&mut message).unwrap();
            assert_eq!((message[0], &message[1..]), (b'f', &id.to_le_bytes()[..]));
        }
        // The ends come with their bytes, and reach their worker.
        let pairs: Vec<_> = (0..MANY / 10)
            .map(|_| UnixStream::pair().unwrap())
            .collect();
        let (mut workers, ends): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        ends.into_iter().for_each(|end| control.open(end.into()));
        for worker in &mut workers {
            let mut byte = [0];
            let mut come = receive(&theirs, &mut byte, RecvFlags::empty()).unwrap();
            assert_eq!((come.bytes, come.descriptors.len(), byte), (1, 1, *b"w"));
            let mut end = UnixStream::from(come.descriptors.remove(0));
            end.write_all(b"x").unwrap();
            worker.read_exact(&mut byte).unwrap();
        }
    }

    #[test]
    fn nothing_waits_for_a_gateway_that_is_gone() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let control = Arc::new(Control::new(ours));
        (0..MANY).for_each(|id| control.free(id));
        let (end, mut worker) = UnixStream::pair().unwrap();
        control.open(end.into());
        drop(theirs);
        assert_eq!(worker.read(&mut [0]).unwrap(), 0, "its stream ends");
    }
}
