//! What passes between a local socket and a connection, at either end of it.
//!
//! **Messages.** The first byte is the kind:
//! - [`DATA`]: bytes of the stream.
//! - [`MORE`]: permission to send so many more bytes of data (four bytes). At first it is
//!   [`WINDOW`].
//! - [`END`], from the pool: the worker must end. There is no more data.
//! - [`EXIT`], from the holder: the worker has ended so ([`Report`]). There is no more data.
//!
//! **Buffers.** What has arrived goes to the local socket at once, as far as that takes it; the
//! rest waits here, and is never more than `WINDOW`, because the permission for more follows only
//! when it is gone. So `hear` never waits for the local socket, and each message is received soon.
//!
//! **Invariants.** The three futures of a relay belong to one task. None holds a borrow of a cell
//! while it waits.
//!
//! Tests: below, `listener.rs`.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;

use trefoil::io::UnixStream;
use trefoil::sync::Event;

use super::report::Report;
use super::sealed::{LONGEST, Receiver, Sender};

const DATA: u8 = 0;
const MORE: u8 = 1;
const END: u8 = 2;
const EXIT: u8 = 3;

/// The most data that one side keeps for its local socket.
pub(super) const WINDOW: usize = 128 << 10;

/// The last message of the other side.
#[derive(Debug)]
pub(super) enum Last {
    End,
    Exit(Report),
}

/// One end of a worker's stream.
pub(super) struct Relay<'a> {
    local: &'a UnixStream,
    /// How much data the other side permits.
    may_send: Cell<usize>,
    /// How much data this side has permitted.
    may_come: Cell<usize>,
    /// How much more data this side could permit.
    owed: Cell<usize>,
    /// There may be something for `say` to send.
    news: Event,
    /// What the local socket has not taken yet.
    waiting: RefCell<Vec<u8>>,
    /// How much of that there is, including what `deliver` is writing.
    undelivered: Cell<usize>,
    /// There may be something for `deliver` to do.
    comes: Event,
    /// `deliver` has nothing to do.
    delivered: Event,
    /// Nobody reads from the local socket.
    is_deaf: Cell<bool>,
    /// The report that ends it.
    report: RefCell<Option<Report>>,
    /// Nobody writes to the local socket.
    pub(super) ended: Event,
}

async fn wait(event: Option<&Event>) {
    match event {
        Some(event) => event.wait().await,
        None => std::future::pending().await,
    }
}

fn invalid(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

impl<'a> Relay<'a> {
    pub(super) fn new(local: &'a UnixStream) -> Self {
        Self {
            local,
            may_send: Cell::new(WINDOW),
            may_come: Cell::new(WINDOW),
            owed: Cell::new(0),
            news: Event::new(),
            waiting: RefCell::default(),
            undelivered: Cell::new(0),
            comes: Event::new(),
            delivered: Event::new(),
            is_deaf: Cell::new(false),
            report: RefCell::default(),
            ended: Event::new(),
        }
    }

    /// The worker has ended: `say` sends what its socket still has, then this.
    pub(super) fn exit(&self, report: Report) {
        *self.report.borrow_mut() = Some(report);
        self.news.set();
    }

    /// Sends what the local socket says, and permissions. For the pool: `END` when `end` is set,
    /// even if data waits for permission, or when the local socket ends. Returns when the report
    /// was sent.
    pub(super) async fn say(&self, sender: &mut Sender<'_>, end: Option<&Event>) -> io::Result<()> {
        let mut message = vec![0; LONGEST];
        let mut is_open = true;
        loop {
            self.news.clear();
            if self.owed.get() >= WINDOW / 2 {
                let owed = self.owed.take();
                self.may_come.set(self.may_come.get() + owed);
                let count = u32::try_from(owed).map_err(io::Error::other)?;
                sender
                    .send(&[&[MORE][..], &count.to_be_bytes()].concat())
                    .await?;
                continue;
            }
            let room = self.may_send.get().min(LONGEST - 1);
            let has_exited = self.report.borrow().is_some();
            let read = if has_exited && is_open && room > 0 {
                // All that a dead process has written can be read without waiting.
                self.local.try_read(&mut message[1..=room])
            } else if has_exited && !is_open {
                let report = self.report.take();
                let text = report.map_or_else(String::new, |report| report.text());
                return sender.send(&[&[EXIT], text.as_bytes()].concat()).await;
            } else {
                trefoil::select! {
                    () = self.news.wait() => continue,
                    () = wait(end), if is_open => Ok(0),
                    read = self.local.read(&mut message[1..=room]), if is_open && room > 0 => read,
                }
            };
            let count = read.unwrap_or(0); // what fails has ended
            if count > 0 {
                self.may_send.set(self.may_send.get() - count);
                message[0] = DATA;
                sender.send(&message[..=count]).await?;
                continue;
            }
            is_open = false;
            self.ended.set();
            if end.is_some() {
                sender.send(&[END]).await?;
            }
        }
    }

    /// Receives until the other side's last message.
    pub(super) async fn hear(&self, receiver: &mut Receiver<'_>) -> io::Result<Last> {
        loop {
            let message = receiver.receive().await?;
            match message.split_first() {
                Some((&DATA, data)) => self.take(data)?,
                Some((&MORE, count)) => {
                    let count = count.try_into().map_err(|_| invalid("no number"))?;
                    let count = u32::from_be_bytes(count) as usize;
                    let may_send = self.may_send.get().checked_add(count);
                    let may_send = may_send.filter(|may| *may <= WINDOW);
                    self.may_send
                        .set(may_send.ok_or_else(|| invalid("a permission too many"))?);
                    self.news.set();
                }
                Some((&END, [])) => return Ok(Last::End),
                Some((&EXIT, text)) => {
                    let report = Report::parse(text).ok_or_else(|| invalid("no report"))?;
                    return Ok(Last::Exit(report));
                }
                _ => return Err(invalid("no message of the protocol")),
            }
        }
    }

    /// Passes data on to the local socket, or keeps it for `deliver`.
    fn take(&self, data: &[u8]) -> io::Result<()> {
        let may_come = self.may_come.get().checked_sub(data.len());
        self.may_come
            .set(may_come.ok_or_else(|| invalid("more data than permitted"))?);
        let mut taken = 0;
        if self.undelivered.get() == 0 {
            taken = match self.local.try_write(data) {
                _ if self.is_deaf.get() => data.len(),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => {
                    self.is_deaf.set(true);
                    data.len()
                }
            };
            self.owe(taken);
        }
        if taken < data.len() {
            self.waiting.borrow_mut().extend_from_slice(&data[taken..]);
            self.undelivered
                .set(self.undelivered.get() + data.len() - taken);
            self.comes.set();
        }
        Ok(())
    }

    fn owe(&self, count: usize) {
        self.owed.set(self.owed.get() + count);
        if self.owed.get() >= WINDOW / 2 {
            self.news.set();
        }
    }

    /// Writes what waits to the local socket.
    pub(super) async fn deliver(&self) -> Infallible {
        loop {
            self.comes.clear();
            let bytes = self.waiting.take();
            if bytes.is_empty() {
                self.delivered.set();
                self.comes.wait().await;
                continue;
            }
            if self.local.write_all(&bytes).await.is_err() {
                self.is_deaf.set(true);
            }
            self.undelivered.set(self.undelivered.get() - bytes.len());
            self.owe(bytes.len());
        }
    }

    /// Waits until `deliver` has nothing left.
    pub(super) async fn all_delivered(&self) {
        while self.undelivered.get() > 0 {
            self.delivered.clear();
            self.delivered.wait().await;
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn more_data_than_permitted_is_refused() {
        trefoil::run(async {
            let (_driver, local) = UnixStream::pair().unwrap();
            let relay = Relay::new(&local);
            let data = vec![7; WINDOW / 16];
            for _ in 0..16 {
                relay.take(&data).unwrap();
            }
            let refused = relay.take(&[7]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
            assert!(relay.waiting.borrow().len() <= WINDOW);
        });
    }
}
