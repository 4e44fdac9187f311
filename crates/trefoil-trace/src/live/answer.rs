//! In a worker process: its own tree, for the parent that asks for it (`worker_tree`).
//!
//! Tests: `tests/process/trees.rs`.

use super::tree::own;
use super::worker_tree::LONGEST;

/// The most tasks of a worker's tree.
const TASKS: usize = 128;

/// The tree of this process's tasks, as text and as JSON, of as many tasks as there is room for.
/// Its workers are not asked.
#[must_use]
pub fn answer() -> (String, String) {
    let mut tree = own();
    for most in [TASKS, TASKS / 4, TASKS / 16, 1, 0] {
        tree.shorten(most);
        let (text, json) = (tree.to_string(), tree.to_json());
        if text.len() <= LONGEST && json.len() <= LONGEST {
            return (text, json);
        }
    }
    (String::new(), "{}".to_owned())
}
