//! The data behind the picture and the table: slices and arrows on tracks, and a table of tasks.
//!
//! Slices of a track nest, as viewers require. The time of inner slices is subtracted from a
//! slice's own time, so that a wait inside a task is not counted as work.
//!
//! Tests: `tests/trace/main.rs::{how_tasks_end, regions_show_which_thread_runs_what}`.

use std::collections::{HashMap, VecDeque};
use std::mem::take;

use crate::event::{Frame, Kind, Role, Site, What};

/// The tracks and the tasks of a trace.
#[derive(Default)]
pub(super) struct Story {
    pub(super) pid: u32,
    /// The length of the recording in nanoseconds.
    pub(super) length: u64,
    pub(super) events: usize,
    pub(super) lost: u64,
    pub(super) tracks: Vec<Track>,
    pub(super) tasks: HashMap<u64, TaskStory>,
    /// The tasks that represent jobs of process pools.
    pub(super) calls: HashMap<(u32, u32), u64>,
}

/// One line of the picture: a thread, or a worker process.
#[derive(Default)]
pub(super) struct Track {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) name: String,
    /// The most recent executor, not counting `Outside`.
    pub(super) role: Role,
    /// Outer slices before inner ones.
    pub(super) slices: Vec<Slice>,
    /// At the same moment, ends come before beginnings.
    pub(super) arrows: Vec<Arrow>,

    // While events are read:
    /// The thread's current role.
    pub(super) now: Role,
    /// The task that the thread's next wait is for.
    pub(super) awaits: u64,
    /// Until when the thread's events are known.
    pub(super) end: u64,
    /// The frames that the worker process has not answered, and when they were sent.
    pub(super) sent: VecDeque<(u64, Frame)>,
    /// The numbers of the slices that have begun, the innermost last.
    pub(super) open: Vec<usize>,
    /// The total time of outermost slices.
    pub(super) outside: u64,
}

/// A span of time; a single moment has one nanosecond.
pub(super) struct Slice {
    pub(super) at: u64,
    pub(super) until: u64,
    /// How much of it is in inner slices.
    pub(super) inside: u64,
    pub(super) role: Role,
    /// How long it was queued, if its cause is known.
    pub(super) queued: Option<u64>,
    /// Its beginning, or its end if it began before the recording. For a wait, the event that says
    /// what it is for.
    pub(super) what: What,
    /// Its end. `None`: it is a moment, or had not ended when the recording was stopped.
    pub(super) end: Option<What>,
}

/// One end of an arrow, which leads from a cause to an effect.
pub(super) struct Arrow {
    /// The number of the arrow, which both ends have.
    pub(super) id: u64,
    pub(super) name: &'static str,
    pub(super) at: u64,
    /// Whether it is the end with the arrowhead.
    pub(super) ends: bool,
}

/// The data of a task.
#[derive(Default)]
pub(super) struct TaskStory {
    pub(super) name: Option<Box<str>>,
    /// Where it was spawned, and of what kind it is.
    pub(super) made: Option<(Site, Kind)>,
    pub(super) parent: Option<u64>,
}

impl Track {
    /// Adds a slice; returns its number.
    pub(super) fn push(&mut self, at: u64, until: u64, what: What) -> usize {
        self.slices.push(Slice {
            at,
            until,
            inside: 0,
            role: self.now,
            queued: None,
            what,
            end: None,
        });
        self.slices.len() - 1
    }

    /// Begins a slice; returns its number.
    pub(super) fn begin(&mut self, at: u64, what: What) -> usize {
        let slice = self.push(at, at, what);
        self.open.push(slice);
        slice
    }

    /// Ends the slice that this event closes, and the open slices inside it; returns its number.
    pub(super) fn end(&mut self, at: u64, end: What) -> usize {
        let ends = |&slice: &usize| self.slices[slice].ends_with(end);
        let place = self.open.iter().rposition(ends).unwrap_or_else(|| {
            // It began before the recording: everything until now was inside it.
            let slice = self.begin(0, end);
            self.slices[slice].inside = take(&mut self.outside);
            self.open.len() - 1
        });
        let slice = self.open[place];
        self.slices[slice].end = Some(end);
        self.close(place, at);
        slice
    }

    /// Ends the open slices from this place on, the innermost first.
    pub(super) fn close(&mut self, place: usize, until: u64) {
        while self.open.len() > place {
            let slice = &mut self.slices[self.open.pop().expect("one is open")];
            slice.until = until.max(slice.at);
            let length = slice.length();
            match self.open.last() {
                Some(&outer) => self.slices[outer].inside += length,
                None => self.outside += length,
            }
        }
    }

    /// The task that runs on the thread now.
    pub(super) fn runs(&self) -> Option<u64> {
        let mut open = self.open.iter().rev();
        open.find_map(|&slice| match self.slices[slice].what {
            What::Begun { task, .. } => Some(task),
            _ => None,
        })
    }
}

impl Slice {
    pub(super) fn length(&self) -> u64 {
        self.until - self.at
    }

    /// How long the task ran, including waits.
    pub(super) fn ran(&self) -> u64 {
        match self.end {
            Some(What::Answered { nanos, .. }) => nanos, // by the worker's own clock
            _ => self.length(),
        }
    }

    /// Whether this event ends the slice.
    fn ends_with(&self, end: What) -> bool {
        match (self.what, end) {
            (What::Begun { task, .. }, What::Ended { task: ended, .. }) => task == ended,
            (What::PartBegun { .. }, What::PartEnded { .. })
            | (What::Awaits { .. }, What::Waited)
            | (What::Sleeps, What::Slept) => true,
            _ => false,
        }
    }

    /// Whether it is a single moment.
    pub(super) fn is_mark(&self) -> bool {
        use What::{Called, Roused, Settled, Spawned, Stolen, Woken};
        matches!(self.what, Spawned { .. } | Woken { .. } | Stolen { .. })
            || matches!(self.what, Roused { .. } | Called { .. } | Settled { .. })
    }
}

impl Story {
    pub(super) fn task(&mut self, task: u64) -> &mut TaskStory {
        self.tasks.entry(task).or_default()
    }

    /// The task whose code runs in a slice; in a worker process if it represents a job.
    pub(super) fn runs(&self, slice: &Slice) -> Option<u64> {
        match slice.what {
            What::Begun { task, .. } | What::Ended { task, .. } => Some(task),
            What::Sent(frame) => self.calls.get(&(frame.pool, frame.job)).copied(),
            _ => None,
        }
    }

    /// A task's name, or the location where it was spawned.
    pub(super) fn label(&self, task: u64) -> String {
        let story = self.tasks.get(&task);
        if let Some(name) = story.and_then(|story| story.name.as_deref()) {
            return name.to_owned();
        }
        match story.and_then(|story| story.made) {
            Some((site, _)) => {
                let file = site.file().rsplit(['/', '\\']).next().unwrap_or_default();
                format!("{file}:{}", site.line())
            }
            None => format!("task {task}"),
        }
    }
}
