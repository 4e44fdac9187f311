//! In the worker: sends events and spans of the crate tracing to the parent's subscriber (feature
//! `tracing`).
//!
//! 1. If the welcome asks for events, [`start`] makes [`Recorder`] the subscriber of this process,
//!    before any item or initializer runs. If `main` has installed another one, the parent gets one
//!    event that says so, and no others.
//! 2. Each event, and each change of a span, is one record ([`Event`]) of less than 4 KiB,
//!    so a pipe that does not block takes it at once or not at all. Then it is in the kernel, and a
//!    crash of this process does not lose it. A plain worker writes to its stream, under the
//!    stream's lock, if `poll` says that there is room.
//! 3. What is not taken is dropped and counted. The next message has the count; there is one
//!    between two frames, for which the worker waits a moment ([`report_dropped`]).
//!
//! The other half is `forward_events`. Tests:
//! `tests/trefoil-adapters/tests/worker_events.rs`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool; // set before a second thread runs: no protocol
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Level, Metadata, Subscriber, subscriber};
use tracing_core::span::Current;

use super::forward_events::{EVENT, LEVELS, SPAN_BEGINS, SPAN_ENDS, SPAN_HAS_FIELDS, TARGET};
use crate::loom::atomic::{AtomicU64, Ordering};
use crate::loom::{Mutex, per_thread};
use crate::process::value::attachments::AttachedFile;
use crate::process::wire::{Event, Record};
use crate::sys::fork::PerProcess;
use crate::sys::poll::poll;
use trefoil_os::host::worker::write;

/// The longest parts of a record: together with numbers, less than 4 KiB, which a Linux pipe takes
/// at once or not at all. (Only there are workers not plain.)
// A record holds one of each, and must stay below 4 KiB. `adapters/tracing.rs` states the first.
const LONGEST_TEXT: usize = 2048;
const LONGEST_FIELDS: usize = 1024;
const LONGEST_PLACE: usize = 256;

/// How long the worker waits between two frames until it can report that events were dropped.
const REPORTS_FOR: Duration = Duration::from_secs(1);

static SENDER: PerProcess<Option<Sender>> = PerProcess::new();

/// [`Recorder`] is the subscriber: in this process, or in the one that it is a copy of.
static IS_INSTALLED: AtomicBool = AtomicBool::new(false);

per_thread! {
    /// The spans that this thread is in, the innermost last.
    static INSIDE: RefCell<Vec<u64>> = RefCell::new(Vec::new());
}

/// Whether `descriptor` takes a record without waiting, or does so within this time.
pub(crate) fn has_room(descriptor: &impl AsFd, within: Duration) -> bool {
    let limit = Timespec::try_from(within).ok();
    let mut room = [PollFd::new(descriptor, PollFlags::OUT)];
    poll(&mut room, limit.as_ref()) == Ok(1)
}

/// Sends a record without waiting. False: it was not taken.
type SendNow = dyn Fn(&[u8]) -> bool + Send + Sync;

/// Sends records to the parent.
struct Sender {
    descriptor: OwnedFd,
    send: Box<SendNow>,
    /// The batch that runs, and how many of its items have begun.
    at: Mutex<(u64, u64)>,
    /// How many events were dropped since the last record.
    dropped: AtomicU64,
}

impl Sender {
    fn send(&self, event: Event<'_>) {
        // (A number: no protocol.)
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let at = *self.at.lock();
        let record = Record::Event(Event {
            at,
            dropped,
            ..event
        });
        if !(self.send)(&record.bytes()) {
            let lost = dropped + u64::from(event.kind == EVENT);
            self.dropped.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

/// Begins to send events up to the level with this number through a pipe. 0: the parent wants none.
pub(crate) fn start_with_pipe(level: u8, pipe: Arc<AttachedFile>) -> io::Result<()> {
    rustix::io::ioctl_fionbio(pipe.as_fd(), true)?;
    let descriptor = pipe.as_fd().try_clone_to_owned()?;
    start(level, descriptor, move |record| {
        write(pipe.as_fd(), record).is_ok()
    });
    Ok(())
}

/// The same with `send`, which sends a record through `descriptor` without waiting if there is
/// room.
pub(crate) fn start(
    level: u8,
    descriptor: OwnedFd,
    send: impl Fn(&[u8]) -> bool + Send + Sync + 'static,
) {
    let Some(level) = LEVELS.into_iter().nth(usize::from(level).wrapping_sub(1)) else {
        return;
    };
    let mut own = Some((descriptor, Box::new(send)));
    SENDER.get_or_init(|| {
        own.take().map(|(descriptor, send)| Sender {
            descriptor,
            send,
            at: Mutex::default(),
            dropped: AtomicU64::new(0),
        })
    });
    if IS_INSTALLED.load(Ordering::Relaxed) {
        return;
    }
    let recorder = Recorder {
        level,
        last: AtomicU64::new(0),
        open: Mutex::default(),
    };
    if subscriber::set_global_default(recorder).is_ok() {
        IS_INSTALLED.store(true, Ordering::Relaxed);
    } else {
        send_event(Event {
            kind: EVENT,
            level: 2,
            target: TARGET,
            text: "the events of this worker are not forwarded, because `main` installs a \
                subscriber before `trefoil::init()`",
            ..Event::default()
        });
    }
}

/// Sends an event. (A process that an item has forked sends what its worker would.)
fn send_event(event: Event<'_>) {
    if let Some(Some(sender)) = SENDER.inherited() {
        sender.send(event);
    }
}

/// The next item of a batch begins, its `begun`th.
#[inline]
pub(crate) fn item_begins(sequence: u64, begun: u64) {
    if let Some(Some(sender)) = SENDER.inherited() {
        *sender.at.lock() = (sequence, begun);
    }
}

/// Reports that events were dropped, if some were.
pub(crate) fn report_dropped() {
    if let Some(Some(sender)) = SENDER.inherited()
        && sender.dropped.load(Ordering::Relaxed) > 0
        && has_room(&sender.descriptor, REPORTS_FOR)
    {
        sender.send(Event::default());
    }
}

/// The worker's subscriber.
struct Recorder {
    level: Level,
    /// The number of the newest span.
    last: AtomicU64,
    /// The open spans: how many handles each has, and what it is.
    open: Mutex<HashMap<u64, (usize, &'static Metadata<'static>)>>,
}

impl Recorder {
    /// Sends an event, or the beginning of a span.
    fn send(&self, kind: u8, metadata: &Metadata<'_>, fields: &Fields, span: u64, parent: u64) {
        let level = LEVELS.iter().position(|level| level == metadata.level());
        let target = fields.log_target.as_deref().unwrap_or(metadata.target());
        let file = fields.log_file.as_deref().or(metadata.file());
        send_event(Event {
            kind,
            span,
            parent,
            level: level.map_or(0, |level| level as u8 + 1),
            line: fields.log_line.or(metadata.line()).unwrap_or(0),
            file: &Text::of(LONGEST_PLACE, file.unwrap_or_default()).text,
            target: &Text::of(LONGEST_PLACE, target).text,
            text: &fields.message.text,
            fields: &fields.others.text,
            ..Event::default()
        });
    }
}

/// The innermost span of this thread; 0: none.
fn inside() -> u64 {
    let last = INSIDE.try_with(|inside| inside.borrow().last().copied());
    last.ok().flatten().unwrap_or(0)
}

/// The span around something: that which it names, or else the thread's.
fn around(named: Option<&Id>, is_contextual: bool) -> u64 {
    match named {
        Some(id) => id.into_u64(),
        None if is_contextual => inside(),
        None => 0,
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let metadata = attributes.metadata();
        self.open.lock().insert(number, (1, metadata));
        let mut fields = Fields::new(metadata.name());
        attributes.record(&mut fields);
        let parent = around(attributes.parent(), attributes.is_contextual());
        self.send(SPAN_BEGINS, metadata, &fields, number, parent);
        Id::from_u64(number)
    }

    fn record(&self, span: &Id, values: &Values<'_>) {
        let mut fields = Fields::new("");
        values.record(&mut fields);
        send_event(Event {
            kind: SPAN_HAS_FIELDS,
            span: span.into_u64(),
            fields: &fields.others.text,
            ..Event::default()
        });
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut fields = Fields::new("");
        event.record(&mut fields);
        let parent = around(event.parent(), event.is_contextual());
        self.send(EVENT, event.metadata(), &fields, 0, parent);
    }

    fn enter(&self, span: &Id) {
        let _ = INSIDE.try_with(|inside| inside.borrow_mut().push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        let _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            let at = inside.iter().rposition(|one| *one == span.into_u64());
            at.map(|at| inside.remove(at))
        });
    }

    fn clone_span(&self, span: &Id) -> Id {
        if let Some((handles, _)) = self.open.lock().get_mut(&span.into_u64()) {
            *handles += 1;
        }
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let number = span.into_u64();
        let mut open = self.open.lock();
        let Some((handles, _)) = open.get_mut(&number) else {
            return false;
        };
        *handles -= 1;
        if *handles > 0 {
            return false;
        }
        open.remove(&number);
        drop(open);
        send_event(Event {
            kind: SPAN_ENDS,
            span: number,
            ..Event::default()
        });
        true
    }

    fn current_span(&self) -> Current {
        let open = self.open.lock();
        match open.get(&inside()) {
            Some((_, metadata)) => Current::new(Id::from_u64(inside()), metadata),
            None => Current::none(),
        }
    }
}

/// Text up to a length: what does not fit is not even made.
struct Text {
    text: String,
    most: usize,
    is_cut: bool,
}

impl Text {
    fn new(most: usize) -> Self {
        Self {
            text: String::new(),
            most,
            is_cut: false,
        }
    }

    fn of(most: usize, text: &str) -> Self {
        let mut new = Self::new(most);
        let _ = new.write_str(text); // an error means that it was cut
        new
    }
}

impl Write for Text {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.is_cut {
            return Err(fmt::Error);
        }
        let mut end = more.len().min(self.most - self.text.len());
        while !more.is_char_boundary(end) {
            end -= 1;
        }
        self.text.push_str(&more[..end]);
        self.is_cut = end < more.len();
        if self.is_cut {
            self.text.push('…');
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}

/// The fields of an event or a span.
struct Fields {
    message: Text,
    others: Text,
    /// Of a record of the crate log, which tracing-log puts into fields.
    log_target: Option<String>,
    log_file: Option<String>,
    log_line: Option<u32>,
}

impl Fields {
    fn new(message: &str) -> Self {
        Self {
            message: Text::of(LONGEST_TEXT, message),
            others: Text::new(LONGEST_FIELDS),
            log_target: None,
            log_file: None,
            log_line: None,
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "log.module_path" => Ok(()), // the same as its target, or close to it
            name => {
                let gap = if self.others.text.is_empty() { "" } else { " " };
                write!(self.others, "{gap}{name}={value:?}")
            }
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => drop(self.message.write_str(value)),
            "log.target" => self.log_target = Some(value.to_owned()),
            "log.file" => self.log_file = Some(value.to_owned()),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "log.line" => self.log_line = u32::try_from(value).ok(),
            _ => self.record_debug(field, &value),
        }
    }
}
