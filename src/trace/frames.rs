//! What worker processes did, from what was said to them.
//!
//! **Job.** Tracks for processes, with a slice for each frame. A process does its frames one after another, so an answer is
//! the oldest frame's, and a frame cannot have begun before the one ahead of it was answered. A process that is gone
//! takes the oldest with it; the others are sent again, elsewhere.
//!
//! The events come from several threads (the driver, and callers that do its work), one at a time; so their times
//! are in order.
//!
//! What was sent before the recording began is nobody's.
//!
//! Rejected: the items of a frame one by one (their times are in the worker's ledger, and overwritten by the next).
//!
//! Tests: `tests/trace/`.

use std::collections::{HashMap, VecDeque};

use super::story::{Body, Owner, Slice, Story, Track};
use crate::record::{Role, What};

impl Story {
    /// `events`: in the order of time.
    pub(super) fn read_frames(&mut self, events: &[(u64, What)]) {
        /// A frame that is out: its number, since when, pool, job, items.
        type Out = (u32, u64, u32, u32, u32);
        let mut tracks: HashMap<u32, (usize, VecDeque<Out>, u64)> = HashMap::new();
        let length = self.length;
        let mut add = |pid: u32, pool: u32| {
            self.tracks.push(Track {
                pid,
                tid: pid,
                name: format!("worker process {pid}"),
                kind: Owner::Process { pool },
                slices: Vec::new(),
                marks: Vec::new(),
            });
            self.tracks.len() - 1
        };
        let mut frames = Vec::new();
        let mut land = |track: usize, out: Out, free: &mut u64, until: u64, ran, died| {
            let (_, sent, pool, job, items) = out;
            let at = sent.max(*free).min(until);
            *free = until;
            let body = Body::Frame {
                pool,
                job,
                items,
                ran,
                died,
            };
            frames.push((track, at, until, body));
        };
        for &(at, what) in events {
            match what {
                What::Sent {
                    pool,
                    pid,
                    sequence,
                    job,
                    items,
                } => {
                    let (_, out, _) = tracks
                        .entry(pid)
                        .or_insert_with(|| (add(pid, pool), VecDeque::new(), 0));
                    out.push_back((sequence, at, pool, job, items));
                }
                What::Answered {
                    pid,
                    sequence,
                    items,
                    nanos,
                } => {
                    // (One that was sent before the recording began is nobody's.)
                    if let Some((track, out, free)) = tracks.get_mut(&pid)
                        && out.front().is_some_and(|frame| frame.0 == sequence)
                        && let Some((_, sent, pool, job, _)) = out.pop_front()
                        && items > 0
                    {
                        let frame = (sequence, sent, pool, job, items);
                        land(*track, frame, free, at, Some(nanos), false);
                    }
                }
                What::Fell { pid } => {
                    if let Some((track, out, free)) = tracks.get_mut(&pid)
                        && let Some(frame) = out.pop_front()
                    {
                        land(*track, frame, free, at, None, true);
                        out.clear(); // sent again, elsewhere
                    }
                }
                _ => {}
            }
        }
        for (track, mut out, mut free) in tracks.into_values() {
            if let Some(frame) = out.pop_front() {
                land(track, frame, &mut free, length, None, false);
            }
        }
        for (track, at, until, body) in frames {
            self.tracks[track].slices.push(Slice {
                at,
                until,
                own: until - at,
                role: Role::Outside,
                body,
            });
        }
    }
}
