//! From single events to what happened: slices, marks, arrows, tasks.
//!
//! **Job.** Events are moments on threads. Here beginnings meet their ends, causes their effects, and what worker
//! processes did is pieced together from what was said to them.
//!
//! **Steps.**
//! 1. Each thread by itself: what begins is put on a stack, an end takes it off. An end whose beginning was not
//!    recorded gives a slice from the start of the recording; what has not ended goes on to its end (or, where events were lost, to the
//!    thread's last).
//! 2. All that concerns processes, in the order of time (`frames.rs`).
//! 3. Causes and effects, in the order of time (`causes.rs`).
//!
//! Slices of a track nest, which the viewers insist on. `own` is a slice's length less those inside of it, so that a
//! wait inside of a task is not counted as work.
//!
//! Rejected: doing this while recording (it is what would have to be paid for at once).
//!
//! Tests: `tests/trace/`.

use std::collections::{HashMap, HashSet};
use std::panic::Location;

use crate::record::session::{Log, Recorded};
use crate::record::{Ending, Kind, Part, Role, What};

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
}

/// One line of the picture: a thread, or a worker process.
pub(super) struct Track {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) name: String,
    pub(super) owner: Owner,
    pub(super) slices: Vec<Slice>,
    pub(super) marks: Vec<Mark>,
    pub(super) arrows: Vec<Arrow>,
}

/// Whose line; in the order in which the viewer shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// The role is the one that it was in most lately, `Outside` not counted.
    Thread(Role),
    Process {
        pool: u32,
    },
}

/// Something with a length.
pub(super) struct Slice {
    pub(super) at: u64,
    pub(super) until: u64,
    /// Its length less that of what is inside.
    pub(super) own: u64,
    pub(super) role: Role,
    /// How long it was queued before, if its cause is known.
    pub(super) queued: Option<u64>,
    pub(super) body: Body,
}

impl Slice {
    pub(super) fn new(at: u64, until: u64, role: Role, body: Body) -> Self {
        Self {
            at,
            until,
            own: until - at,
            role,
            queued: None,
            body,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Body {
    Run {
        task: u64,
        kind: Kind,
        /// `None`: it had begun before the recording, or it had not ended when that was stopped.
        how: Option<Ending>,
    },
    Part(Part),
    Wait {
        task: u64,
    },
    Sleep,
    Frame {
        pool: u32,
        job: u32,
        items: u32,
        /// By the worker's own clock; `None`: it was not answered.
        ran: Option<u64>,
        died: bool,
    },
}

impl Body {
    /// `what` ends it.
    fn is_ended_by(&self, what: &What) -> bool {
        match (self, what) {
            (Self::Run { task, .. }, What::Ended { task: ended, .. }) => task == ended,
            (Self::Part(_), What::PartEnded)
            | (Self::Wait { .. }, What::Waited)
            | (Self::Sleep, What::Slept) => true,
            _ => false,
        }
    }
}

/// Something at a moment.
pub(super) struct Mark {
    pub(super) at: u64,
    pub(super) what: What,
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
#[derive(Clone, Default)]
pub(super) struct TaskStory {
    pub(super) name: Option<Box<str>>,
    pub(super) site: Option<&'static Location<'static>>,
    pub(super) parent: Option<u64>,
    /// How long its code ran, waits included, and how often.
    pub(super) ran: u64,
    pub(super) runs: u64,
    /// How long it was queued, all together.
    pub(super) queued: u64,
    /// It stands for a job of worker processes.
    pub(super) is_call: bool,
}

impl Story {
    pub(super) fn of(recorded: Recorded) -> Self {
        let mut story = Self {
            pid: std::process::id(),
            length: recorded.length,
            lost: recorded.threads.iter().map(|log| log.lost).sum(),
            events: recorded.threads.iter().map(|log| log.events.len()).sum(),
            ..Self::default()
        };
        let mut taken = HashSet::new();
        let mut processes = Vec::new();
        for log in recorded.threads {
            processes.extend(
                log.events
                    .iter()
                    .map(|event| (event.at, event.what))
                    .filter(|(_, what)| {
                        matches!(
                            what,
                            What::Sent { .. } | What::Answered { .. } | What::Fell { .. }
                        )
                    }),
            );
            story.read(log, &mut taken);
        }
        processes.sort_by_key(|(at, _)| *at);
        story.read_frames(&processes);
        for track in &mut story.tracks {
            track.nest();
        }
        story.find_causes();
        story.count_runs();
        story
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

    /// A thread's track.
    fn read(&mut self, log: Log, taken: &mut HashSet<u32>) {
        // A system's number may have had two threads, one after the other.
        let mut tid = log.os_id;
        while !taken.insert(tid) {
            tid = tid.wrapping_add(1 << 22);
        }
        for (task, name) in log.names {
            self.tasks.entry(task).or_default().name = Some(name);
        }
        let end = match log.lost {
            0 => self.length,
            _ => log.events.last().map_or(0, |event| event.at),
        };
        let mut reader = Reader {
            role: Role::Outside,
            lately: Role::Outside,
            awaits: 0,
            open: Vec::new(),
            slices: Vec::new(),
            marks: Vec::new(),
            tasks: &mut self.tasks,
        };
        for event in &log.events {
            reader.read(event.at, event.what);
        }
        while let Some(slice) = reader.open.pop() {
            reader.close(slice, end);
        }
        self.tracks.push(Track {
            pid: self.pid,
            tid,
            owner: Owner::Thread(reader.lately),
            slices: reader.slices,
            marks: reader.marks,
            arrows: Vec::new(),
            name: log.name.unwrap_or_else(|| "(no name)".to_owned()),
        });
    }
}

impl Track {
    /// Puts outer slices before inner ones, and takes the inner ones off the outer ones' own time.
    fn nest(&mut self) {
        self.slices
            .sort_by_key(|slice| (slice.at, std::cmp::Reverse(slice.until)));
        let mut around: Vec<usize> = Vec::new();
        for number in 0..self.slices.len() {
            let Slice { at, until, .. } = self.slices[number];
            around.retain(|&outer| self.slices[outer].until > at);
            if let Some(&outer) = around.last() {
                let own = &mut self.slices[outer].own;
                *own = own.saturating_sub(until - at);
            }
            around.push(number);
        }
    }
}

/// One thread's events, one after the other.
struct Reader<'a> {
    role: Role,
    /// The latest that was more than `Outside`.
    lately: Role,
    /// What the next wait is for.
    awaits: u64,
    open: Vec<(u64, Role, Body)>,
    slices: Vec<Slice>,
    marks: Vec<Mark>,
    tasks: &'a mut HashMap<u64, TaskStory>,
}

impl Reader<'_> {
    fn read(&mut self, at: u64, what: What) {
        match what {
            What::Is { role } => {
                self.role = role;
                if role != Role::Outside {
                    self.lately = role;
                }
            }
            What::Begun { task, site, kind } => {
                self.tasks.entry(task).or_default().site = Some(site);
                let how = None;
                self.begin(at, Body::Run { task, kind, how });
            }
            What::PartBegun { part } => self.begin(at, Body::Part(part)),
            What::Awaits { task } => self.awaits = task,
            What::Waits => {
                let task = std::mem::take(&mut self.awaits);
                self.begin(at, Body::Wait { task });
            }
            What::Sleeps => self.begin(at, Body::Sleep),
            What::Ended { .. } | What::PartEnded | What::Waited | What::Slept => {
                self.end(at, what);
            }
            What::Sent { .. } | What::Answered { .. } | What::Fell { .. } => {}
            What::Spawned { task, site, .. } => {
                let parent = self.open.iter().rev().find_map(|(_, _, body)| match body {
                    Body::Run { task, .. } => Some(*task),
                    _ => None,
                });
                let story = self.tasks.entry(task).or_default();
                story.site = Some(site);
                story.parent = parent;
                self.marks.push(Mark { at, what });
            }
            What::Settled { .. }
            | What::Woken { .. }
            | What::Stolen { .. }
            | What::Roused { .. }
            | What::Called { .. } => self.marks.push(Mark { at, what }),
        }
    }

    fn begin(&mut self, at: u64, body: Body) {
        self.open.push((at, self.role, body));
    }

    fn close(&mut self, (at, role, body): (u64, Role, Body), until: u64) {
        self.slices.push(Slice::new(at, until.max(at), role, body));
    }

    fn end(&mut self, at: u64, what: What) {
        let begun = self
            .open
            .iter()
            .rposition(|(_, _, body)| body.is_ended_by(&what));
        let Some(begun) = begun else {
            // Since before the recording.
            let body = match what {
                What::Ended { task, how } => Body::Run {
                    task,
                    kind: Kind::Closure,
                    how: Some(how),
                },
                What::Waited => Body::Wait { task: 0 },
                What::Slept => Body::Sleep,
                _ => return,
            };
            return self.close((0, self.role, body), at);
        };
        while self.open.len() > begun + 1
            && let Some(inner) = self.open.pop()
        {
            self.close(inner, at);
        }
        if let Some((since, role, mut body)) = self.open.pop() {
            if let (Body::Run { how, .. }, What::Ended { how: ended, .. }) = (&mut body, what) {
                *how = Some(ended);
            }
            self.close((since, role, body), at);
        }
    }
}
