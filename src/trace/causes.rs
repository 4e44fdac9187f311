//! What came of what, and how long each task was queued and ran.
//!
//! **Job.** Causes and effects, in the order of time: an effect takes the latest cause for the same thing (a task, a
//! slot's thread); a job's cause serves for all its frames. Between the two the task was queued.
//!
//! 1. Every mark that something can come of is a cause: a spawn, a wake-up of a task or a thread, a call.
//! 2. Every slice that can come of something is an effect: a run, a frame, the end of a sleep or of a wait.
//! 3. They are sorted by time, causes first, and gone through once.
//!
//! A promise is spawned and never runs: no cause.
//!
//! Rejected: the whole chain (what woke the one who woke): the viewer follows arrows.
//!
//! Tests: `tests/trace/`.

use std::collections::HashMap;

use super::story::{Arrow, Body, Story};
use crate::record::{Kind, Role, What};

/// What a cause and an effect have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Thing {
    Task(u64),
    Thread(u32, u32),
    Job(u32, u32),
}

struct Point {
    at: u64,
    track: usize,
    thing: Thing,
    side: Side,
}

#[derive(Clone, Copy)]
enum Side {
    Cause(&'static str),
    /// The slice with this number.
    Effect(usize),
}

/// The latest cause of a thing.
struct Cause {
    name: &'static str,
    track: usize,
    at: u64,
    /// It has had an effect. Only a job's has more.
    served: bool,
}

impl Story {
    /// What the tasks have from their slices, whose causes are found.
    pub(super) fn count_runs(&mut self) {
        let mut calls = HashMap::new();
        for mark in self.tracks.iter().flat_map(|track| &track.marks) {
            if let What::Called { pool, job, task } = mark.what
                && task != 0
            {
                calls.insert((pool, job), task);
                self.tasks.entry(task).or_default().is_call = true;
            }
        }
        for slice in self.tracks.iter().flat_map(|track| &track.slices) {
            let length = slice.until - slice.at;
            let (task, time) = match slice.body {
                Body::Run { task, .. } => (Some(task), length),
                Body::Frame { pool, job, ran, .. } => {
                    let task = calls.get(&(pool, job)).copied();
                    (task, ran.unwrap_or(length))
                }
                _ => continue,
            };
            if let Some(task) = task {
                let story = self.tasks.entry(task).or_default();
                story.ran += time;
                story.runs += 1;
                story.queued += slice.queued.unwrap_or(0);
            }
        }
    }

    /// Finds what effects come from: arrows between tracks, and how long what ran was queued.
    pub(super) fn find_causes(&mut self) {
        let mut causes: HashMap<Thing, Cause> = HashMap::new();
        let mut id = 0;
        for point in self.points() {
            let slice = match point.side {
                Side::Cause(name) => {
                    let (track, at, served) = (point.track, point.at, false);
                    let cause = Cause {
                        name,
                        track,
                        at,
                        served,
                    };
                    causes.insert(point.thing, cause);
                    continue;
                }
                Side::Effect(slice) => slice,
            };
            let Some(cause) = causes.get_mut(&point.thing) else {
                continue;
            };
            let again = std::mem::replace(&mut cause.served, true);
            if again && !matches!(point.thing, Thing::Job(..)) {
                continue;
            }
            if !again && !matches!(point.thing, Thing::Thread(..)) {
                self.tracks[point.track].slices[slice].queued = Some(point.at - cause.at);
            }
            id += 1;
            let ends = [
                (cause.track, cause.at, false),
                (point.track, point.at, true),
            ];
            for (track, at, ends) in ends {
                let name = cause.name;
                let arrow = Arrow { id, name, at, ends };
                self.tracks[track].arrows.push(arrow);
            }
        }
    }

    /// Causes and effects, in the order of time.
    fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for (track, line) in self.tracks.iter().enumerate() {
            let mut add = |at, thing, side| {
                points.push(Point {
                    at,
                    track,
                    thing,
                    side,
                });
            };
            for mark in &line.marks {
                let (thing, name) = match mark.what {
                    What::Spawned {
                        kind: Kind::Promise,
                        ..
                    } => continue,
                    What::Spawned { task, .. } => (Thing::Task(task), "spawn"),
                    What::Woken { task } => (Thing::Task(task), "wake"),
                    What::Roused { pool, slot } => (Thing::Thread(pool, slot), "wake thread"),
                    What::Called { pool, job, .. } => (Thing::Job(pool, job), "call"),
                    _ => continue,
                };
                add(mark.at, thing, Side::Cause(name));
            }
            for (number, slice) in line.slices.iter().enumerate() {
                let (at, thing) = match (slice.body, slice.role) {
                    (Body::Run { task, .. }, _) => (slice.at, Thing::Task(task)),
                    (Body::Frame { pool, job, .. }, _) => (slice.at, Thing::Job(pool, job)),
                    (Body::Sleep | Body::Wait { .. }, Role::Worker { pool, slot, .. })
                        if slice.until > slice.at =>
                    {
                        // The last moment of it: there is nothing to point to behind it.
                        (slice.until - 1, Thing::Thread(pool, slot))
                    }
                    _ => continue,
                };
                add(at, thing, Side::Effect(number));
            }
        }
        points.sort_by_key(|point| (point.at, matches!(point.side, Side::Effect(_))));
        points
    }
}
