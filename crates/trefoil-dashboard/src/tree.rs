//! The tasks, grouped by name or by site, or as a tree: one page at a time.
//!
//! The table of tasks is read in parts. **Groups** are counted part by part, and the counts of a
//! part are kept until it is its turn again: so a refresh costs [`SHARE`] of the time at most,
//! however many tasks there are, and only the first look reads all parts at once. **A page of
//! tasks** reads all parts when somebody asks for it: once for the ids that are on it, and again
//! for those tasks; nothing of it is kept.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::panic::Location;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use trefoil::inspect::{LiveTask, TaskPhase, task_parts};

use crate::notes::clip;
use crate::snapshot::{micros, micros_since, unix_ms};

/// How many lines a page has.
pub(crate) const PAGE: usize = 100;
/// The most groups that are kept of each part.
const GROUPS: usize = 256;
/// Of this part of the time, tasks are counted.
const SHARE: u32 = 600;

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Query {
    pub(crate) by: By,
    /// The tasks of this group; `None`: the groups.
    pub(crate) group: Option<String>,
    /// Only what has this text in its name or its site.
    pub(crate) filter: String,
    pub(crate) page: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    #[default]
    Name,
    Site,
    /// No groups: each task below the one that has spawned it.
    Tree,
}

/// One page.
#[derive(Debug, Serialize)]
pub(crate) struct TreeView {
    time_ms: u64,
    cost_us: u64,
    /// After how long the page may ask for this again.
    again_ms: u64,
    by: By,
    group: Option<String>,
    total: u64,
    /// How many of them are only counted.
    without_details: u64,
    page: usize,
    pages: usize,
    groups: Vec<GroupView>,
    tasks: Vec<TaskView>,
}

/// One group.
#[derive(Debug, Serialize)]
struct GroupView {
    label: String,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Counts {
    tasks: u64,
    queued: u64,
    running: u64,
    waiting: u64,
    polls: u64,
}

/// One task.
#[derive(Debug, Serialize)]
struct TaskView {
    id: u64,
    depth: usize,
    kind: &'static str,
    name: Option<String>,
    site: String,
    parent: Option<u64>,
    runs_on: Option<String>,
    state: String,
    since_us: u64,
    polls: u64,
}

/// What the tasks of a group have in common. `None`: the groups that there was no room for.
type Key<T> = Option<T>;

/// The counts of one part of the table of tasks.
#[derive(Debug, Default)]
struct Part {
    tasks: u64,
    without_details: u64,
    names: HashMap<Key<Option<Box<str>>>, Counts>,
    sites: HashMap<Key<&'static Location<'static>>, Counts>,
}

/// The counts of all groups, which belong to the dashboard's thread.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    parts: Vec<Part>,
    /// The part that is read next.
    next: usize,
    read: Option<Instant>,
}

impl Query {
    /// From the query of an address. What is not understood is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let mut query = Self::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let value: Cow<'_, str> = percent_decode_str(value).decode_utf8_lossy();
            match (name, value.as_ref()) {
                ("by", "site") => query.by = By::Site,
                ("by", "tree") => query.by = By::Tree,
                ("group", group) => query.group = Some(group.to_owned()),
                ("page", page) => query.page = page.parse().unwrap_or(0),
                _ => {}
            }
        }
        query
    }

    /// Whether it is about groups alone.
    pub(crate) fn is_groups(&self) -> bool {
        self.group.is_none() && self.by != By::Tree
    }

    /// Whether a task is on one of the pages.
    fn has(&self, task: &LiveTask) -> bool {
        let has_text = || {
            let name = task.name.as_deref().unwrap_or_default();
            name.contains(&self.filter) || task.spawned_at.to_string().contains(&self.filter)
        };
        let is_in_group = match (&self.group, self.by) {
            (None, _) | (_, By::Tree) => true,
            (Some(group), By::Name) => name_label(task.name.as_deref()) == *group,
            (Some(group), By::Site) => task.spawned_at.to_string() == *group,
        };
        is_in_group && (self.filter.is_empty() || has_text())
    }
}

fn name_label(name: Option<&str>) -> String {
    name.map_or_else(|| "(no name)".to_owned(), clip)
}

impl Counts {
    fn add(&mut self, task: &LiveTask) {
        self.tasks += 1;
        self.polls += task.polls;
        match task.phase {
            TaskPhase::Queued => self.queued += 1,
            TaskPhase::Running => self.running += 1,
            _ => self.waiting += 1,
        }
    }

    fn add_all(&mut self, other: &Self) {
        self.tasks += other.tasks;
        self.queued += other.queued;
        self.running += other.running;
        self.waiting += other.waiting;
        self.polls += other.polls;
    }
}

/// The counts of a group, or those of the groups that there is no room for.
fn entry<T: Hash + Eq>(groups: &mut HashMap<Key<T>, Counts>, key: T) -> &mut Counts {
    let key = Some(key);
    let is_known = groups.len() < GROUPS || groups.contains_key(&key);
    groups.entry(key.filter(|_| is_known)).or_default()
}

impl Groups {
    /// Reads as many parts as there has been time for since the last call, but one at least.
    fn refresh(&mut self) {
        let began = Instant::now();
        let due = self
            .read
            .map_or(Duration::MAX, |read| began.duration_since(read) / SHARE);
        let all = task_parts().len();
        self.parts.resize_with(all, Part::default);
        for _ in 0..all {
            let at = self.next;
            let Some(tree) = task_parts().nth(at) else {
                break;
            };
            let mut part = Part {
                tasks: tree.tasks().len() as u64 + tree.without_details(),
                without_details: tree.without_details(),
                ..Part::default()
            };
            for task in tree.tasks() {
                entry(&mut part.names, task.name.clone()).add(task);
                entry(&mut part.sites, task.spawned_at).add(task);
            }
            self.parts[at] = part;
            self.next = (at + 1) % all;
            if began.elapsed() >= due {
                break;
            }
        }
        self.read = Some(Instant::now());
    }

    /// All groups, the largest first.
    fn views(&self, by: By) -> Vec<GroupView> {
        let further = || "(further groups)".to_owned();
        let mut all: BTreeMap<String, Counts> = BTreeMap::new();
        for part in &self.parts {
            let names = part.names.iter().map(|(key, counts)| {
                let label = key
                    .as_ref()
                    .map_or_else(further, |name| name_label(name.as_deref()));
                (label, counts)
            });
            let sites = part.sites.iter().map(|(key, counts)| {
                let label = key.map_or_else(further, ToString::to_string);
                (label, counts)
            });
            let groups: Box<dyn Iterator<Item = (String, &Counts)>> = match by {
                By::Site => Box::new(sites),
                By::Name | By::Tree => Box::new(names),
            };
            for (label, counts) in groups {
                all.entry(label).or_default().add_all(counts);
            }
        }
        let views = all.into_iter();
        let mut views: Vec<GroupView> = views
            .map(|(label, counts)| GroupView { label, counts })
            .collect();
        views.sort_by_key(|group| std::cmp::Reverse(group.counts.tasks));
        views
    }

    /// What is asked, as far as it is known.
    pub(crate) fn answer(&mut self, query: &Query) -> TreeView {
        let began = Instant::now();
        let mut view = TreeView {
            time_ms: unix_ms(),
            cost_us: 0,
            again_ms: 2000,
            by: query.by,
            group: query.group.clone(),
            total: 0,
            without_details: 0,
            page: 0,
            pages: 0,
            groups: Vec::new(),
            tasks: Vec::new(),
        };
        if query.is_groups() {
            self.refresh();
            let mut groups = self.views(query.by);
            groups.retain(|group| group.label.contains(&query.filter));
            let range = view.turn_to(query.page, groups.len());
            view.groups = groups.into_iter().skip(range.start).take(PAGE).collect();
            view.total = self.parts.iter().map(|part| part.tasks).sum();
            view.without_details = self.parts.iter().map(|part| part.without_details).sum();
        } else {
            view.show_tasks(query);
            let cost = began.elapsed() * SHARE;
            view.again_ms = view.again_ms.max(cost.as_millis() as u64);
        }
        view.cost_us = micros_since(began);
        view
    }
}

/// A task that may be on the page.
struct Place {
    id: u64,
    parent: Option<u64>,
    part: usize,
}

impl TreeView {
    fn show_tasks(&mut self, query: &Query) {
        let mut places: Vec<Place> = Vec::new();
        for (part, tree) in task_parts().enumerate() {
            self.total += tree.tasks().len() as u64 + tree.without_details();
            self.without_details += tree.without_details();
            let tasks = tree.tasks().iter().filter(|task| query.has(task));
            places.extend(tasks.map(|task| Place {
                id: task.id,
                parent: task.parent,
                part,
            }));
        }
        places.sort_unstable_by_key(|place| place.id);
        let range = self.turn_to(query.page, places.len());
        let lines: Vec<(usize, usize)> = match query.by {
            By::Tree => depth_first(&places)[range].to_vec(),
            By::Name | By::Site => range.map(|at| (at, 0)).collect(),
        };
        // The tasks themselves, as they are now; those that have ended meanwhile are left out.
        let mut wanted: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (at, _) in &lines {
            let Place { id, part, .. } = places[*at];
            wanted.entry(part).or_default().push(id);
        }
        let mut found: HashMap<u64, LiveTask> = HashMap::new();
        for (part, ids) in wanted {
            let tree = task_parts().nth(part);
            let tasks = ids.iter().filter_map(|id| tree.as_ref()?.get(*id).cloned());
            found.extend(tasks.map(|task| (task.id, task)));
        }
        let lines = lines.iter().filter_map(|(at, depth)| {
            let task = found.get(&places[*at].id)?;
            Some(TaskView::new(task, *depth))
        });
        self.tasks = lines.collect();
    }

    /// Sets the page, the last one at most, and returns the lines that are on it.
    fn turn_to(&mut self, page: usize, lines: usize) -> std::ops::Range<usize> {
        self.pages = lines.div_ceil(PAGE);
        self.page = page.min(self.pages.saturating_sub(1));
        let first = self.page * PAGE;
        first..lines.min(first + PAGE)
    }
}

impl TaskView {
    fn new(task: &LiveTask, depth: usize) -> Self {
        let waits = task.waits_for != trefoil::inspect::LiveWait::default();
        let is_promise = task.kind == "promise";
        Self {
            id: task.id,
            depth,
            kind: task.kind,
            name: task.name.as_deref().map(clip),
            site: task.spawned_at.to_string(),
            parent: task.parent,
            runs_on: task.runs_on.as_deref().map(clip),
            state: match task.phase {
                _ if waits => format!("waits for {}", task.waits_for),
                TaskPhase::Waiting if is_promise => "waits for its result".to_owned(),
                TaskPhase::Waiting => format!("waits for {}", task.waits_for),
                phase => phase.to_string(),
            },
            since_us: micros(task.since),
            polls: task.polls,
        }
    }
}

/// The numbers of the tasks, each below the one that has spawned it, with their levels.
fn depth_first(tasks: &[Place]) -> Vec<(usize, usize)> {
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut open = Vec::new();
    for (at, task) in tasks.iter().enumerate().rev() {
        let parent = task.parent.and_then(|parent| {
            let place = tasks.binary_search_by_key(&parent, |place| place.id);
            place.ok()
        });
        match parent {
            Some(parent) => children.entry(parent).or_default().push(at),
            None => open.push((at, 0)),
        }
    }
    let mut order = Vec::with_capacity(tasks.len());
    while let Some((at, depth)) = open.pop() {
        order.push((at, depth));
        let below = children.remove(&at).unwrap_or_default();
        open.extend(below.into_iter().map(|child| (child, depth + 1)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_or_left_out() {
        let query = Query::parse("by=site&group=src%2Fa%20b.rs:1:2&page=3&x=1&page");
        let group = Some("src/a b.rs:1:2".to_owned());
        let wanted = Query {
            by: By::Site,
            group,
            filter: String::new(),
            page: 3,
        };
        assert_eq!(query, wanted);
        assert_eq!(Query::parse("by=?&page=-1"), Query::default());
    }

    #[test]
    fn further_groups_are_counted_together() {
        let mut groups = HashMap::new();
        for n in 0..2 * GROUPS {
            entry(&mut groups, n).tasks += 1;
            entry(&mut groups, 0).tasks += 1;
        }
        assert_eq!(groups.len(), GROUPS + 1);
        assert_eq!(groups[&Some(0)].tasks, 2 * GROUPS as u64 + 1);
        assert_eq!(groups[&None].tasks, GROUPS as u64);
    }

    #[test]
    fn a_tree_has_children_below_their_parents() {
        let place = |id, parent| Place {
            id,
            parent,
            part: 0,
        };
        let tasks = [
            place(1, None),
            place(2, Some(9)), // which has ended
            place(3, Some(1)),
            place(4, Some(3)),
            place(5, Some(1)),
        ];
        let order = depth_first(&tasks);
        assert_eq!(order, [(0, 0), (2, 1), (3, 2), (4, 1), (1, 0)]);
    }
}
