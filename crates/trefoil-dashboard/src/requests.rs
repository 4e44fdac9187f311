//! What is asked through the socket, and the answers.
//!
//! A request is one line, and so is its answer: JSON objects. The form of both is in the
//! documentation of [`sockets`](crate::sockets).

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use serde::Deserialize;
use trefoil::inspect::{find_task, tasks};
use trefoil::{Completer, TaskError, timeout};

use crate::board::Shared;
use crate::sampler::{INTERVAL, Sampler, take_without_strips};
use crate::tree::Query;

/// How long a task's destructors may take before the answer says that it has not ended yet.
const DESTRUCTORS: Duration = Duration::from_secs(5);
/// The most tasks that are sent at once, and the longest drawing of them.
const TASKS: usize = 20_000;
const DRAWING: usize = 4 << 20;

#[derive(Debug, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
enum Request {
    /// `seen`: the number of notes that are known already.
    Snapshot {
        seen: Option<u64>,
    },
    Tasks(Query),
    Tree,
    Text,
    Cancel {
        task: u64,
    },
    Replace {
        pid: u32,
    },
}

/// Answers, on the socket's thread.
#[derive(Debug)]
pub(crate) struct Requests {
    sampler: Sampler,
    /// The last snapshot: it serves all that ask within a moment.
    latest: RefCell<Option<(Instant, Arc<str>)>>,
}

impl Requests {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            sampler: Sampler::new(shared),
            latest: RefCell::default(),
        }
    }

    fn shared(&self) -> &Shared {
        self.sampler.shared()
    }

    /// What is sent to a client first.
    pub(crate) fn greeting(&self) -> String {
        let program = json(&self.shared().program);
        let pid = std::process::id();
        format!(r#"{{"trefoil_top":1,"pid":{pid},"program":{program}}}"#)
    }

    /// The answer to a line, without the end of the line.
    pub(crate) async fn answer(&self, line: &[u8]) -> String {
        let request = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => return refusal(&format!("this is not a request: {error}")),
        };
        match request {
            Request::Snapshot { seen } => {
                let snapshot = self.snapshot();
                if seen == Some(self.shared().notes.seen()) {
                    format!(r#"{{"snapshot":{snapshot}}}"#)
                } else {
                    let (_, notes) = self.shared().notes.to_json();
                    format!(r#"{{"snapshot":{snapshot},"notes":{notes}}}"#)
                }
            }
            Request::Tasks(query) => json(&self.sampler.tasks(&query).await),
            Request::Tree => tree(),
            Request::Text => format!(r#"{{"text":{}}}"#, json(&drawing())),
            Request::Cancel { task } => match cancel(task).await {
                Ok(cancelled) => format!(r#"{{"cancelled":{}}}"#, json(&cancelled)),
                Err(error) => refusal(&error.to_string()),
            },
            Request::Replace { pid } => {
                let replaced = self.shared().executors.replace_worker(pid);
                format!(r#"{{"replaced":{replaced}}}"#)
            }
        }
    }

    fn snapshot(&self) -> Arc<str> {
        let mut latest = self.latest.borrow_mut();
        if let Some((made, snapshot)) = &*latest
            && made.elapsed() < INTERVAL / 4
        {
            return snapshot.clone();
        }
        let snapshot: Arc<str> = take_without_strips(self.shared()).into();
        *latest = Some((Instant::now(), snapshot.clone()));
        snapshot
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers have a form in JSON")
}

pub(crate) fn refusal(why: &str) -> String {
    format!(r#"{{"error":{}}}"#, json(&why))
}

/// All tasks in the form of `TaskTree::to_json`, unless they are too many.
fn tree() -> String {
    let tree = tasks();
    match tree.tasks().len() {
        // (A line break stands between tokens only: those in texts are escaped.)
        0..=TASKS => format!(r#"{{"tree":{}}}"#, tree.to_json().replace('\n', " ")),
        count => {
            let left_out = count as u64 + tree.without_details();
            format!(r#"{{"tree":null,"tasks":{left_out}}}"#)
        }
    }
}

/// A text that ends when it is full.
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > DRAWING {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// All tasks as text, or the beginning of it.
fn drawing() -> String {
    let mut text = Bounded(String::new());
    if write!(text, "{}", tasks()).is_err() {
        let last_line = text.0.rfind('\n').unwrap_or(0);
        text.0.truncate(last_line);
        text.0.push_str("\n… (further tasks are left out)");
    }
    text.0
}

/// Cancels a task: `None` if it is not found, otherwise what `Task::cancel` returns. Destructors
/// are code of the program, so they run on a thread of their own.
async fn cancel(task: u64) -> io::Result<Option<bool>> {
    let Some(found) = find_task(task) else {
        return Ok(None);
    };
    let (completer, cancelled) = Completer::new();
    let call = move || completer.complete(Ok(found.cancel()));
    Builder::new()
        .name("trefoil-cancel".to_owned())
        .spawn(call)?;
    let cancelled = cancelled.named("dashboard").cancel_on_drop();
    match timeout(DESTRUCTORS, cancelled).await {
        Ok(Ok(cancelled)) => Ok(Some(cancelled)),
        Err(TaskError::TimedOut(_)) => Err(io::Error::other(
            "it is cancelled, and what it owns has not been dropped yet",
        )),
        Ok(Err(error)) | Err(error) => Err(error.into()),
    }
}
