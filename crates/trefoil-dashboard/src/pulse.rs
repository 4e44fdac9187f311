//! What each thread and each worker process runs, looked at [ten times](TICK) a second.
//!
//! The looks since the last snapshot are a strip of the line of that thread or process; what a page
//! has seen before, it keeps itself. Tasks that begin and end between two looks are not on the
//! strip, only counted. The names of tasks are numbered, so that a look is a list of numbers.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use trefoil::inspect::{Activity, LiveCall, LiveMap, LiveTask, activity};

use crate::notes::clip;
use crate::snapshot::{SHOWN, micros};

/// The time between two looks.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// The most looks, and names, that are kept for a snapshot.
const LOOKS: usize = 50;
const LABELS: usize = 500;
/// How many maps are shown.
const MAPS: usize = 50;

/// The looks since the last snapshot.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Looks>);

#[derive(Debug, Default)]
struct Looks {
    taken: usize,
    labels: Vec<String>,
    numbers: HashMap<String, usize>,
    strips: HashMap<String, Vec<usize>>,
}

/// What runs now, and what has run since the last snapshot.
#[derive(Debug, Serialize)]
pub(crate) struct PulseView {
    /// The time between two looks.
    tick_ms: u64,
    /// What the numbers in `strip` mean; 0: nothing.
    labels: Vec<String>,
    lines: Vec<LineView>,
    pub(crate) lines_left_out: usize,
    maps: Vec<MapView>,
    maps_in_all: usize,
}

#[derive(Debug, Serialize)]
struct LineView {
    name: String,
    /// Of a worker process.
    pid: Option<u32>,
    /// What it runs now.
    runs: Option<String>,
    detail: Option<String>,
    since_us: Option<u64>,
    /// How many tasks have begun on the thread; of a process, how many items it has.
    count: u64,
    strip: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct MapView {
    kind: &'static str,
    label: String,
    caller: String,
    total: Option<u64>,
    ended: u64,
    since_us: u64,
}

/// A line at one moment.
struct Now {
    name: String,
    pid: Option<u32>,
    task: Option<LiveTask>,
    /// What it runs; `None`: nothing.
    label: Option<String>,
    detail: Option<String>,
    since: Option<Duration>,
    count: u64,
}

/// A task's name, or else its site.
fn label(task: &LiveTask) -> String {
    match &task.name {
        Some(name) => clip(name),
        None => format!("{} at {}", task.kind, task.spawned_at),
    }
}

impl Pulse {
    /// Takes a look.
    pub(crate) fn look(&self) {
        let lines = lines(&activity());
        self.0.lock().add(&lines);
    }

    /// Takes the looks out, with one of this moment.
    pub(crate) fn take(&self) -> PulseView {
        let now = activity();
        let lines = lines(&now);
        let mut looks = self.0.lock();
        looks.add(&lines);
        let looks = std::mem::take(&mut *looks);
        PulseView::of(&now, lines, looks)
    }
}

impl PulseView {
    /// What runs at this moment, without strips.
    #[cfg(unix)]
    pub(crate) fn now() -> Self {
        let now = activity();
        Self::of(&now, lines(&now), Looks::default())
    }

    fn of(now: &Activity, lines: Vec<Now>, mut looks: Looks) -> Self {
        let left_out = lines.len().saturating_sub(SHOWN);
        let view = |line: Now| LineView {
            strip: looks.strips.remove(&line.name).unwrap_or_default(),
            runs: line.label,
            detail: line.detail.or_else(|| {
                let task = line.task.as_ref()?;
                Some(format!("{} #{} at {}", task.kind, task.id, task.spawned_at))
            }),
            since_us: line.since.map(micros),
            name: line.name,
            pid: line.pid,
            count: line.count,
        };
        Self {
            tick_ms: TICK.as_millis() as u64,
            lines: lines.into_iter().take(SHOWN).map(view).collect(),
            labels: looks.labels,
            lines_left_out: left_out,
            maps_in_all: now.maps.len(),
            maps: now.maps.iter().take(MAPS).map(MapView::of).collect(),
        }
    }
}

impl Looks {
    fn add(&mut self, lines: &[Now]) {
        if self.taken == LOOKS {
            return; // nobody has taken them for seconds
        }
        for line in lines.iter().take(SHOWN) {
            let number = line.label.as_ref().map_or(0, |label| self.number(label));
            let strip = self.strips.entry(line.name.clone()).or_default();
            // A line that is new has run nothing before.
            strip.resize(self.taken, 0);
            strip.push(number);
        }
        self.taken += 1;
    }

    fn number(&mut self, label: &str) -> usize {
        if let Some(number) = self.numbers.get(label) {
            return *number;
        }
        if self.labels.is_empty() {
            self.labels.push(String::new());
        }
        if self.labels.len() == LABELS {
            return LABELS - 1; // so many that the strip has no more colours anyway
        }
        let number = self.labels.len();
        self.labels.push(label.to_owned());
        self.numbers.insert(label.to_owned(), number);
        number
    }
}

/// The lines: threads, then worker processes.
fn lines(now: &Activity) -> Vec<Now> {
    // This looks on a thread of this crate, which would run nothing but that.
    let others = now.threads.iter();
    let is_own = |name: &str| {
        [crate::THREAD, crate::TOP]
            .iter()
            .any(|own| name.ends_with(own))
    };
    let others = others.filter(|thread| !is_own(&thread.name));
    let mut threads: Vec<Now> = others.map(thread).collect();
    threads.sort_by(|one, other| one.name.cmp(&other.name));
    let oldest = now
        .calls
        .iter()
        .enumerate()
        .filter(|(at, call)| *at == 0 || now.calls[at - 1].pid != call.pid);
    let processes = oldest.map(|(at, call)| {
        let behind = now.calls[at..].iter();
        let items = behind.take_while(|other| other.pid == call.pid);
        process(call, items.map(|call| call.items).sum(), &now.maps)
    });
    threads.extend(processes);
    threads
}

fn thread(thread: &trefoil::inspect::LiveThread) -> Now {
    let unknown = || thread.runs.map(|id| format!("task #{id}"));
    Now {
        name: clip(&thread.name),
        pid: None,
        label: thread.task.as_ref().map(label).or_else(unknown),
        detail: None,
        since: thread.task.as_ref().map(|task| task.since),
        task: thread.task.clone(),
        count: thread.begun,
    }
}

fn process(call: &LiveCall, items: u64, maps: &[LiveMap]) -> Now {
    let of_map = |map: &&LiveMap| map.task.as_ref().map(|task| task.id) == call.task;
    let map = maps.iter().find(|map| call.task.is_some() && of_map(map));
    let of_map = map.and_then(|map| map.task.as_ref()).map(label);
    let of_call = || match (&call.name, call.called_at, call.task) {
        (Some(name), ..) => clip(name),
        (_, Some(site), _) => format!("call at {site}"),
        (.., Some(id)) => format!("task #{id}"),
        _ => "items of an imap".to_owned(),
    };
    Now {
        name: format!("process {}", call.pid),
        pid: Some(call.pid),
        label: Some(of_map.unwrap_or_else(of_call)),
        detail: Some(match call.items {
            1 => format!("item {}", call.first),
            n => format!("{n} items from {} on", call.first),
        }),
        since: Some(call.since),
        task: None,
        count: items,
    }
}

impl MapView {
    fn of(map: &LiveMap) -> Self {
        Self {
            kind: map.kind,
            label: map.task.as_ref().map(label).unwrap_or_default(),
            caller: clip(&map.caller),
            total: map.total,
            ended: map.total.map_or(map.ended, |total| map.ended.min(total)),
            since_us: micros(map.since),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, label: Option<&str>) -> Now {
        Now {
            name: name.to_owned(),
            pid: None,
            task: None,
            label: label.map(str::to_owned),
            detail: None,
            since: None,
            count: 0,
        }
    }

    #[test]
    fn looks_make_strips_of_one_length() {
        let mut looks = Looks::default();
        looks.add(&[line("one", Some("a"))]);
        looks.add(&[line("one", None), line("two", Some("b"))]);
        looks.add(&[line("one", Some("b")), line("two", Some("a"))]);
        assert_eq!(looks.labels, ["", "a", "b"]);
        assert_eq!(looks.strips["one"], [1, 0, 2]);
        assert_eq!(looks.strips["two"], [0, 2, 1]);
    }

    #[test]
    fn what_nobody_takes_does_not_grow() {
        let mut looks = Looks::default();
        for n in 0..10 * LABELS {
            looks.add(&[line("one", Some(&format!("name {n}")))]);
        }
        assert_eq!(looks.strips["one"].len(), LOOKS);
        let mut looks = Looks::default();
        for n in 0..2 * LABELS {
            looks.number(&format!("name {n}"));
        }
        assert_eq!(looks.labels.len(), LABELS);
    }
}
