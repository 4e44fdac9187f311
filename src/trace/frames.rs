//! What worker processes did, from what was said to them.
//!
//! **Job.** Tracks for processes, with a slice for each frame. A process does its frames one after another, so an answer is
//! the oldest frame's, and a frame cannot have begun before the one ahead of it was answered. A process that is gone
//! takes the oldest with it; the others are sent again, elsewhere.
//!
//! The events come from several threads (the driver, and callers that do its work), one at a time; so their times
//! are in order.
//!
//! The answer to a frame that was sent before the recording began is left out.
//!
//! Rejected: the items of a frame one by one (their times are in the worker's ledger, and overwritten by the next).
//!
//! Tests: `tests/trace/`.

use std::collections::{BTreeMap, VecDeque};

use super::story::{Body, Owner, Slice, Story, Track};
use crate::record::{Role, What};

/// A worker process.
struct Process {
    track: Track,
    out: VecDeque<Frame>,
    /// When its latest frame was done.
    free: u64,
}

/// A frame that is out.
struct Frame {
    sequence: u32,
    sent: u64,
    job: u32,
    items: u32,
}

impl Story {
    /// Adds the tracks of worker processes. `events`: in the order of time.
    pub(super) fn read_frames(&mut self, events: &[(u64, What)]) {
        let mut processes: BTreeMap<u32, Process> = BTreeMap::new();
        for &(at, what) in events {
            match what {
                What::Sent {
                    pool,
                    pid,
                    sequence,
                    job,
                    items,
                } => {
                    let process = processes
                        .entry(pid)
                        .or_insert_with(|| Process::new(pid, pool));
                    process.out.push_back(Frame {
                        sequence,
                        sent: at,
                        job,
                        items,
                    });
                }
                What::Answered {
                    pid,
                    sequence,
                    items,
                    nanos,
                } => {
                    if let Some(process) = processes.get_mut(&pid) {
                        process.answered(at, sequence, items, nanos);
                    }
                }
                What::Fell { pid } => {
                    if let Some(process) = processes.get_mut(&pid) {
                        process.land(at, None, true);
                        process.out.clear(); // sent again, elsewhere
                    }
                }
                _ => {}
            }
        }
        for mut process in processes.into_values() {
            process.land(self.length, None, false);
            self.tracks.push(process.track);
        }
    }
}

impl Process {
    fn new(pid: u32, pool: u32) -> Self {
        Self {
            track: Track {
                pid,
                tid: pid,
                name: format!("worker process {pid}"),
                owner: Owner::Process { pool },
                slices: Vec::new(),
                marks: Vec::new(),
                arrows: Vec::new(),
            },
            out: VecDeque::new(),
            free: 0,
        }
    }

    fn answered(&mut self, at: u64, sequence: u32, items: u32, nanos: u64) {
        let Some(frame) = self.out.front_mut() else {
            return;
        };
        if frame.sequence != sequence {
            return;
        }
        frame.items = items;
        if items > 0 {
            self.land(at, Some(nanos), false);
        } else {
            self.out.pop_front();
        }
    }

    /// The oldest frame, if there is one, is over.
    fn land(&mut self, until: u64, ran: Option<u64>, died: bool) {
        let (Some(frame), Owner::Process { pool }) = (self.out.pop_front(), self.track.owner)
        else {
            return;
        };
        let at = frame.sent.max(self.free).min(until);
        self.free = until;
        let body = Body::Frame {
            pool,
            job: frame.job,
            items: frame.items,
            ran,
            died,
        };
        let slice = Slice::new(at, until, Role::Outside, body);
        self.track.slices.push(slice);
    }
}
