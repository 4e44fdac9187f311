//! What came of what, and what each task had of it.
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
    /// A cause has a name.
    cause: Option<&'static str>,
}

impl Story {
    /// What the tasks have from their slices.
    pub(super) fn count_runs(&mut self) {
        for mark in self.tracks.iter().flat_map(|track| &track.marks) {
            if let What::Called { pool, job, task } = mark.what
                && task != 0
            {
                self.calls.insert((pool, job), task);
                self.tasks.entry(task).or_default().is_call = true;
            }
        }
        for slice in self.tracks.iter().flat_map(|track| &track.slices) {
            let (task, time) = match slice.body {
                Body::Run { task, .. } => (Some(task), slice.until - slice.at),
                Body::Frame { pool, job, ran, .. } => (
                    self.calls.get(&(pool, job)).copied(),
                    ran.unwrap_or(slice.until - slice.at),
                ),
                _ => continue,
            };
            if let Some(task) = task {
                let story = self.tasks.entry(task).or_default();
                story.ran += time;
                story.runs += 1;
            }
        }
    }

    /// Effects and what they come from.
    pub(super) fn find_arrows(&mut self) -> Vec<Arrow> {
        let mut arrows = Vec::new();
        let points = self.points();
        let mut causes: HashMap<Thing, (&'static str, usize, u64)> = HashMap::new();
        for point in points {
            if let Some(name) = point.cause {
                causes.insert(point.thing, (name, point.track, point.at));
                continue;
            }
            let cause = match point.thing {
                Thing::Job(..) => causes.get(&point.thing).copied(),
                _ => causes.remove(&point.thing),
            };
            let Some((name, track, at)) = cause else {
                continue;
            };
            match point.thing {
                Thing::Task(task) => {
                    self.tasks.entry(task).or_default().queued += point.at - at;
                }
                Thing::Job(pool, job) => {
                    // Until its first frame.
                    if let Some(task) = self.calls.remove(&(pool, job)) {
                        self.tasks.entry(task).or_default().queued = point.at - at;
                    }
                }
                Thing::Thread(..) => {}
            }
            arrows.push(Arrow {
                name,
                from: (track, at),
                to: (point.track, point.at),
            });
        }
        arrows
    }

    /// Causes and effects, in the order of time.
    fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for (track, line) in self.tracks.iter().enumerate() {
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
                points.push(Point {
                    at: mark.at,
                    track,
                    thing,
                    cause: Some(name),
                });
            }
            for slice in &line.slices {
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
                points.push(Point {
                    at,
                    track,
                    thing,
                    cause: None,
                });
            }
        }
        points.sort_by_key(|point| (point.at, point.cause.is_none()));
        points
    }
}
