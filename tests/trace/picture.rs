//! A trace as a viewer sees it, with what every viewer relies on checked.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use trefoil::trace::{self, Recording, Trace};

use crate::deadline::within_deadline;
use crate::json::Json;

/// There is one recording at a time, and one process for all tests.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs a test while no other one runs, so that nobody else's pools are in the picture.
pub(crate) fn alone(test: impl FnOnce() + Send + 'static) {
    within_deadline(move || {
        let _guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        test();
    });
}

pub(crate) struct Recorded(Recording);

pub(crate) fn record() -> Recorded {
    Recorded(trace::start().expect("no other test records"))
}

impl Recorded {
    pub(crate) fn stop(self) -> (Trace, Picture) {
        let trace = self.0.stop();
        let picture = Picture::of(&trace);
        (trace, picture)
    }
}

/// A slice, mark or arrow's end.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) phase: String,
    pub(crate) category: String,
    pub(crate) name: String,
    pub(crate) track: (u64, u64),
    /// In nanoseconds.
    pub(crate) at: u64,
    pub(crate) until: u64,
    pub(crate) id: u64,
    pub(crate) args: Json,
}

impl Event {
    pub(crate) fn task(&self) -> u64 {
        match self.args.get("task") {
            Json::Null => 0,
            number => number.number() as u64,
        }
    }

    pub(crate) fn arg(&self, key: &str) -> &str {
        self.args.get(key).text()
    }
}

#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) events: Vec<Event>,
    /// Names of tracks.
    pub(crate) threads: HashMap<(u64, u64), String>,
}

impl Picture {
    pub(crate) fn of(trace: &Trace) -> Self {
        let mut json = Vec::new();
        trace.write_json(&mut json).unwrap();
        let json = String::from_utf8(json).unwrap();
        let json = Json::parse(&json).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(json.get("displayTimeUnit").text(), "ns");
        let lost = json.get("otherData").get("lost").number();
        assert_eq!(lost as u64, trace.lost());
        let mut picture = Self {
            events: Vec::new(),
            threads: HashMap::new(),
        };
        for event in json.get("traceEvents").list() {
            let track = (
                event.get("pid").number() as u64,
                event.get("tid").number() as u64,
            );
            if event.get("ph").text() == "M" {
                if event.get("name").text() == "thread_name" {
                    let name = event.get("args").get("name").text();
                    let before = picture.threads.insert(track, name.to_owned());
                    assert_eq!(before, None, "two threads on one track");
                }
                continue;
            }
            let nanos = |key| (event.get(key).number() * 1000.0).round() as u64;
            let at = nanos("ts");
            let slice = event.get("ph").text() == "X";
            picture.events.push(Event {
                phase: event.get("ph").text().to_owned(),
                category: event.get("cat").text().to_owned(),
                name: event.get("name").text().to_owned(),
                track,
                at,
                until: at + if slice { nanos("dur") } else { 0 },
                id: if slice {
                    0
                } else {
                    event.get("id").number() as u64
                },
                args: event.get("args").clone(),
            });
        }
        picture.check();
        picture
    }

    /// What viewers rely on.
    fn check(&self) {
        let mut tracks: HashMap<_, Vec<&Event>> = HashMap::new();
        for event in &self.events {
            assert!(self.threads.contains_key(&event.track), "{event:?}");
            let track = tracks.entry(event.track).or_default();
            if let Some(before) = track.last() {
                assert!(before.at <= event.at, "sorted: {before:?} {event:?}");
            }
            track.push(event);
        }
        let mut arrows: HashMap<u64, Vec<&Event>> = HashMap::new();
        for track in tracks.values() {
            let mut open: Vec<&Event> = Vec::new();
            for &event in track {
                // As Perfetto does it: what ended before this moment is closed.
                while open.last().is_some_and(|outer| outer.until < event.at) {
                    open.pop();
                }
                if event.phase != "X" {
                    assert!(!open.is_empty(), "an arrow out of nothing: {event:?}");
                    arrows.entry(event.id).or_default().push(event);
                    continue;
                }
                while open.last().is_some_and(|outer| outer.until <= event.at) {
                    open.pop();
                }
                if let Some(outer) = open.last() {
                    // A mark has its nanosecond.
                    assert!(
                        event.until <= outer.until + 1,
                        "{event:?} sticks out of {outer:?}"
                    );
                }
                open.push(event);
            }
        }
        for ends in arrows.values() {
            let phases: Vec<&str> = ends.iter().map(|end| &*end.phase).collect();
            assert!(matches!(phases[..], ["s", "f"] | ["f", "s"]), "{ends:?}");
        }
    }

    /// Slices and marks of a category.
    pub(crate) fn of_category<'a>(&'a self, category: &'a str) -> impl Iterator<Item = &'a Event> {
        let slices = self.events.iter().filter(|event| event.phase == "X");
        slices.filter(move |event| event.category == category)
    }

    /// The slices in which the task's code ran.
    pub(crate) fn runs(&self, task: u64) -> Vec<&Event> {
        let runs = self.of_category("task");
        runs.filter(|event| event.task() == task).collect()
    }

    pub(crate) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> {
        let slices = self.events.iter().filter(|event| event.phase == "X");
        slices.filter(move |event| event.name == name)
    }

    /// From the event where an arrow of this name begins to where it ends.
    pub(crate) fn arrows(&self, name: &str) -> Vec<(&Event, &Event)> {
        let ends = |phase: &'static str| {
            let ends = self.events.iter();
            ends.filter(move |event| event.phase == phase && event.name == name)
        };
        let targets: HashMap<u64, &Event> = ends("f").map(|end| (end.id, end)).collect();
        ends("s").map(|start| (start, targets[&start.id])).collect()
    }

    pub(crate) fn thread(&self, event: &Event) -> &str {
        &self.threads[&event.track]
    }
}
