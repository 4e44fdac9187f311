//! From single events to what happened.
//!
//! **Job.** Events are moments on threads. Here beginnings meet their ends, causes their effects, and what worker
//! processes did is pieced together from what was said to them. All events are gone through once, in the order of time.
//!
//! 1. On a thread, what begins is put on a stack, an end takes it off, and what is above it. An end whose beginning was not
//!    recorded gives a slice from the start of the recording; what has not ended goes on to its end (or, where events were
//!    lost, to the thread's last).
//! 2. A mark that something can come of is noted as the latest cause for a thing: a task, a slot's thread, a job. What begins then
//!    (or the sleep that ends) is its effect. A cause has one effect, but a job's has all of its frames. From the one to the other the
//!    task was queued.
//! 3. A worker process does its frames one after another, so an answer is the oldest frame's, and a frame cannot have begun before
//!    the one ahead of it was answered. A process that is gone takes the oldest with it; the others are sent again, elsewhere.
//!
//! Rejected: doing this while recording (it is what would have to be paid for at once); the whole chain of causes (what
//! woke the one who woke): the viewer follows arrows; the items of a frame one by one (their times are in the worker's ledger, and
//! overwritten by the next).
//!
//! Tests: `tests/trace/`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::mem::{discriminant, replace, take};

use super::story::{Arrow, Body, Outcome, Slice, Story, Track};
use crate::record::session::Log;
use crate::record::{Event, Frame, Kind, Role, What};

pub(super) struct Reader {
    story: Story,
    /// Those of the first tracks.
    threads: Vec<Thread>,
    processes: BTreeMap<u32, Process>,
    causes: HashMap<Thing, Cause>,
    arrows: u64,
}

struct Thread {
    role: Role,
    /// What the next wait is for.
    awaits: u64,
    /// The numbers of the slices that have begun, the innermost last.
    open: Vec<usize>,
    /// How much time is in slices that are in no other.
    outside: u64,
    /// Until when its events are known.
    end: u64,
}

struct Process {
    track: usize,
    /// What it has not answered, with when that was sent.
    out: VecDeque<(u64, Frame)>,
}

/// What a cause and an effect have in common.
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
    /// It has had an effect.
    served: bool,
}

impl Reader {
    pub(super) fn read(logs: Vec<Log>, length: u64) -> Story {
        let mut reader = Self {
            story: Story::default(),
            threads: Vec::new(),
            processes: BTreeMap::new(),
            causes: HashMap::new(),
            arrows: 0,
        };
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
        for track in 0..reader.threads.len() {
            reader.close(track, 0, reader.threads[track].end);
        }
        for pid in reader.processes.keys().copied().collect::<Vec<_>>() {
            reader.end_frame(pid, length, Outcome::Unknown);
        }
        for track in &mut reader.story.tracks {
            let slices = &mut track.slices;
            slices.sort_by_key(|slice| (slice.at, Reverse(slice.until)));
        }
        reader.story
    }

    fn add_thread(&mut self, log: Log) {
        let Story { pid, length, .. } = self.story;
        // A system's number may have had two threads, one after the other.
        let mut tid = log.os_id;
        while self.story.tracks.iter().any(|track| track.tid == tid) {
            tid = tid.wrapping_add(1 << 22);
        }
        for (task, name) in log.names {
            self.story.task(task).name = Some(name);
        }
        self.story.lost += log.lost;
        let name = log.name.unwrap_or_else(|| "(no name)".to_owned());
        let track = Track::new(pid, tid, Role::Outside, name);
        self.story.tracks.push(track);
        self.threads.push(Thread {
            role: Role::Outside,
            awaits: 0,
            open: Vec::new(),
            outside: 0,
            end: match log.lost {
                0 => length,
                _ => log.events.last().map_or(0, |event| event.at),
            },
        });
    }

    fn event(&mut self, track: usize, event: Event) {
        let Event { at, what } = event;
        match what {
            What::Is { role } => {
                self.threads[track].role = role;
                if role != Role::Outside {
                    self.story.tracks[track].role = role;
                }
            }
            What::Begun { task, site, kind } => {
                self.story.task(task).made_at(site, kind);
                let slice = self.begin(track, at, Body::Run { task, how: None });
                self.effect(Thing::Task(task), track, slice, at);
            }
            What::PartBegun { part } => _ = self.begin(track, at, Body::Part(part)),
            What::Awaits { task } => self.threads[track].awaits = task,
            What::Waits => {
                let task = take(&mut self.threads[track].awaits);
                self.begin(track, at, Body::Wait { task });
            }
            What::Sleeps => _ = self.begin(track, at, Body::Sleep),
            What::Ended { task, how } => {
                let how = Some(how);
                self.end(track, at, Body::Run { task, how });
            }
            What::PartEnded { part } => self.end(track, at, Body::Part(part)),
            What::Waited => self.end(track, at, Body::Wait { task: 0 }),
            What::Slept => self.end(track, at, Body::Sleep),
            What::Spawned { task, site, kind } => {
                let parent = self.runs(track);
                let story = self.story.task(task);
                story.made_at(site, kind);
                story.parent = parent;
                // A promise never runs: it causes nothing.
                let cause = (kind != Kind::Promise).then_some((Thing::Task(task), "spawn"));
                self.mark(track, event, cause);
            }
            What::Woken { task } => self.mark(track, event, Some((Thing::Task(task), "wake"))),
            What::Roused { pool, slot } => {
                let cause = (Thing::Thread(pool, slot), "wake thread");
                self.mark(track, event, Some(cause));
            }
            What::Called { pool, job, task } => {
                if task != 0 {
                    self.story.calls.insert((pool, job), task);
                }
                self.mark(track, event, Some((Thing::Job(pool, job), "call")));
            }
            What::Settled { .. } | What::Stolen { .. } => self.mark(track, event, None),
            What::Sent(frame) => self.process(frame).out.push_back((at, frame)),
            What::Answered { pid, done, nanos } => {
                if let Some(process) = self.processes.get_mut(&pid)
                    && let Some((_, frame)) = process.out.front_mut()
                    && frame.sequence == done.sequence
                {
                    frame.items = done.items;
                    self.end_frame(pid, at, Outcome::Ran(nanos));
                }
            }
            What::Fell { pid } => {
                self.end_frame(pid, at, Outcome::Died);
                if let Some(process) = self.processes.get_mut(&pid) {
                    process.out.clear(); // sent again, elsewhere
                }
            }
        }
    }

    /// Something at a moment; what it may be the cause of.
    fn mark(&mut self, track: usize, event: Event, cause: Option<(Thing, &'static str)>) {
        self.story.tracks[track].marks.push(event);
        if let Some((thing, name)) = cause {
            let cause = Cause {
                name,
                track,
                at: event.at,
                served: false,
            };
            self.causes.insert(thing, cause);
        }
    }

    /// The task that runs on a thread.
    fn runs(&self, track: usize) -> Option<u64> {
        let slices = &self.story.tracks[track].slices;
        let mut open = self.threads[track].open.iter().rev();
        open.find_map(|&slice| match slices[slice].body {
            Body::Run { task, .. } => Some(task),
            _ => None,
        })
    }

    /// A slice begins; its number.
    fn begin(&mut self, track: usize, at: u64, body: Body) -> usize {
        let thread = &mut self.threads[track];
        let slices = &mut self.story.tracks[track].slices;
        thread.open.push(slices.len());
        slices.push(Slice::new(at, thread.role, body));
        slices.len() - 1
    }

    /// What was begun as `body` ends, and what is still open inside of it.
    fn end(&mut self, track: usize, at: u64, body: Body) {
        let slices = &self.story.tracks[track].slices;
        let is_begun = |&slice: &usize| match (slices[slice].body, body) {
            (Body::Run { task, .. }, Body::Run { task: ended, .. }) => task == ended,
            (begun, _) => discriminant(&begun) == discriminant(&body),
        };
        let open = &self.threads[track].open;
        let place = open.iter().rposition(is_begun).unwrap_or_else(|| {
            // Since before the recording: what has been until now was inside of it.
            let slice = self.begin(track, 0, body);
            let thread = &mut self.threads[track];
            self.story.tracks[track].slices[slice].inside = take(&mut thread.outside);
            thread.open.len() - 1
        });
        if let Body::Run { .. } = body {
            let slice = self.threads[track].open[place];
            self.story.tracks[track].slices[slice].body = body; // how it ended
        }
        self.close(track, place, at);
    }

    /// Ends the open slices of a thread from this place on, the innermost first.
    fn close(&mut self, track: usize, place: usize, until: u64) {
        while self.threads[track].open.len() > place {
            let thread = &mut self.threads[track];
            let slices = &mut self.story.tracks[track].slices;
            let number = thread.open.pop().expect("one is open");
            let slice = &mut slices[number];
            slice.until = until.max(slice.at);
            let (length, until) = (slice.length(), slice.until);
            let (body, role) = (slice.body, slice.role);
            match thread.open.last() {
                Some(&outer) => slices[outer].inside += length,
                None => thread.outside += length,
            }
            match (body, role) {
                (Body::Run { task, .. }, _) => self.story.task(task).add_run(length),
                (Body::Sleep | Body::Wait { .. }, Role::Worker { pool, slot, .. })
                    if length > 0 =>
                {
                    // The last moment of it: there is nothing to point to behind it.
                    self.effect(Thing::Thread(pool, slot), track, number, until - 1);
                }
                _ => {}
            }
        }
    }

    /// A worker process: it has a track once something is sent to it.
    fn process(&mut self, Frame { pool, pid, .. }: Frame) -> &mut Process {
        let tracks = &mut self.story.tracks;
        self.processes.entry(pid).or_insert_with(|| {
            let name = format!("worker process {pid}");
            tracks.push(Track::new(pid, pid, Role::Process { pool }, name));
            Process {
                track: tracks.len() - 1,
                out: VecDeque::new(),
            }
        })
    }

    /// A process's oldest frame, if there is one, is over. If no item of it was run, it is not shown.
    fn end_frame(&mut self, pid: u32, until: u64, outcome: Outcome) {
        let Some(process) = self.processes.get_mut(&pid) else {
            return;
        };
        let track = process.track;
        let Some((sent, frame)) = process.out.pop_front() else {
            return;
        };
        if frame.items == 0 {
            return;
        }
        let Track { role, slices, .. } = &mut self.story.tracks[track];
        let free = slices.last().map_or(0, |before| before.until);
        let mut slice = Slice::new(sent.max(free), *role, Body::Frame(frame, outcome));
        slice.until = until;
        let (number, at, ran) = (slices.len(), slice.at, slice.ran());
        slices.push(slice);
        if let Some(&task) = self.story.calls.get(&(frame.pool, frame.job)) {
            self.story.task(task).add_run(ran);
        }
        self.effect(Thing::Job(frame.pool, frame.job), track, number, at);
    }

    /// A slice begins, or a sleep ends, because of the latest cause of the thing: an arrow leads there.
    fn effect(&mut self, thing: Thing, track: usize, slice: usize, at: u64) {
        let Some(cause) = self.causes.get_mut(&thing) else {
            return;
        };
        let again = replace(&mut cause.served, true);
        if again && !matches!(thing, Thing::Job(..)) {
            return;
        }
        if !again && !matches!(thing, Thing::Thread(..)) {
            let waited = at.saturating_sub(cause.at);
            self.story.tracks[track].slices[slice].queued = Some(waited);
            let task = match thing {
                Thing::Task(task) => Some(task),
                Thing::Job(pool, job) => self.story.calls.get(&(pool, job)).copied(),
                Thing::Thread(..) => None,
            };
            if let Some(task) = task {
                self.story.task(task).queued += waited;
            }
        }
        self.arrows += 1;
        for (track, at, ends) in [(cause.track, cause.at, false), (track, at, true)] {
            self.story.tracks[track].arrows.push(Arrow {
                id: self.arrows,
                name: cause.name,
                at,
                ends,
            });
        }
    }
}
