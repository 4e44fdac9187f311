//! Nothing outside of the `peer` directories asks on which path a worker process is reached.
//!
//! There are two, the stream alone and the stream with shared pages, and `process/parent/peer`,
//! `process/sched/peer.rs` and `process/worker/peer` know which it is. Others ask them to do
//! something. Only the settings, which choose the path, have a word for it.

use crate::layers::words;
use crate::source::{File, Finding};

/// Where the choice is a setting.
const SETTINGS: [&str; 2] = ["process/parent/settings.rs", "process/api/builder.rs"];

/// What a file asks that should not.
pub(crate) fn asked(file: &File) -> Vec<Finding> {
    let inside = file.inside().filter(|path| path.starts_with("process/"));
    let Some(path) = inside.filter(|path| !path.contains("/peer") && !SETTINGS.contains(path))
    else {
        return Vec::new();
    };
    let asks = |code: &str| {
        let variants = [
            "Path::Stream",
            "Path::Pages",
            ".is_plain()",
            ".has_pages",
            ".polls()",
            ".is_exact()",
        ];
        words(code).any(|word| word == "plain") || variants.iter().any(|way| code.contains(way))
    };
    let lines = file.lines.iter().enumerate();
    let lines = lines.filter(|(_, line)| asks(&line.code));
    let what = format!("`{path}` asks on which path a worker is reached: give `peer` a verb");
    lines
        .map(|(at, _)| Finding::new(file, at, "peer", what.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(path: &str, text: &str) -> usize {
        asked(&File::new(path, text)).len()
    }

    #[test]
    fn a_question_is_reported_outside_of_a_peer_and_the_settings() {
        let questions = [
            "if settings.plain {}",
            "match path { CallerPath::Stream => {} }",
            "if let Path::Pages(_) = &self.0 {}",
            "link.peer.is_plain()",
            "if worker.peer.is_exact() {}",
            "let fit = is_call || self.path.polls();",
            "worker.peer.has_pages && ready",
        ];
        for text in questions {
            assert_eq!(reported("src/process/parent/link.rs", text), 1, "{text}");
            assert_eq!(reported("src/process/parent/peer/mod.rs", text), 0);
            assert_eq!(reported("src/process/parent/settings.rs", text), 0);
            assert_eq!(reported("src/thread/pool.rs", text), 0);
        }
        let others = [
            "plain_workers(true)",
            "let a: Plain; // plain",
            "is_plain::<T>()",
        ];
        for text in others {
            assert_eq!(reported("src/process/parent/link.rs", text), 0, "{text}");
        }
    }
}
