//! The tasks, grouped by name or by site, or as a tree: one page at a time.
//!
//! Only this walks over tasks. It is done when the page asks, not with the counters; the answer has
//! at most [`PAGE`] lines, and nothing of the walk is kept.

use std::borrow::Cow;
use std::collections::HashMap;
use std::panic::Location;
use std::time::Instant;

use percent_encoding::percent_decode_str;
use serde::Serialize;
use trefoil::event_loop::{TaskInfo, TaskState};
use trefoil::{LoopHandle, TaskId};

use crate::notes::clip;
use crate::snapshot::{micros_since, unix_ms};

/// How many lines a page has.
pub(crate) const PAGE: usize = 100;
/// The most groups that are shown.
const GROUPS: usize = 10_000;

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) by: By,
    /// The tasks of this group; `None`: the groups.
    pub(crate) group: Option<String>,
    pub(crate) page: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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
    by: By,
    group: Option<String>,
    total: usize,
    page: usize,
    pages: usize,
    groups: Vec<GroupView>,
    tasks: Vec<TaskView>,
    /// The loops that did not answer, because a task blocks them.
    silent: Vec<String>,
}

/// One group.
#[derive(Clone, Debug, Default, Serialize)]
struct GroupView {
    label: String,
    tasks: usize,
    queued: usize,
    running: usize,
    waiting: usize,
    cancelled: usize,
    polls: u64,
}

/// One task.
#[derive(Debug, Serialize)]
struct TaskView {
    id: String,
    depth: usize,
    name: Option<String>,
    site: String,
    parent: Option<String>,
    executor: String,
    state: String,
    polls: u64,
    polls_ms: Option<u64>,
}

/// What a group has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key<'a> {
    Name(Option<&'a str>),
    Site(&'static Location<'static>),
    Other,
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
}

impl Key<'_> {
    fn label(&self) -> String {
        match self {
            Self::Name(Some(name)) => clip(name),
            Self::Name(None) => "(no name)".to_owned(),
            Self::Site(site) => site.to_string(),
            Self::Other => "(further groups)".to_owned(),
        }
    }
}

/// Looks at all tasks of these loops.
pub(crate) fn walk(loops: &[(String, LoopHandle)], query: &Query) -> TreeView {
    let began = Instant::now();
    let mut silent = Vec::new();
    let mut tasks: Vec<(&str, TaskInfo)> = Vec::new();
    for (name, handle) in loops {
        let snapshot = handle.snapshot();
        if !snapshot.is_complete() {
            silent.push(name.clone());
        }
        let all = snapshot.root().into_iter().chain(snapshot.tasks());
        tasks.extend(all.map(|task| (name.as_str(), task.clone())));
    }
    let mut view = TreeView {
        time_ms: unix_ms(),
        cost_us: 0,
        by: query.by,
        group: query.group.clone(),
        total: tasks.len(),
        page: 0,
        pages: 0,
        groups: Vec::new(),
        tasks: Vec::new(),
        silent,
    };
    match (query.by, &query.group) {
        (By::Tree, _) => {
            let order = depth_first(&tasks);
            let lines = order.iter().map(|(at, depth)| (&tasks[*at], *depth));
            view.show_tasks(lines.collect(), query.page);
        }
        (_, None) => view.show_groups(groups(&tasks, query.by), query.page),
        (_, Some(group)) => {
            let groups = groups(&tasks, query.by);
            let key = groups.keys().find(|key| key.label() == *group).copied();
            let is_in = |task: &TaskInfo| {
                let own = key_of(task, query.by);
                key == Some(if groups.contains_key(&own) {
                    own
                } else {
                    Key::Other
                })
            };
            let lines = tasks.iter().filter(|(_, task)| is_in(task));
            view.show_tasks(lines.map(|line| (line, 0)).collect(), query.page);
        }
    }
    view.cost_us = micros_since(began);
    view
}

impl TreeView {
    fn show_groups(&mut self, groups: HashMap<Key<'_>, GroupView>, page: usize) {
        let mut all: Vec<(Key<'_>, GroupView)> = groups.into_iter().collect();
        let range = self.turn_to(page, all.len());
        // The largest first; of equal ones, any order that stays.
        all.sort_by_cached_key(|(key, group)| (std::cmp::Reverse(group.tasks), key.label()));
        self.groups = all[range]
            .iter()
            .map(|(key, group)| GroupView {
                label: key.label(),
                ..group.clone()
            })
            .collect();
    }

    fn show_tasks(&mut self, lines: Vec<(&(&str, TaskInfo), usize)>, page: usize) {
        let range = self.turn_to(page, lines.len());
        let lines = &lines[range];
        self.tasks = lines
            .iter()
            .map(|((executor, task), depth)| TaskView {
                id: task.id.to_string(),
                depth: *depth,
                name: task.name.as_deref().map(clip),
                site: task.spawned_at.to_string(),
                parent: task.parent.map(|parent| parent.to_string()),
                executor: (*executor).to_owned(),
                state: match task.state {
                    TaskState::Waiting => format!("waits for {}", task.waits_for),
                    state => state.to_string(),
                },
                polls: task.polls,
                polls_ms: task.time_in_polls.map(|time| time.as_millis() as u64),
            })
            .collect();
    }

    /// Sets the page, the last one at most, and returns the lines that are on it.
    fn turn_to(&mut self, page: usize, lines: usize) -> std::ops::Range<usize> {
        self.pages = lines.div_ceil(PAGE);
        self.page = page.min(self.pages.saturating_sub(1));
        let first = self.page * PAGE;
        first..lines.min(first + PAGE)
    }
}

fn key_of(task: &TaskInfo, by: By) -> Key<'_> {
    match by {
        By::Site => Key::Site(task.spawned_at),
        By::Name | By::Tree => Key::Name(task.name.as_deref()),
    }
}

fn groups<'a>(tasks: &'a [(&str, TaskInfo)], by: By) -> HashMap<Key<'a>, GroupView> {
    let mut groups: HashMap<Key<'a>, GroupView> = HashMap::new();
    for (_, task) in tasks {
        let mut key = key_of(task, by);
        if groups.len() >= GROUPS && !groups.contains_key(&key) {
            key = Key::Other;
        }
        let group = groups.entry(key).or_default();
        group.tasks += 1;
        group.polls += task.polls;
        match task.state {
            TaskState::Queued => group.queued += 1,
            TaskState::Running => group.running += 1,
            TaskState::Cancelled => group.cancelled += 1,
            _ => group.waiting += 1,
        }
    }
    groups
}

/// The numbers of the tasks, each below the one that has spawned it, with their levels.
fn depth_first(tasks: &[(&str, TaskInfo)]) -> Vec<(usize, usize)> {
    let present: HashMap<TaskId, usize> = tasks
        .iter()
        .enumerate()
        .map(|(at, (_, task))| (task.id, at))
        .collect();
    let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut open = Vec::new();
    for (at, (_, task)) in tasks.iter().enumerate().rev() {
        match task.parent.and_then(|parent| present.get(&parent)) {
            Some(parent) => children.entry(*parent).or_default().push(at),
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
    use trefoil::{spawn, yield_now};

    #[test]
    fn queries_are_read_or_left_out() {
        let query = Query::parse("by=site&group=src%2Fa%20b.rs:1:2&page=3&x=1&page");
        let group = Some("src/a b.rs:1:2".to_owned());
        let wanted = Query {
            by: By::Site,
            group,
            page: 3,
        };
        assert_eq!(query, wanted);
        assert_eq!(Query::parse("by=?&page=-1"), Query::default());
    }

    /// A loop with 250 tasks that wait, in two groups, the first of which has spawned the rest.
    fn look(query: &str) -> TreeView {
        trefoil::run(async {
            spawn(async {
                for n in 0..250 {
                    let name = if n < 50 { "few" } else { "many" };
                    spawn(std::future::pending::<()>()).named(name).detach();
                }
                std::future::pending::<()>().await;
            })
            .named("parent")
            .detach();
            yield_now().await;
            yield_now().await;
            let loops = [("main".to_owned(), LoopHandle::current())];
            walk(&loops, &Query::parse(query))
        })
    }

    #[test]
    fn groups_are_counted() {
        let view = look("by=name");
        let groups: Vec<_> = view
            .groups
            .iter()
            .map(|group| (group.label.as_str(), group.tasks))
            .collect();
        assert_eq!(
            groups,
            [("many", 200), ("few", 50), ("(no name)", 1), ("parent", 1)]
        );
        assert_eq!((view.total, view.pages), (252, 1));
        assert_eq!(look("by=site").groups.len(), 3); // one site for `few` and `many`
    }

    #[test]
    fn groups_have_pages() {
        let view = look("by=name&group=many&page=1");
        assert_eq!((view.pages, view.page, view.tasks.len()), (2, 1, 100));
        assert!(
            view.tasks
                .iter()
                .all(|task| task.name.as_deref() == Some("many"))
        );
        let past = look("by=name&group=few&page=99");
        assert_eq!((past.pages, past.page, past.tasks.len()), (1, 0, 50));
        assert_eq!(look("by=name&group=none").tasks.len(), 0);
    }

    #[test]
    fn a_tree_has_children_below_their_parents() {
        let view = look("by=tree");
        let at = view
            .tasks
            .iter()
            .position(|task| task.name.as_deref() == Some("parent"));
        let parent = &view.tasks[at.unwrap()];
        let child = &view.tasks[at.unwrap() + 1];
        assert_eq!((parent.depth, child.depth), (0, 1));
        assert_eq!(child.parent.as_ref(), Some(&parent.id));
        assert_eq!(view.pages, 3);
    }
}
