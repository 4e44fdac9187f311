//! Turns single events into slices and arrows.
//!
//! **Job.** Events are moments on threads. This file pairs beginnings with ends and causes with
//! effects, and reconstructs the work of worker processes from the frames sent to them. It goes
//! through all events once, in the order of time.
//!
//! 1. On each thread, a beginning is pushed on a stack; an end pops it and everything above it. An
//!    end whose beginning was not recorded gives a slice from the start of the recording; a slice
//!    that has not ended extends to the end of the recording (or, if events were lost, to the
//!    thread's last event).
//! 2. An event that can have an effect is stored as the latest cause for its object: a task, a
//!    slot's thread, a job. The next beginning for that object (or the end of its sleep) is the
//!    effect. A cause has one effect, except that a job's has all of its frames. Between cause and
//!    effect the task was queued.
//! 3. A worker process runs its frames one after another, so an answer belongs to the oldest frame,
//!    and a frame cannot have begun before the previous one was answered. A process that dies takes
//!    the oldest frame with it; the others are sent again elsewhere.
//!
//! Rejected: doing this while recording (it would slow down the recorded program); the whole chain
//! of causes (what woke the waker), because the viewer follows arrows; single items of a frame
//! (their times are in the worker's ledger, and overwritten by the next).
//!
//! Tests: `tests/trace/main.rs::{sleep_waits_and_wakes, regions_show_which_thread_runs_what,
//! a_call_that_goes_on_is_shown_up_to_the_end}`.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::mem::{replace, take};

use super::story::{Arrow, Story, Track};
use crate::event::{Event, Frame, Kind, Role, What};
use crate::trace_log::session::Log;

#[derive(Default)]
pub(super) struct Reader {
    story: Story,
    /// The numbers of worker processes' tracks.
    processes: HashMap<u32, usize>,
    causes: HashMap<Thing, Cause>,
    arrows: u64,
}

/// The object that links a cause to its effect.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Thing {
    Task(u64),
    Thread(u32, u32),
    Job(u32, u32),
}

/// The latest cause of a thing.
struct Cause {
    name: &'static str,
    track: usize,
    at: u64,
    /// Whether it has had an effect.
    served: bool,
}

impl Reader {
    pub(super) fn read(logs: Vec<Log>, length: u64) -> Story {
        let mut reader = Self::default();
        (reader.story.pid, reader.story.length) = (std::process::id(), length);
        let mut events = Vec::new();
        for (track, log) in logs.into_iter().enumerate() {
            events.extend(log.events.iter().map(|&event| (track, event)));
            reader.add_thread(log);
        }
        events.sort_by_key(|(_, event)| event.at);
        reader.story.events = events.len();
        for (track, event) in events {
            reader.event(track, event);
        }
        for number in 0..reader.story.tracks.len() {
            reader.end_frame(number, length, None);
        }
        for track in &mut reader.story.tracks {
            track.close(0, track.end);
            let slices = &mut track.slices;
            slices.sort_by_key(|slice| (slice.at, Reverse(slice.until)));
            track.arrows.sort_by_key(|arrow| (arrow.at, !arrow.ends));
        }
        reader.story
    }

    fn add_thread(&mut self, log: Log) {
        let Story { pid, length, .. } = self.story;
        let tracks = &mut self.story.tracks;
        // The system may have used one number for two threads, one after the other.
        let mut tid = log.os_id;
        while tracks.iter().any(|track| track.tid == tid) {
            tid = tid.wrapping_add(1 << 22);
        }
        let last = log.events.last().map_or(0, |event| event.at);
        tracks.push(Track {
            pid,
            tid,
            name: log.name.unwrap_or_else(|| "(no name)".to_owned()),
            end: if log.lost == 0 { length } else { last },
            ..Track::default()
        });
        self.story.lost += log.lost;
        for (task, name) in log.names {
            self.story.task(task).name = Some(name);
        }
    }

    fn event(&mut self, number: usize, event: Event) {
        let Event { at, what } = event;
        let track = &mut self.story.tracks[number];
        match what {
            What::Is { role } => {
                track.now = role;
                if role != Role::Outside {
                    track.role = role;
                }
            }
            What::Begun { task, site, kind } => {
                let slice = track.begin(at, what);
                self.story.task(task).made = Some((site, kind));
                self.effect(Thing::Task(task), number, slice, at);
            }
            What::PartBegun { .. } | What::Sleeps => _ = track.begin(at, what),
            What::Awaits { task } => track.awaits = task,
            What::Waits => {
                let task = take(&mut track.awaits);
                track.begin(at, What::Awaits { task });
            }
            What::Ended { .. } | What::PartEnded { .. } => _ = track.end(at, what),
            What::Waited | What::Slept => {
                let slice = track.end(at, what);
                let ended = &track.slices[slice];
                if let Role::Worker { pool, slot, .. } = ended.role
                    && ended.length() > 0
                {
                    // The arrow points to the slice's last moment, because there is nothing behind
                    // it.
                    self.effect(Thing::Thread(pool, slot), number, slice, at - 1);
                }
            }
            What::Spawned { task, site, kind } => {
                let parent = track.runs();
                let story = self.story.task(task);
                story.made = Some((site, kind));
                story.parent = parent;
                // A promise never runs: it causes nothing.
                let cause = (kind != Kind::Promise).then_some((Thing::Task(task), "spawn"));
                self.mark(number, event, cause);
            }
            What::Woken { task } => self.mark(number, event, Some((Thing::Task(task), "wake"))),
            What::Roused { pool, slot } => {
                let cause = (Thing::Thread(pool, slot), "wake thread");
                self.mark(number, event, Some(cause));
            }
            What::Called { pool, job, task } => {
                if task != 0 {
                    self.story.calls.insert((pool, job), task);
                }
                self.mark(number, event, Some((Thing::Job(pool, job), "call")));
            }
            What::Settled { .. } | What::Stolen { .. } => self.mark(number, event, None),
            What::Sent(frame) => self.process(frame).sent.push_back((at, frame)),
            What::Answered { pid, done, .. } => {
                if let Some(&process) = self.processes.get(&pid)
                    && let Some((_, frame)) = self.story.tracks[process].sent.front_mut()
                    && frame.sequence == done.sequence
                {
                    frame.items = done.items;
                    self.end_frame(process, at, Some(what));
                }
            }
            What::Fell { pid } => {
                if let Some(&process) = self.processes.get(&pid) {
                    self.end_frame(process, at, Some(what));
                    self.story.tracks[process].sent.clear(); // other processes get them
                }
            }
        }
    }

    /// An event at one moment, and the object that it may be a cause for.
    fn mark(&mut self, track: usize, event: Event, cause: Option<(Thing, &'static str)>) {
        let Event { at, what } = event;
        // Viewers draw no arrow from a slice without length.
        self.story.tracks[track].push(at, at + 1, what);
        if let Some((thing, name)) = cause {
            let cause = Cause {
                name,
                track,
                at,
                served: false,
            };
            self.causes.insert(thing, cause);
        }
    }

    /// A worker process's track, created when the first frame is sent to it.
    fn process(&mut self, Frame { pool, pid, .. }: Frame) -> &mut Track {
        let tracks = &mut self.story.tracks;
        let number = *self.processes.entry(pid).or_insert_with(|| {
            let role = Role::Process { pool };
            tracks.push(Track {
                pid,
                tid: pid,
                name: format!("worker process {pid}"),
                role,
                now: role,
                ..Track::default()
            });
            tracks.len() - 1
        });
        &mut tracks[number]
    }

    /// Ends a process's oldest frame, if there is one. If none of its items was run, it is not
    /// shown.
    fn end_frame(&mut self, number: usize, until: u64, end: Option<What>) {
        let track = &mut self.story.tracks[number];
        let oldest = track.sent.pop_front();
        let Some((at, frame)) = oldest.filter(|(_, frame)| frame.items > 0) else {
            return;
        };
        let at = track
            .slices
            .last()
            .map_or(at, |before| at.max(before.until));
        let slice = track.push(at, until, What::Sent(frame));
        track.slices[slice].end = end;
        self.effect(Thing::Job(frame.pool, frame.job), number, slice, at);
    }

    /// A slice begins, or a sleep ends, because of the object's latest cause: adds an arrow.
    fn effect(&mut self, thing: Thing, track: usize, slice: usize, at: u64) {
        let Some(cause) = self.causes.get_mut(&thing) else {
            return;
        };
        let first = !replace(&mut cause.served, true);
        if !first && !matches!(thing, Thing::Job(..)) {
            return;
        }
        let tracks = &mut self.story.tracks;
        if first && !matches!(thing, Thing::Thread(..)) {
            tracks[track].slices[slice].queued = Some(at.saturating_sub(cause.at));
        }
        self.arrows += 1;
        for (track, at, ends) in [(cause.track, cause.at, false), (track, at, true)] {
            tracks[track].arrows.push(Arrow {
                id: self.arrows,
                name: cause.name,
                at,
                ends,
            });
        }
    }
}
