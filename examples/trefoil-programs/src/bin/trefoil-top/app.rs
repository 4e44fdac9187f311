//! What is on the screen, and what keys do to it. Nothing is drawn here, and nothing is sent.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use crate::views::{Notes, Snapshot, Tasks, ago, bytes, time};

/// How often the program is asked.
pub(crate) const REFRESH: Duration = Duration::from_secs(1);
/// How long a message stays.
const MESSAGE: Duration = Duration::from_secs(8);
/// The longest filter, in characters.
const FILTER: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tab {
    Executors,
    Tasks,
    Maps,
    Stuck,
    Failures,
    SlowPolls,
}

pub(crate) const TABS: [Tab; 6] = [
    Tab::Executors,
    Tab::Tasks,
    Tab::Maps,
    Tab::Stuck,
    Tab::Failures,
    Tab::SlowPolls,
];

/// What a key asks of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Cancel(u64),
    Replace(u32),
}

/// What is to be done after a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    Nothing,
    Quit,
    /// Give the terminal back, and stop until the shell lets it continue.
    Suspend,
    /// Ask for the tasks that are wanted now.
    Tasks,
    /// Ask for this, which the user has confirmed.
    Act(Act),
}

/// A line of the list on the screen.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) text: String,
    /// It begins a section, or needs attention.
    pub(crate) mark: Mark,
    /// How much of it is done, for a bar.
    pub(crate) part: Option<f64>,
    /// What is below the list while it is selected.
    pub(crate) detail: String,
    pub(crate) act: Option<(Act, String)>,
    /// The group that Enter opens.
    pub(crate) group: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    #[default]
    None,
    Section,
    Busy,
    Bad,
}

#[derive(Debug)]
pub(crate) struct App {
    pub(crate) process: u32,
    pub(crate) program: String,
    pub(crate) tab: Tab,
    pub(crate) snapshot: Snapshot,
    /// The items that process pools had completed in the snapshot before, and when.
    before: Option<(u64, Vec<(u64, u64)>)>,
    pub(crate) notes: Notes,
    pub(crate) tasks: Option<Tasks>,
    by: &'static str,
    group: Option<String>,
    filter: String,
    page: usize,
    /// Whether keys are text for the filter.
    pub(crate) edits_filter: bool,
    pub(crate) selected: usize,
    /// What waits for a "yes".
    pub(crate) confirm: Option<(Act, String)>,
    message: Option<(Instant, String)>,
    /// Why nothing is shown any more, or not now.
    pub(crate) lost: Option<String>,
}

impl App {
    pub(crate) fn new(process: u32, program: String) -> Self {
        Self {
            process,
            program,
            tab: Tab::Executors,
            snapshot: Snapshot::default(),
            before: None,
            notes: Notes::default(),
            tasks: None,
            by: "tree",
            group: None,
            filter: String::new(),
            page: 0,
            edits_filter: false,
            selected: 0,
            confirm: None,
            message: None,
            lost: None,
        }
    }

    // ---- what comes --------------------------------------------------------

    pub(crate) fn has_snapshot(&mut self, snapshot: Snapshot) {
        let counts = &self.snapshot.executors;
        let counts = counts.iter().map(|one| (one.id, one.counts.completed));
        self.before = Some((self.snapshot.time_ms, counts.collect()));
        self.snapshot = snapshot;
        self.lost = None;
        self.stay_inside();
    }

    pub(crate) fn has_tasks(&mut self, tasks: Tasks) {
        self.page = tasks.page;
        self.tasks = Some(tasks);
        self.stay_inside();
    }

    pub(crate) fn says(&mut self, message: String) {
        self.message = Some((Instant::now(), message));
    }

    pub(crate) fn message(&self) -> Option<&str> {
        let (since, message) = self.message.as_ref()?;
        (since.elapsed() < MESSAGE).then_some(message)
    }

    fn stay_inside(&mut self) {
        self.selected = self.selected.min(self.rows().len().saturating_sub(1));
    }

    // ---- what is asked -----------------------------------------------------

    pub(crate) fn wanted_tasks(&self) -> Value {
        json!({
            "ask": "tasks",
            "by": self.by,
            "group": self.group,
            "filter": self.filter,
            "page": self.page,
        })
    }

    // ---- keys --------------------------------------------------------------

    pub(crate) fn key(&mut self, key: KeyEvent) -> Next {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Next::Quit,
                KeyCode::Char('z') => Next::Suspend,
                _ => Next::Nothing,
            };
        }
        if let Some((act, what)) = self.confirm.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') => Next::Act(act),
                KeyCode::Char('n' | 'N') | KeyCode::Esc => Next::Nothing,
                _ => {
                    self.confirm = Some((act, what));
                    Next::Nothing
                }
            };
        }
        if self.edits_filter {
            return self.filter_key(key.code);
        }
        let last = self.rows().len().saturating_sub(1);
        match key.code {
            KeyCode::Char('q') => return Next::Quit,
            KeyCode::Tab => return self.turn_to(1),
            KeyCode::BackTab => return self.turn_to(TABS.len() - 1),
            KeyCode::Char(digit @ '1'..='6') => {
                return self.show(TABS[digit as usize - '1' as usize]);
            }
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected = last.min(self.selected + 1),
            KeyCode::PageUp => self.selected = self.selected.saturating_sub(10),
            KeyCode::PageDown => self.selected = last.min(self.selected + 10),
            KeyCode::Home => self.selected = 0,
            KeyCode::End => self.selected = last,
            KeyCode::Char('c') => return self.wants(|act| matches!(act, Act::Cancel(_))),
            KeyCode::Char('r') => return self.wants(|act| matches!(act, Act::Replace(_))),
            code if self.tab == Tab::Tasks => return self.tasks_key(code),
            _ => {}
        }
        Next::Nothing
    }

    fn turn_to(&mut self, step: usize) -> Next {
        let at = TABS.iter().position(|tab| *tab == self.tab).unwrap_or(0);
        self.show(TABS[(at + step) % TABS.len()])
    }

    fn show(&mut self, tab: Tab) -> Next {
        self.tab = tab;
        self.selected = 0;
        match tab {
            Tab::Tasks => Next::Tasks,
            _ => Next::Nothing,
        }
    }

    /// Asks for a confirmation, if the selected row offers such an act.
    fn wants(&mut self, is_it: impl Fn(&Act) -> bool) -> Next {
        let mut rows = self.rows();
        if self.selected < rows.len()
            && let Some((act, what)) = rows.swap_remove(self.selected).act
            && is_it(&act)
        {
            self.confirm = Some((act, what));
        }
        Next::Nothing
    }

    fn tasks_key(&mut self, code: KeyCode) -> Next {
        let pages = self.tasks.as_ref().map_or(0, |tasks| tasks.pages);
        match code {
            KeyCode::Char('t') => self.arrange("tree", None),
            KeyCode::Char('n') => self.arrange("name", None),
            KeyCode::Char('s') => self.arrange("site", None),
            KeyCode::Right if self.page + 1 < pages => self.page += 1,
            KeyCode::Left if self.page > 0 => self.page -= 1,
            KeyCode::Enter => {
                let row = self.rows().into_iter().nth(self.selected);
                match row.and_then(|row| row.group) {
                    Some(group) => self.arrange(self.by, Some(group)),
                    None => return Next::Nothing,
                }
            }
            KeyCode::Backspace | KeyCode::Esc if self.group.is_some() => {
                self.arrange(self.by, None);
            }
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                self.arrange(self.by, None);
            }
            KeyCode::Char('/') => {
                self.edits_filter = true;
                return Next::Nothing;
            }
            _ => return Next::Nothing,
        }
        self.selected = 0;
        Next::Tasks
    }

    fn arrange(&mut self, by: &'static str, group: Option<String>) {
        (self.by, self.group, self.page, self.tasks) = (by, group, 0, None);
    }

    fn filter_key(&mut self, code: KeyCode) -> Next {
        match code {
            KeyCode::Enter => self.edits_filter = false,
            KeyCode::Esc => {
                self.edits_filter = false;
                self.filter.clear();
            }
            KeyCode::Backspace => _ = self.filter.pop(),
            KeyCode::Char(char) if self.filter.chars().count() < FILTER => self.filter.push(char),
            _ => return Next::Nothing,
        }
        (self.page, self.selected) = (0, 0);
        Next::Tasks
    }

    // ---- what is shown -----------------------------------------------------

    /// The title of a tab, with the number of what is in it.
    pub(crate) fn title(&self, tab: Tab) -> String {
        let counted = |name: &str, count: u64| match count {
            0 => name.to_owned(),
            count => format!("{name} {count}"),
        };
        match tab {
            Tab::Executors => "Executors".to_owned(),
            Tab::Tasks => "Tasks".to_owned(),
            Tab::Maps => counted("Maps", self.snapshot.maps_in_all as u64),
            Tab::Stuck => counted("Stuck", self.notes.stuck.total),
            Tab::Failures => counted("Failures", self.notes.failures.total),
            Tab::SlowPolls => counted("Slow polls", self.notes.slow_polls.total),
        }
    }

    /// What the list is about: the line above it.
    pub(crate) fn heading(&self) -> String {
        let kept = |kept: usize, total: u64| match total {
            0 => "none so far".to_owned(),
            total => format!("the latest {kept} of {total}"),
        };
        match self.tab {
            Tab::Executors => {
                let process = self.snapshot.program.process.as_ref();
                let process = process.map(|process| {
                    let (memory, age) = (bytes(process.memory), time(process.age_s * 1_000_000));
                    let used = time(process.processor_ms * 1_000);
                    format!("{memory}, {used} of processor time in {age}")
                });
                let mut heading = process.unwrap_or_default();
                if self.snapshot.not_shown > 0 {
                    heading += &format!(", {} lines not shown", self.snapshot.not_shown);
                }
                heading
            }
            Tab::Tasks => {
                let mut heading = match &self.tasks {
                    None => "…".to_owned(),
                    Some(tasks) => {
                        let pages = tasks.pages.max(1);
                        let mut text =
                            format!("{} tasks, page {} of {pages}", tasks.total, tasks.page + 1);
                        if tasks.without_details > 0 {
                            text += &format!(", {} without details", tasks.without_details);
                        }
                        text
                    }
                };
                heading += match (self.by, &self.group) {
                    ("tree", _) => ", as a tree",
                    ("name", None) => ", by name",
                    ("site", None) => ", by site",
                    _ => ", of ",
                };
                heading += self.group.as_deref().unwrap_or_default();
                if self.edits_filter {
                    heading += &format!(", filter: {}▏", self.filter);
                } else if !self.filter.is_empty() {
                    heading += &format!(", filter: {}", self.filter);
                }
                heading
            }
            Tab::Maps => match self.snapshot.maps_in_all {
                0 => "none runs".to_owned(),
                all => format!("{} of {all}", self.snapshot.maps.len()),
            },
            Tab::Stuck => kept(self.notes.stuck.kept.len(), self.notes.stuck.total),
            Tab::Failures => {
                let shown = self.notes.failures.kept.iter();
                let shown = shown.map(|failure| failure.count.max(1) as usize).sum();
                kept(shown, self.notes.failures.total)
            }
            Tab::SlowPolls => kept(
                self.notes.slow_polls.kept.len(),
                self.notes.slow_polls.total,
            ),
        }
    }

    /// The keys that mean something now.
    pub(crate) fn keys(&self) -> String {
        if self.confirm.is_some() {
            return "y yes  n no".to_owned();
        }
        if self.edits_filter {
            return "type the filter  Enter keep  Esc clear".to_owned();
        }
        let own = match self.tab {
            Tab::Executors => "r replace worker  ",
            Tab::Tasks if self.group.is_none() && self.by != "tree" => {
                "Enter open  / filter  t tree  n name  s site  ←→ page  "
            }
            Tab::Tasks => "c cancel  / filter  t tree  n name  s site  ←→ page  ",
            Tab::Maps | Tab::Stuck | Tab::Failures | Tab::SlowPolls => "",
        };
        format!("{own}↑↓ select  Tab next  q quit")
    }

    /// The list.
    pub(crate) fn rows(&self) -> Vec<Row> {
        match self.tab {
            Tab::Executors => self.executor_rows(),
            Tab::Tasks => self.task_rows(),
            Tab::Maps => self.map_rows(),
            Tab::Stuck => self.stuck_rows(),
            Tab::Failures => self.failure_rows(),
            Tab::SlowPolls => self.slow_rows(),
        }
    }

    /// How many items of a pool are completed in a second.
    fn rate(&self, id: u64, completed: u64) -> Option<f64> {
        let (time_ms, counts) = self.before.as_ref()?;
        let (_, before) = counts.iter().find(|(other, _)| *other == id)?;
        let elapsed = self.snapshot.time_ms.checked_sub(*time_ms)?;
        (elapsed > 0).then(|| completed.saturating_sub(*before) as f64 * 1e3 / elapsed as f64)
    }

    fn executor_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let lines = &self.snapshot.lines;
        let mut pids = Vec::new();
        for executor in &self.snapshot.executors {
            let mut text = format!("{}: {}", executor.name, executor.summary());
            if executor.kind == "processes"
                && let Some(rate) = self.rate(executor.id, executor.counts.completed)
            {
                text += &format!(", {rate:.0} a second");
            }
            rows.push(Row {
                text,
                mark: Mark::Section,
                ..Row::default()
            });
            for worker in &executor.workers {
                pids.push(worker.pid);
                let line = lines.iter().find(|line| line.pid == Some(worker.pid));
                let mut text = format!("  {:<8} ", worker.pid);
                match &worker.process {
                    Some(process) => {
                        text += &format!("{:>9} {:<8} ", bytes(process.memory), process.state);
                    }
                    None => text += &" ".repeat(19),
                }
                let mut row = Row {
                    act: Some((
                        Act::Replace(worker.pid),
                        format!(
                            "Kill worker process {}, so that another takes its place? What it runs fails, or \
                             runs again if its call asked for that.",
                            worker.pid
                        ),
                    )),
                    ..Row::default()
                };
                if let Some(process) = &worker.process {
                    row.detail = format!(
                        "{} old, {} of processor time",
                        time(process.age_s * 1_000_000),
                        time(process.processor_ms * 1_000)
                    );
                    if let Some(peak) = process.peak {
                        row.detail += &format!(", at most {} of memory", bytes(peak));
                    }
                }
                match line.and_then(|line| line.runs.as_ref().map(|runs| (line, runs))) {
                    Some((line, runs)) => {
                        row.mark = Mark::Busy;
                        let since = line.since_us.map(time).unwrap_or_default();
                        let detail = line.detail.as_deref().unwrap_or_default();
                        text += &format!("{since:>9}  {detail}: {runs}");
                        row.detail = format!("{detail} of {runs}\n{}", row.detail);
                    }
                    None => text += "          idle",
                }
                row.text = text;
                rows.push(row);
            }
        }
        let others = lines
            .iter()
            .filter(|line| line.pid.is_none_or(|pid| !pids.contains(&pid)));
        rows.push(Row {
            text: "threads, and processes of pools that are not watched".to_owned(),
            mark: Mark::Section,
            ..Row::default()
        });
        rows.extend(others.map(|line| {
            let since = line.since_us.map(time).unwrap_or_default();
            let runs = line.runs.as_deref().unwrap_or("idle");
            Row {
                text: format!("  {since:>9}  {}: {runs}", line.name),
                mark: match line.runs {
                    Some(_) => Mark::Busy,
                    None => Mark::None,
                },
                detail: line.detail.clone().unwrap_or_default(),
                ..Row::default()
            }
        }));
        rows
    }

    fn task_rows(&self) -> Vec<Row> {
        let Some(tasks) = &self.tasks else {
            return Vec::new();
        };
        let groups = tasks.groups.iter().map(|group| Row {
            text: format!(
                "{:>9}  {}: {} queued, {} running, {} waiting, {} polls",
                group.tasks, group.label, group.queued, group.running, group.waiting, group.polls
            ),
            group: Some(group.label.clone()),
            ..Row::default()
        });
        let tasks = tasks.tasks.iter().map(|task| {
            let (title, since) = (task.title(), time(task.since_us));
            let indent = "│ ".repeat(task.depth.min(24));
            let runs_on = task.runs_on.as_deref().unwrap_or_default();
            Row {
                text: format!("{since:>9}  {indent}{title}: {}", task.state),
                mark: match task.state.as_str() {
                    "running" => Mark::Busy,
                    _ => Mark::None,
                },
                detail: format!(
                    "{title}, {} at {}\n{} for {since}; {} polls; {runs_on}",
                    task.kind, task.site, task.state, task.polls
                ),
                act: Some((
                    Act::Cancel(task.id),
                    format!("Cancel task {title}, spawned at {}?", task.site),
                )),
                ..Row::default()
            }
        });
        groups.chain(tasks).collect()
    }

    fn map_rows(&self) -> Vec<Row> {
        let maps = self.snapshot.maps.iter().map(|map| {
            let count = match map.total {
                Some(total) => format!("{} of {total}", map.ended),
                None => map.ended.to_string(),
            };
            Row {
                text: format!("{count}, {}  {}", time(map.since_us), map.label),
                part: Some(match map.total {
                    Some(total) if total > 0 => map.ended as f64 / total as f64,
                    _ => 0.0,
                }),
                detail: format!("{}, called by {}", map.kind, map.caller),
                ..Row::default()
            }
        });
        maps.collect()
    }

    fn stuck_rows(&self) -> Vec<Row> {
        let now = self.snapshot.time_ms;
        let kept = self.notes.stuck.kept.iter().rev();
        kept.map(|stuck| {
            let first = stuck.text.lines().next().unwrap_or_default();
            Row {
                text: format!("{:>12}  {first}", ago(now, stuck.time_ms)),
                mark: Mark::Bad,
                detail: stuck.text.clone(),
                ..Row::default()
            }
        })
        .collect()
    }

    fn failure_rows(&self) -> Vec<Row> {
        let now = self.snapshot.time_ms;
        let kept = self.notes.failures.kept.iter().rev();
        kept.map(|failure| {
            let name = failure.name.as_deref().unwrap_or(&failure.site);
            let mut detail = format!("{} {name}, spawned at {}\n", failure.task, failure.site);
            detail += &failure.error;
            if let Some(attempts) = failure.attempts {
                detail += &format!("\nattempts: {attempts}");
            }
            if let Some(words) = &failure.last_words {
                detail += &format!("\nits last words:\n{words}");
            }
            if let Some(frames) = &failure.backtrace {
                detail += &format!("\nwhere it crashed:\n{frames}");
            }
            Row {
                text: format!(
                    "{:>12}  {}{name}: {}",
                    ago(now, failure.time_ms),
                    failure.times(),
                    failure.error.replace('\n', " ")
                ),
                mark: Mark::Bad,
                detail,
                ..Row::default()
            }
        })
        .collect()
    }

    fn slow_rows(&self) -> Vec<Row> {
        let now = self.snapshot.time_ms;
        let kept = self.notes.slow_polls.kept.iter().rev();
        kept.map(|slow| {
            let name = slow.name.as_deref().unwrap_or(&slow.site);
            let (ago, elapsed) = (ago(now, slow.time_ms), time(slow.elapsed_ms * 1_000));
            Row {
                text: format!("{ago:>12}  {elapsed:>9}  {name}"),
                detail: format!("{} {name}, spawned at {}", slow.task, slow.site),
                ..Row::default()
            }
        })
        .collect()
    }
}
