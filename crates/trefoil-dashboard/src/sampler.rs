//! Makes what is sent, at most once a second however many pages look, and nothing while none does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use trefoil::spawn;
use trefoil::time::{sleep, sleep_until};

use crate::board::Shared;
use crate::pulse::{PulseView, TICK};
use crate::snapshot::{ProgramView, Snapshot, micros_since, unix_ms};
use crate::system::Processes;
use crate::tree::{Groups, Query, TreeView};

/// How often the counters are read.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// How many pages may look at once.
const STREAMS: usize = 16;
/// The time between two walks over tasks, in walks: they take a tenth of one processor.
const PAUSE: u32 = 10;
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Belongs to the dashboard's thread.
#[derive(Debug)]
pub(crate) struct Sampler {
    shared: Arc<Shared>,
    /// The last snapshot, as an event.
    latest: RefCell<Option<(Instant, Bytes)>>,
    streams: Cell<usize>,
    /// Whether a task takes looks.
    looks: Cell<bool>,
    groups: RefCell<Groups>,
    /// When tasks may be walked over again.
    next_walk: Cell<Instant>,
}

/// One page that looks.
#[derive(Debug)]
pub(crate) struct Stream(Rc<Sampler>);

impl Sampler {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            latest: RefCell::default(),
            streams: Cell::new(0),
            looks: Cell::new(false),
            groups: RefCell::default(),
            next_walk: Cell::new(Instant::now()),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A place for another page; `None` if there are too many.
    pub(crate) fn join(self: &Rc<Self>) -> Option<Stream> {
        let streams = self.streams.get();
        (streams < STREAMS).then(|| {
            self.streams.set(streams + 1);
            if !self.looks.replace(true) {
                spawn(self.clone().look()).named("dashboard").detach();
            }
            Stream(self.clone())
        })
    }

    /// Looks at what runs while a page is open.
    async fn look(self: Rc<Self>) {
        while self.streams.get() > 0 {
            self.shared.pulse.look();
            sleep(TICK).await;
        }
        self.looks.set(false);
    }

    /// An answer about tasks; one that reads all of them not before the pause after the last such.
    pub(crate) async fn tasks(&self, query: &Query) -> TreeView {
        while !query.is_groups() && Instant::now() < self.next_walk.get() {
            sleep_until(self.next_walk.get()).await;
        }
        let began = Instant::now();
        let view = self.groups.borrow_mut().answer(query);
        if !query.is_groups() {
            let pause = (began.elapsed() * PAUSE).min(LONGEST_PAUSE);
            self.next_walk.set(Instant::now() + pause);
        }
        view
    }
}

impl Stream {
    /// The counters as an event: those of the last one who asked, if they are fresh.
    pub(crate) fn latest(&self) -> Bytes {
        let mut latest = self.0.latest.borrow_mut();
        if let Some((made, event)) = &*latest
            && made.elapsed() < INTERVAL * 9 / 10
        {
            return event.clone();
        }
        let json = take(&self.0.shared);
        let event = Bytes::from(format!("event: sample\ndata: {json}\n\n"));
        *latest = Some((Instant::now(), event.clone()));
        event
    }

    /// The notes as an event, if there are more than were `seen`.
    pub(crate) fn notes(&self, seen: &mut Option<u64>) -> Option<Bytes> {
        let notes = &self.0.shared.notes;
        if *seen == Some(notes.seen()) {
            return None;
        }
        let (now, json) = notes.to_json();
        *seen = Some(now);
        Some(Bytes::from(format!("event: notes\ndata: {json}\n\n")))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let left = self.0.streams.get() - 1;
        self.0.streams.set(left);
        if left == 0 {
            *self.0.latest.borrow_mut() = None;
        }
    }
}

/// A snapshot, as JSON on one line.
pub(crate) fn take(shared: &Shared) -> String {
    snapshot(shared, || shared.pulse.take())
}

/// The same, with what runs now, and nothing of what ran before.
#[cfg(unix)]
pub(crate) fn take_without_strips(shared: &Shared) -> String {
    snapshot(shared, PulseView::now)
}

fn snapshot(shared: &Shared, pulse: impl FnOnce() -> PulseView) -> String {
    let began = Instant::now();
    let processes = Processes::look(&shared.executors.pids());
    let (executors, workers_left_out) = shared.executors.views(&processes);
    let (threads, threads_left_out) = processes.threads();
    let pulse = pulse();
    let snapshot = Snapshot {
        time_ms: unix_ms(),
        program: ProgramView {
            name: shared.program.clone(),
            pid: std::process::id(),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            watched_ms: shared.started.elapsed().as_millis() as u64,
            process: processes.own(),
            threads,
        },
        executors,
        not_shown: workers_left_out + threads_left_out + pulse.lines_left_out,
        pulse,
        cost_us: micros_since(began),
    };
    serde_json::to_string(&snapshot).expect("texts and numbers have a form in JSON")
}
