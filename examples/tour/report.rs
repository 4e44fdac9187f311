//! The table that the tour prints, its progress bars, and its meter.
//!
//! A row is: what was found, how, in how much time, how many times faster than
//! the first row of its part, and how much processor time it took in this
//! process and its workers together. On a terminal a bar runs while a row is
//! being worked out; piped, there are plain lines and nothing else.

use super::Pools;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::error::Error;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Prints one line. Whoever pipes the tour into `head` stops reading early, and
/// that is no reason to panic.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn columns(what: &str, how: &str, time: &str, speed_up: &str, cpu: &str) {
    let row = format!("  {what:<34} {how:<24} {time:>9} {speed_up:>9} {cpu:>9}");
    line(format_args!("{}", row.trim_end()));
}

/// The report of one tour.
pub(crate) struct Report {
    pools: Arc<Pools>,
    began: Instant,
    /// The time of the part's first row, which the others are compared with.
    baseline: Option<Duration>,
    differences: usize,
    answers: usize,
}

impl Report {
    pub(crate) fn new(pools: &Arc<Pools>) -> Self {
        Self {
            pools: Arc::clone(pools),
            began: Instant::now(),
            baseline: None,
            differences: 0,
            answers: 0,
        }
    }

    /// Opens a part.
    pub(crate) fn part(&mut self, title: &str) {
        self.baseline = None;
        line(format_args!("\n{title}\n"));
        columns("what", "how", "time", "speed-up", "CPU used");
    }

    /// Works out one row: runs `work`, which may move the bar as far as `steps`
    /// (0: unknown), and prints what `say` makes of its result. The first
    /// such row of a part is what the others are compared with.
    pub(crate) fn row<R>(
        &mut self,
        how: &str,
        steps: usize,
        work: impl FnOnce(&ProgressBar) -> Result<R, Box<dyn Error>>,
        say: impl FnOnce(&R) -> String,
    ) -> Result<R, Box<dyn Error>> {
        let (time, cpu, result) = self.measure(how, steps, work)?;
        let baseline = *self.baseline.get_or_insert(time);
        let speed_up = format!("{:.1} x", baseline.as_secs_f64() / time.as_secs_f64());
        columns(
            &say(&result),
            how,
            &Seconds(time).to_string(),
            &speed_up,
            &cpu,
        );
        Ok(result)
    }

    /// A row that cannot be compared with another.
    pub(crate) fn lone_row<R>(
        &mut self,
        how: &str,
        work: impl FnOnce() -> Result<R, Box<dyn Error>>,
        say: impl FnOnce(&R) -> String,
    ) -> Result<R, Box<dyn Error>> {
        let (time, cpu, result) = self.measure(how, 0, |_| work())?;
        columns(&say(&result), how, &Seconds(time).to_string(), "", &cpu);
        Ok(result)
    }

    fn measure<R>(
        &self,
        how: &str,
        steps: usize,
        work: impl FnOnce(&ProgressBar) -> Result<R, Box<dyn Error>>,
    ) -> Result<(Duration, String, R), Box<dyn Error>> {
        let bar = bar(how, steps);
        let cpu = self.cpu();
        let began = Instant::now();
        let result = work(&bar);
        let time = began.elapsed();
        let cpu = cpu
            .zip(self.cpu())
            .map(|(before, after)| after.saturating_sub(before));
        bar.finish_and_clear();
        let cpu = cpu.map_or_else(
            || "unknown".to_owned(),
            |cpu| format!("{:.2} s", cpu.as_secs_f64()),
        );
        Ok((time, cpu, result?))
    }

    /// Prints a remark under the table.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        line(format_args!("  {text}"));
    }

    /// Notes whether an answer is what it must be.
    pub(crate) fn check(&mut self, what: &str, right: bool) {
        self.answers += 1;
        if right {
            self.note(format_args!("{what}: yes"));
        } else {
            self.differences += 1;
            self.note(format_args!("{what}: NO"));
        }
    }

    /// Prints the last line. True if every answer was right.
    pub(crate) fn finish(&self) -> bool {
        let time = Seconds(self.began.elapsed());
        match self.differences {
            0 => line(format_args!(
                "\nall {} answers are right; {time} in all",
                self.answers
            )),
            wrong => line(format_args!(
                "\n{wrong} of {} answers are WRONG; {time} in all",
                self.answers
            )),
        }
        self.differences == 0
    }

    /// Processor time used so far by this process, by its workers that live, and
    /// by those that have ended. `None` where there is no `/proc` to ask.
    fn cpu(&self) -> Option<Duration> {
        let workers = self.pools.processes.worker_pids();
        let workers = workers
            .into_iter()
            .filter_map(|pid| cpu_of(&pid.to_string()));
        Some(cpu_of("self")? + workers.sum::<Duration>())
    }
}

/// Fields 14 to 17 of a process's `stat`: time in user and kernel mode, its own
/// and that of its ended children, in hundredths of a second.
fn cpu_of(pid: &str) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // the name before it may hold anything
    let ticks = fields.split_whitespace().skip(11).take(4);
    let ticks = ticks
        .map(|field| field.parse::<u64>().ok())
        .sum::<Option<u64>>()?;
    Some(Duration::from_millis(ticks * 10))
}

/// A bar on a terminal, nothing elsewhere. A row whose number of steps is
/// not known gets a spinner.
fn bar(how: &str, steps: usize) -> ProgressBar {
    if !std::io::stdout().is_terminal() {
        return ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    }
    let (bar, template) = match steps {
        0 => (ProgressBar::new_spinner(), "  {spinner} {msg} {elapsed}"),
        steps => (
            ProgressBar::new(steps as u64),
            "  {msg:<24} {bar:40} {pos}/{len}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(how.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// A time as people read it.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0.as_secs_f64() {
            long if long >= 1.0 => format!("{long:.2} s"),
            short => format!("{:.1} ms", short * 1e3),
        };
        f.pad(&text)
    }
}

/// A number with its thousands apart: 348,513.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
