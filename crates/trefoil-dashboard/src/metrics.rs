//! The counters in the form of `OpenMetrics` 1.0, which Prometheus reads.
//!
//! Each metric is described once, and then has a line for each executor, worker or thread. An
//! executor's label `id` tells two of the same name apart.

use std::fmt::{Display, Write};

use crate::board::Shared;
use crate::executors::Executors;
use crate::snapshot::{DelayView, ExecutorView, KindView};
use crate::system::Processes;

/// The type of the response.
pub(crate) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Default)]
struct Text(String);

/// Whether a number only grows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Gauge,
    Counter,
}
use Kind::{Counter, Gauge};

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    /// Describes a metric. `unit`: the last word of its name, if that is a unit.
    fn describe(&mut self, name: &str, kind: Kind, unit: &str, help: &str) {
        let word = match kind {
            Gauge => "gauge",
            Counter => "counter",
        };
        let _ = writeln!(self.0, "# TYPE {name} {word}");
        if !unit.is_empty() {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.0, "# HELP {name} {help}");
    }

    fn line(&mut self, name: &str, kind: Kind, labels: Labels<'_>, value: impl Display) {
        self.0.push_str(name);
        if kind == Counter {
            self.0.push_str("_total");
        }
        for (at, (label, text)) in labels.iter().enumerate() {
            let mark = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{mark}{label}=\"{}\"", escaped(text));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    fn one(&mut self, name: &str, kind: Kind, unit: &str, help: &str, value: impl Display) {
        self.describe(name, kind, unit, help);
        self.line(name, kind, &[], value);
    }
}

fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\");
    text.replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// A number of an executor: its metric's name, kind and description, and where it is.
type Number = (
    &'static str,
    Kind,
    &'static str,
    fn(&KindView) -> Option<u64>,
);

/// The numbers of one kind of executor.
macro_rules! number {
    ($name:literal, $kind:ident, $help:literal, threads $field:ident) => {
        ($name, $kind, $help, |view| match view {
            KindView::Threads { $field, .. } => Some(*$field as u64),
            _ => None,
        })
    };
    ($name:literal, $kind:ident, $help:literal, processes $field:ident) => {
        ($name, $kind, $help, |view| match view {
            KindView::Processes { counts, .. } => Some(counts.$field as u64),
            _ => None,
        })
    };
}

const NUMBERS: [Number; 14] = [
    number!("trefoil_threads", Gauge, "How many tasks a thread pool runs at once.", threads threads),
    number!("trefoil_threads_busy", Gauge, "Threads that run something.", threads busy),
    number!("trefoil_threads_waiting", Gauge, "Threads in a blocking wait.", threads waiting),
    number!("trefoil_threads_queued", Gauge, "Entries of a thread pool's queues.", threads queued),
    number!("trefoil_threads_taken", Counter, "Entries taken from the queues.", threads taken),
    number!("trefoil_workers", Gauge, "Worker processes.", processes workers),
    number!("trefoil_workers_busy", Gauge, "Worker processes with something to do.", processes busy),
    number!("trefoil_items_pending", Gauge, "Items that wait or run.", processes pending),
    number!("trefoil_items_completed", Counter, "Items that have given a value.", processes completed),
    number!("trefoil_items_failed", Counter, "Items that have ended in an error.", processes failed),
    number!("trefoil_items_retried", Counter, "How often items were queued for another attempt.", processes retried),
    number!("trefoil_items_timed_out", Counter, "Items that ran too long.", processes timed_out),
    number!("trefoil_workers_started", Counter, "Worker processes started.", processes started),
    number!("trefoil_workers_died", Counter, "Worker processes that have died.", processes died),
];

fn delay_of(kind: &KindView) -> Option<&DelayView> {
    match kind {
        KindView::Threads { delay, .. } | KindView::Loop { delay } => Some(delay),
        KindView::Processes { .. } => None,
    }
}

/// All metrics of this moment.
pub(crate) fn render(shared: &Shared) -> String {
    let processes = Processes::look(&shared.executors.pids());
    let (executors, _) = Executors::views(&shared.executors, &processes);
    let ids: Vec<String> = executors.iter().map(|one| one.id.to_string()).collect();
    let named: Vec<(&ExecutorView, [(&str, &str); 2])> = executors
        .iter()
        .zip(&ids)
        .map(|(one, id)| (one, [("executor", one.name.as_str()), ("id", id.as_str())]))
        .collect();
    let mut text = Text::default();
    for (name, kind, help, read) in NUMBERS {
        let values = named.iter();
        let mut values = values
            .filter_map(|(one, labels)| Some((labels, read(&one.kind)?)))
            .peekable();
        if values.peek().is_some() {
            text.describe(name, kind, "", help);
        }
        for (labels, value) in values {
            text.line(name, kind, labels, value);
        }
    }
    delays(&mut text, &named);
    workers(&mut text, &named);
    if let Some(own) = processes.own() {
        let help = "Resident memory of the program.";
        text.one(
            "trefoil_program_memory_bytes",
            Gauge,
            "bytes",
            help,
            own.memory,
        );
        let used = own.processor_ms as f64 / 1e3;
        let help = "Processor time of the program.";
        text.one(
            "trefoil_program_processor_seconds",
            Counter,
            "seconds",
            help,
            used,
        );
    }
    threads(&mut text);
    let notes = shared.notes.totals();
    for (name, help, total) in [
        (
            "trefoil_failures",
            "Failures that hooks have reported.",
            notes[0],
        ),
        (
            "trefoil_slow_polls",
            "Slow polls that hooks have reported.",
            notes[1],
        ),
        ("trefoil_stuck", "Deadlocks that were found.", notes[2]),
    ] {
        text.one(name, Counter, "", help, total);
    }
    text.0.push_str("# EOF\n");
    text.0
}

fn delays(text: &mut Text, named: &[(&ExecutorView, [(&str, &str); 2])]) {
    const NAME: &str = "trefoil_delay_seconds";
    let help = "How long spawned work waits until it runs: the last time, or so far.";
    text.describe(NAME, Gauge, "seconds", help);
    for (one, labels) in named {
        let delay = delay_of(&one.kind);
        if let Some(micros) = delay.and_then(|delay| delay.waiting_us.max(delay.last_us)) {
            text.line(NAME, Gauge, labels, seconds(micros));
        }
    }
}

/// Memory and processor time of each worker process.
fn workers(text: &mut Text, named: &[(&ExecutorView, [(&str, &str); 2])]) {
    const MEMORY: &str = "trefoil_worker_memory_bytes";
    const USED: &str = "trefoil_worker_processor_seconds";
    let mut used = Text::default();
    used.describe(
        USED,
        Counter,
        "seconds",
        "Processor time of a worker process.",
    );
    text.describe(
        MEMORY,
        Gauge,
        "bytes",
        "Resident memory of a worker process.",
    );
    for (one, [name, id]) in named {
        let KindView::Processes { workers, .. } = &one.kind else {
            continue;
        };
        for worker in workers {
            let Some(process) = &worker.process else {
                continue;
            };
            let pid = worker.pid.to_string();
            let labels = [*name, *id, ("pid", pid.as_str())];
            text.line(MEMORY, Gauge, &labels, process.memory);
            used.line(USED, Counter, &labels, process.processor_ms as f64 / 1e3);
        }
    }
    text.0.push_str(&used.0);
}

/// How many tasks have begun on each thread, with threads of one name counted together.
fn threads(text: &mut Text) {
    const NAME: &str = "trefoil_tasks_begun";
    let mut begun = std::collections::BTreeMap::<String, u64>::new();
    for thread in trefoil::inspect::activity().threads {
        *begun.entry(thread.name).or_default() += thread.begun;
    }
    let help = "Closures and polls of futures that have begun on a thread.";
    text.describe(NAME, Counter, "", help);
    for (name, count) in begun {
        text.line(NAME, Counter, &[("thread", &name)], count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut text = Text::default();
        text.line("a", Counter, &[("b", "x\\\"\ny"), ("c", "d")], 1.5);
        assert_eq!(text.0, "a_total{b=\"x\\\\\\\"\\ny\",c=\"d\"} 1.5\n");
    }
}
