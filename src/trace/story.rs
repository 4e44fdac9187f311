//! What happened, as the picture and the table show it: slices, marks and arrows on tracks, and a table of tasks.
//!
//! Slices of a track nest, which the viewers insist on. What is inside of a slice is taken off its own time, so that a
//! wait inside of a task is not counted as work.
//!
//! Tests: `tests/trace/`.

use std::collections::HashMap;

use crate::record::{Ending, Event, Frame, Kind, Role, Site};

/// Everything, in order.
#[derive(Default)]
pub(super) struct Story {
    pub(super) pid: u32,
    /// In nanoseconds.
    pub(super) length: u64,
    pub(super) events: usize,
    pub(super) lost: u64,
    pub(super) tracks: Vec<Track>,
    pub(super) tasks: HashMap<u64, TaskStory>,
    /// The tasks that stand for jobs of pools of processes.
    pub(super) calls: HashMap<(u32, u32), u64>,
}

/// One line of the picture: a thread, or a worker process.
pub(super) struct Track {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) name: String,
    /// The one that it was in most lately, `Outside` not counted.
    pub(super) role: Role,
    /// Outer ones before inner ones.
    pub(super) slices: Vec<Slice>,
    pub(super) marks: Vec<Event>,
    pub(super) arrows: Vec<Arrow>,
}

/// Something with a length.
pub(super) struct Slice {
    pub(super) at: u64,
    pub(super) until: u64,
    /// How much of it is in the slices inside of it.
    pub(super) inside: u64,
    pub(super) role: Role,
    /// How long it was queued before, if its cause is known.
    pub(super) queued: Option<u64>,
    pub(super) body: Body,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Body {
    /// `how` is `None`: it had not ended when the recording was stopped.
    Run {
        task: u64,
        how: Option<Ending>,
    },
    Part(&'static str),
    Wait {
        task: u64,
    },
    Sleep,
    Frame(Frame, Outcome),
}

/// What became of a frame.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    /// It ran so long, by the worker's own clock.
    Ran(u64),
    Died,
    Unknown,
}

/// One of the two ends of an arrow, which leads from a cause to an effect.
pub(super) struct Arrow {
    /// Both ends have the same.
    pub(super) id: u64,
    pub(super) name: &'static str,
    pub(super) at: u64,
    /// It is the end with the point.
    pub(super) ends: bool,
}

/// What is known of a task.
#[derive(Default)]
pub(super) struct TaskStory {
    pub(super) name: Option<Box<str>>,
    pub(super) site: Option<Site>,
    pub(super) kind: Option<Kind>,
    pub(super) parent: Option<u64>,
    /// How long its code ran, waits included, and how often.
    pub(super) ran: u64,
    pub(super) runs: u64,
    /// How long it was queued, all together.
    pub(super) queued: u64,
}

impl Track {
    pub(super) fn new(pid: u32, tid: u32, role: Role, name: String) -> Self {
        Self {
            pid,
            tid,
            name,
            role,
            slices: Vec::new(),
            marks: Vec::new(),
            arrows: Vec::new(),
        }
    }
}

impl Slice {
    /// It has no length yet.
    pub(super) fn new(at: u64, role: Role, body: Body) -> Self {
        Self {
            at,
            until: at,
            inside: 0,
            role,
            queued: None,
            body,
        }
    }

    pub(super) fn length(&self) -> u64 {
        self.until - self.at
    }

    /// How long that ran which is told of, waits included.
    pub(super) fn ran(&self) -> u64 {
        match self.body {
            Body::Frame(_, Outcome::Ran(nanos)) => nanos,
            _ => self.length(),
        }
    }
}

impl TaskStory {
    pub(super) fn made_at(&mut self, site: Site, kind: Kind) {
        (self.site, self.kind) = (Some(site), Some(kind));
    }

    /// Its code has run for so long.
    pub(super) fn add_run(&mut self, length: u64) {
        self.ran += length;
        self.runs += 1;
    }
}

impl Story {
    pub(super) fn task(&mut self, task: u64) -> &mut TaskStory {
        self.tasks.entry(task).or_default()
    }

    /// What a task is called: by its name, else by its place.
    pub(super) fn label(&self, task: u64) -> String {
        let story = self.tasks.get(&task);
        if let Some(name) = story.and_then(|story| story.name.as_deref()) {
            return name.to_owned();
        }
        match story.and_then(|story| story.site) {
            Some(site) => {
                let file = site.file().rsplit(['/', '\\']).next().unwrap_or_default();
                format!("{file}:{}", site.line())
            }
            None => format!("task {task}"),
        }
    }
}
