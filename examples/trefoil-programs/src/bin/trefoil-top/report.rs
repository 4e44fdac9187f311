//! `--once` and `--json`: everything, once.

use std::fmt::Write;
use std::io;

use serde_json::{Value, json};

use crate::client::Client;
use crate::views::{Notes, Snapshot, Tasks, ago, bytes, time, view};

/// The report as text: tree, verdicts and failures, and before them what runs.
pub(crate) async fn text(mut client: Client) -> io::Result<String> {
    let mut answer = client.ask(&json!({"ask": "snapshot"})).await?;
    let snapshot: Snapshot = view(answer["snapshot"].take())?;
    let notes: Notes = view(answer["notes"].take())?;
    let tree: String = view(client.ask(&json!({"ask": "text"})).await?["text"].take())?;
    let sites = json!({"ask": "tasks", "by": "site"});
    let sites: Tasks = view(client.ask(&sites).await?)?;
    let now = snapshot.time_ms;

    let mut out = String::new();
    let heading = |out: &mut String, text: &str| _ = write!(out, "\n== {text}\n");
    let _ = write!(out, "process {} ({})", client.process, client.program);
    if let Some(process) = &snapshot.program.process {
        let age = time(process.age_s * 1_000_000);
        let memory = bytes(process.memory);
        let _ = write!(out, ", {age} old, {memory}");
    }
    let _ = writeln!(out, ", {} processors", snapshot.program.processors);

    heading(
        &mut out,
        &format!("executors: {}", snapshot.executors.len()),
    );
    for executor in &snapshot.executors {
        let _ = writeln!(out, "{}: {}", executor.name, executor.summary());
        for worker in &executor.workers {
            let _ = write!(out, "  process {}", worker.pid);
            if let Some(process) = &worker.process {
                let memory = bytes(process.memory);
                let _ = write!(out, ": {}, {memory}", process.state);
                if let Some(peak) = process.peak {
                    let _ = write!(out, ", at most {}", bytes(peak));
                }
            }
            out.push('\n');
        }
    }
    heading(&mut out, &format!("what runs: {}", snapshot.lines.len()));
    for line in &snapshot.lines {
        let _ = write!(out, "{}: ", line.name);
        match &line.runs {
            Some(runs) => {
                let detail = line.detail.as_deref().unwrap_or_default();
                let since = line.since_us.map(time).unwrap_or_default();
                let _ = writeln!(out, "{runs}, {detail}, for {since}");
            }
            None => out.push_str("nothing\n"),
        }
    }
    heading(&mut out, &format!("maps: {}", snapshot.maps_in_all));
    for map in &snapshot.maps {
        let total = map.total.map_or("?".to_owned(), |total| total.to_string());
        let since = time(map.since_us);
        let _ = writeln!(
            out,
            "{}: {} of {total} items, for {since}, {}",
            map.kind, map.ended, map.label
        );
    }
    heading(&mut out, "tasks");
    let _ = writeln!(out, "{tree}");
    heading(&mut out, "tasks by site");
    for group in &sites.groups {
        let _ = writeln!(
            out,
            "{}: {} ({} queued, {} running, {} waiting), {} polls",
            group.label, group.tasks, group.queued, group.running, group.waiting, group.polls
        );
    }
    heading(&mut out, &format!("stuck: {}", notes.stuck.total));
    for stuck in &notes.stuck.kept {
        let _ = writeln!(out, "{}: {}", ago(now, stuck.time_ms), stuck.text);
    }
    heading(&mut out, &format!("failures: {}", notes.failures.total));
    for failure in &notes.failures.kept {
        let name = failure.name.as_deref().unwrap_or_default();
        let _ = writeln!(
            out,
            "{}: {}{} {name} at {}: {}",
            ago(now, failure.time_ms),
            failure.times(),
            failure.task,
            failure.site,
            failure.error
        );
        for text in [&failure.last_words, &failure.backtrace]
            .into_iter()
            .flatten()
        {
            text.lines()
                .for_each(|line| _ = writeln!(out, "    {line}"));
        }
    }
    heading(&mut out, &format!("slow polls: {}", notes.slow_polls.total));
    for slow in &notes.slow_polls.kept {
        let name = slow.name.as_deref().unwrap_or_default();
        let _ = writeln!(
            out,
            "{}: {} {name} at {}: {} ms",
            ago(now, slow.time_ms),
            slow.task,
            slow.site,
            slow.elapsed_ms
        );
    }
    Ok(out)
}

/// The report as JSON: what the program has answered, as it is.
pub(crate) async fn json(mut client: Client) -> io::Result<String> {
    let mut answer = client.ask(&json!({"ask": "snapshot"})).await?;
    let mut tree = client.ask(&json!({"ask": "tree"})).await?;
    let report = json!({
        "version": 1,
        "pid": client.process,
        "program": client.program,
        "snapshot": answer["snapshot"].take(),
        "notes": answer["notes"].take(),
        "tree": tree["tree"].take(),
    });
    Ok(escaped(&report) + "\n")
}

/// The value as JSON in which no character is a command for a terminal: JSON itself escapes only
/// those below U+0020.
fn escaped(value: &Value) -> String {
    let mut text = String::new();
    for char in value.to_string().chars() {
        match char {
            '\u{7f}'..='\u{9f}' => _ = write!(text, "\\u{:04x}", char as u32),
            char => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_no_command_for_a_terminal() {
        let value = json!({"name": "\u{9b}31m \u{1b}[2J"});
        let text = escaped(&value);
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
