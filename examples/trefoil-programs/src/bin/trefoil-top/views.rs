//! What the program answers, as far as it is drawn. What is missing has its default: the program
//! may be of another version.

use std::fmt::Write;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::cleaned;

/// The view of an answer, with clean texts.
pub(crate) fn view<T: DeserializeOwned>(value: Value) -> serde_json::Result<T> {
    serde_json::from_value(cleaned(value))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Snapshot {
    pub(crate) time_ms: u64,
    pub(crate) program: Program,
    pub(crate) executors: Vec<Executor>,
    pub(crate) lines: Vec<Line>,
    pub(crate) maps: Vec<Map>,
    pub(crate) maps_in_all: usize,
    pub(crate) not_shown: usize,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Program {
    pub(crate) processors: usize,
    pub(crate) watched_ms: u64,
    pub(crate) process: Option<Process>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Process {
    pub(crate) state: String,
    pub(crate) memory: u64,
    pub(crate) peak: Option<u64>,
    pub(crate) processor_ms: u64,
    pub(crate) age_s: u64,
}

/// A thread pool, a process pool, or a loop.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Executor {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) threads: u64,
    pub(crate) busy: u64,
    pub(crate) waiting: u64,
    pub(crate) queued: u64,
    pub(crate) taken: u64,
    pub(crate) delay: Delay,
    pub(crate) counts: Counts,
    pub(crate) workers: Vec<Worker>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Delay {
    pub(crate) last_us: Option<u64>,
    pub(crate) waiting_us: Option<u64>,
    pub(crate) refused: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Counts {
    pub(crate) workers: u64,
    pub(crate) busy: u64,
    pub(crate) pending: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) died: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Worker {
    pub(crate) pid: u32,
    pub(crate) process: Option<Process>,
}

/// What a thread, or a worker process, does.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) pid: Option<u32>,
    pub(crate) runs: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) since_us: Option<u64>,
    pub(crate) count: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Map {
    pub(crate) kind: String,
    pub(crate) label: String,
    pub(crate) caller: String,
    pub(crate) total: Option<u64>,
    pub(crate) ended: u64,
    pub(crate) since_us: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Notes {
    pub(crate) seen: u64,
    pub(crate) failures: List<Failure>,
    pub(crate) slow_polls: List<Slow>,
    pub(crate) stuck: List<Stuck>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
pub(crate) struct List<T> {
    pub(crate) total: u64,
    /// The newest last.
    pub(crate) kept: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            total: 0,
            kept: Vec::new(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Failure {
    /// How many had this cause; 0 in a program that does not count them.
    pub(crate) count: u64,
    pub(crate) time_ms: u64,
    pub(crate) task: String,
    pub(crate) name: Option<String>,
    pub(crate) site: String,
    pub(crate) error: String,
    pub(crate) attempts: Option<u32>,
    pub(crate) last_words: Option<String>,
    pub(crate) backtrace: Option<String>,
}

impl Failure {
    /// "12 times ", if it is more than one.
    pub(crate) fn times(&self) -> String {
        match self.count {
            0 | 1 => String::new(),
            count => format!("{count} times "),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Slow {
    pub(crate) time_ms: u64,
    pub(crate) task: String,
    pub(crate) name: Option<String>,
    pub(crate) site: String,
    pub(crate) elapsed_ms: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Stuck {
    pub(crate) time_ms: u64,
    pub(crate) text: String,
}

/// A page of tasks, or of groups.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Tasks {
    pub(crate) again_ms: u64,
    pub(crate) total: u64,
    pub(crate) without_details: u64,
    pub(crate) page: usize,
    pub(crate) pages: usize,
    pub(crate) groups: Vec<Group>,
    pub(crate) tasks: Vec<Task>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Group {
    pub(crate) label: String,
    pub(crate) tasks: u64,
    pub(crate) queued: u64,
    pub(crate) running: u64,
    pub(crate) waiting: u64,
    pub(crate) polls: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) depth: usize,
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) site: String,
    pub(crate) runs_on: Option<String>,
    pub(crate) state: String,
    pub(crate) since_us: u64,
    pub(crate) polls: u64,
}

impl Task {
    /// Its number, and its name or kind.
    pub(crate) fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("#{} `{name}`", self.id),
            None => format!("#{} {}", self.id, self.kind),
        }
    }
}

impl Executor {
    /// What it is, and its counters.
    pub(crate) fn summary(&self) -> String {
        let Self { delay, counts, .. } = self;
        let mut text = match self.kind.as_str() {
            "threads" => format!(
                "{} of {} threads busy, {} wait, {} queued, {} taken",
                self.busy, self.threads, self.waiting, self.queued, self.taken
            ),
            "processes" => {
                let Counts { pending, died, .. } = counts;
                format!(
                    "{} of {} workers busy, {pending} pending, {} done, {} failed, {died} died",
                    counts.busy, counts.workers, counts.completed, counts.failed
                )
            }
            _ => "event loop".to_owned(),
        };
        match delay {
            Delay {
                refused: Some(why), ..
            } => _ = write!(text, ", {why}"),
            Delay {
                waiting_us: Some(waits),
                ..
            } if *waits > 1_000_000 => _ = write!(text, ", no answer for {}", time(*waits)),
            Delay {
                last_us: Some(last),
                ..
            } => _ = write!(text, ", delay {}", time(*last)),
            _ => {}
        }
        text
    }
}

/// A time in microseconds, in three digits or so.
pub(crate) fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{:.1} ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..60_000_000 => format!("{:.1} s", micros as f64 / 1e6),
        _ => {
            let seconds = micros / 1_000_000;
            match seconds {
                0..3_600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
                _ => format!("{} h {:02} min", seconds / 3_600, seconds / 60 % 60),
            }
        }
    }
}

/// A number of bytes.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..0x10_0000 => format!("{} KiB", count >> 10),
        0x10_0000..0x4000_0000 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// How long before `now` something was, both in milliseconds since 1970.
pub(crate) fn ago(now: u64, then: u64) -> String {
    format!("{} ago", time(now.saturating_sub(then) * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_bytes_are_short() {
        let times = [7, 1_234, 45_000, 9_870_000, 125_000_000, 7_260_000_000];
        let wanted = [
            "7 µs",
            "1.2 ms",
            "45 ms",
            "9.9 s",
            "2 min 05 s",
            "2 h 01 min",
        ];
        assert_eq!(times.map(time), wanted);
        assert_eq!(
            [2048, 3 << 19, 5 << 30].map(bytes),
            ["2 KiB", "1.5 MiB", "5.0 GiB"]
        );
    }

    #[test]
    fn what_is_missing_has_its_default() {
        let snapshot: Snapshot = view(serde_json::json!({"executors": [{"kind": "new"}]})).unwrap();
        assert_eq!(snapshot.executors[0].summary(), "event loop");
        let notes: Notes = view(serde_json::json!({"failures": {}})).unwrap();
        assert!(notes.failures.kept.is_empty());
    }
}
