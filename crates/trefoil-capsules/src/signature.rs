//! How an item ended: two items with one signature have, as far as can be known, one cause.
//!
//! A signal has the place of the thread that died, as module and offset, which are the same in
//! every process of one build; a panic has its line. What depends on the machine is not in it: a
//! process id, a message with numbers, a duration.
//!
//! Tests: below, and
//! `crates/trefoil-capsules/tests/capsules/main.rs::poisons_end_in_replay_as_they_did`.

use std::fmt;

use serde::{Deserialize, Serialize};
use trefoil::TaskError;
use trefoil::process::Backtrace;

/// How many of the innermost frames count, if it is not known which of them is the user's.
const INNERMOST: usize = 4;

/// So many frames are as many as a worker notes, more or less: the stack was full.
const FULL: usize = 100;

/// A place in a recursion occurs so often in a full stack, at least.
const AGAIN: usize = 4;

/// The longest text of an error that a signature has.
const LONGEST: usize = 200;

/// How an item ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Signature {
    Died {
        signal: Option<i32>,
        code: Option<i32>,
        /// The innermost frame that is the user's; or, where that is not known, the innermost ones.
        places: Vec<Place>,
    },
    OutOfMemory,
    TimedOut,
    Panicked {
        place: String,
    },
    /// A value that could not be encoded or decoded.
    Codec {
        why: String,
    },
}

/// A module and an offset in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Place {
    module: String,
    offset: u64,
    /// For readers only.
    function: Function,
}

/// A name, which is no part of what is compared: it is not always known.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Function(Option<String>);

impl PartialEq for Function {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Function {}

impl PartialOrd for Function {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Function {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl std::hash::Hash for Function {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl Signature {
    /// That of an error of an item; `None` if the item has not failed by itself.
    pub(crate) fn of(error: &TaskError) -> Option<Self> {
        Some(match error {
            TaskError::WorkerDied(exit) if exit.out_of_memory() => Self::OutOfMemory,
            // (There was no process.)
            TaskError::WorkerDied(exit) if exit.pid() == 0 => return None,
            TaskError::WorkerDied(exit) => Self::Died {
                signal: exit.signal(),
                code: exit.code(),
                places: exit.backtrace().map(places).unwrap_or_default(),
            },
            TaskError::TimedOut(_) => Self::TimedOut,
            TaskError::Panicked(panic) => Self::Panicked {
                place: match panic.location() {
                    Some(place) => place.to_string(),
                    None => without_numbers(panic.message()),
                },
            },
            TaskError::Codec(error) => Self::Codec {
                why: without_numbers(&error.to_string()),
            },
            _ => return None,
        })
    }

    /// Whether both are of one kind: in another build, places are elsewhere.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Died { signal, code, .. },
                Self::Died {
                    signal: other_signal,
                    code: other_code,
                    ..
                },
            ) => signal == other_signal && code == other_code,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Whether it does not name the user's place, although such an end has one: a crash was not
    /// noted, or the names of functions were not known in time.
    pub(crate) fn is_vague(&self) -> bool {
        matches!(self, Self::Died { signal: Some(_), places, .. } if places.len() != 1)
    }
}

/// The place of the innermost frame that is the user's; of a recursion that has filled the stack,
/// the same one wherever the stack ended.
fn places(backtrace: &Backtrace) -> Vec<Place> {
    let frames = backtrace.frames();
    let place = |frame: &trefoil::process::Frame| Place {
        module: frame.module().unwrap_or_default().to_owned(),
        offset: frame.offset(),
        function: Function(frame.function().map(|name| shortened(name, LONGEST))),
    };
    if frames.len() >= FULL {
        let mut all: Vec<Place> = frames.iter().map(place).collect();
        all.sort();
        let mut runs = all.chunk_by(PartialEq::eq);
        if let Some(run) = runs.find(|run| run.len() >= AGAIN) {
            return run[..1].to_vec();
        }
    }
    match backtrace.culprit() {
        Some(frame) => vec![place(frame)],
        None => frames.iter().take(INNERMOST).map(place).collect(),
    }
}

/// A text of a file, which may be forged, for a terminal and for a comment: control characters are
/// escaped, but ends of lines and tabs.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => shown.push(letter),
            _ if letter.is_control() => shown.extend(letter.escape_default()),
            _ => shown.push(letter),
        }
    }
    shown
}

fn shortened(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

fn without_numbers(text: &str) -> String {
    let mut short = String::new();
    for letter in text.chars().take(LONGEST) {
        match letter.is_ascii_digit() {
            true if short.ends_with('#') => {}
            true => short.push('#'),
            false => short.push(letter),
        }
    }
    short
}

/// "signal 6 in `app::decode_row`", "panicked at src/rows.rs:12:5".
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Died {
                signal,
                code,
                places,
            } => {
                match (signal, code) {
                    (Some(signal), _) => write!(f, "killed by signal {signal}")?,
                    (None, Some(code)) => write!(f, "exited with code {code}")?,
                    (None, None) => f.write_str("lost")?,
                }
                let Some(place) = places.first() else {
                    return Ok(());
                };
                match &place.function.0 {
                    Some(name) => write!(f, " in `{}`", printable(name)),
                    None => write!(f, " at {}+{:#x}", printable(&place.module), place.offset),
                }
            }
            Self::OutOfMemory => f.write_str("out of memory"),
            Self::TimedOut => f.write_str("still running at its time limit"),
            Self::Panicked { place } => write!(f, "panicked at {}", printable(place)),
            Self::Codec { why } => f.write_str(&printable(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_text_do_not_count() {
        assert_eq!(without_numbers("row 17 of 204 rows"), "row # of # rows");
        assert_eq!(without_numbers(&"x".repeat(1000)).len(), LONGEST);
    }

    #[test]
    fn the_name_of_a_function_is_not_compared() {
        let place = |name: Option<&str>, offset| Signature::Died {
            signal: Some(6),
            code: None,
            places: vec![Place {
                module: "app".to_owned(),
                offset,
                function: Function(name.map(str::to_owned)),
            }],
        };
        assert_eq!(place(Some("f"), 1), place(None, 1));
        assert_ne!(place(None, 1), place(None, 2));
        assert!(place(None, 1).is_like(&place(None, 2)) && !place(None, 1).is_vague());
        assert!(!place(None, 1).is_like(&Signature::TimedOut));
    }
}
