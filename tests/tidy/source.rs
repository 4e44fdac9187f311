//! One file, split into code and comments.
//!
//! A small lexer, enough for Rust as this crate writes it: it knows line and
//! nested block comments, strings with escapes, raw strings with any number of
//! hashes, byte and C strings, and tells a character from a lifetime. Comments
//! and the insides of literals are blanked out of the code, so that a rule
//! about `unsafe` never trips over the word in a sentence.

use std::fmt;

/// A rule that a line breaks.
pub(crate) struct Finding {
    path: String,
    line: usize,
    pub(crate) rule: &'static str,
    what: String,
}

impl Finding {
    /// `line` counts from zero, as `File::lines` does.
    pub(crate) fn new(
        file: &File,
        line: usize,
        rule: &'static str,
        what: impl Into<String>,
    ) -> Self {
        Self {
            path: file.path.clone(),
            line: line + 1,
            rule,
            what: what.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: [{}] {}",
            self.path, self.line, self.rule, self.what
        )
    }
}

/// One line of a file.
#[derive(Default)]
pub(crate) struct Line {
    /// As it stands in the file.
    pub(crate) raw: String,
    /// The code on it: comments removed, literals emptied.
    pub(crate) code: String,
    /// The text of its comments, with their `//`, `///` or `//!`.
    pub(crate) comment: String,
}

impl Line {
    pub(crate) fn has_code(&self) -> bool {
        !self.code.trim().is_empty()
    }

    /// The text of a `//!` line.
    pub(crate) fn essay(&self) -> Option<&str> {
        self.comment.trim_start().strip_prefix("//!").map(str::trim)
    }
}

/// A file of the checkout.
pub(crate) struct File {
    /// Relative to the top of the checkout, with `/`.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
}

impl File {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let lines = if path.ends_with(".rs") {
            split(text)
        } else {
            text.lines()
                .map(|raw| Line {
                    raw: raw.to_owned(),
                    ..Line::default()
                })
                .collect()
        };
        Self {
            path: path.to_owned(),
            lines,
        }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is compiled for tests only, although it stands in the library.
    pub(crate) fn is_for_tests(&self) -> bool {
        const NAMES: [&str; 5] = ["model", "simulated", "tests", "hostile", "crowded"];
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let name = name.trim_end_matches(".rs");
        let is_part = name.starts_with("model_") || name.starts_with("sim_");
        NAMES.contains(&name) || name.ends_with("_model") || is_part
    }

    /// The path of a file of the library below `src/`, unless it is for tests. The crates `trefoil-
    /// os` and `trefoil-trace` are parts of the library: the names of their modules are in use
    /// nowhere else.
    pub(crate) fn inside(&self) -> Option<&str> {
        let homes = [
            "src/",
            "crates/trefoil-os/src/",
            "crates/trefoil-trace/src/",
        ];
        let inside = homes.iter().find_map(|home| self.path.strip_prefix(home));
        inside.filter(|_| !self.is_for_tests())
    }

    /// The top-level module of a file of the library: `task` for `src/task/mod.rs`,
    /// `blocking_calls` for `src/blocking_calls.rs`, `sys` for `crates/trefoil-os/src/sys/mod.rs`,
    /// `lib` for the façade.
    pub(crate) fn area(&self) -> Option<&str> {
        let first = self.inside()?.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// Where the invariants of a file are declared: its area, or the crate of ours that it is in.
    pub(crate) fn invariants_home(&self) -> Option<&str> {
        self.area().or_else(|| {
            let (name, inside) = self.path.strip_prefix("crates/")?.split_once('/')?;
            (inside.starts_with("src/") && !self.is_for_tests()).then_some(name)
        })
    }
}

enum Inside {
    Code,
    LineComment,
    BlockComment(u32),
    Text,
    RawText(usize),
}

fn split(text: &str) -> Vec<Line> {
    let chars: Vec<char> = text.chars().collect();
    let mut lines: Vec<Line> = text
        .lines()
        .map(|raw| Line {
            raw: raw.to_owned(),
            ..Line::default()
        })
        .collect();
    let mut inside = Inside::Code;
    let mut row = 0;
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        let next = chars.get(at + 1).copied();
        if c == '\n' {
            if matches!(inside, Inside::LineComment) {
                inside = Inside::Code;
            }
            row += 1;
            at += 1;
            continue;
        }
        let line = &mut lines[row];
        match inside {
            Inside::Code => match c {
                '/' if next == Some('/') => {
                    inside = Inside::LineComment;
                    line.comment.push_str("//");
                    at += 2;
                }
                '/' if next == Some('*') => {
                    inside = Inside::BlockComment(1);
                    at += 2;
                }
                '"' => {
                    inside = match raw_hashes(&chars, at) {
                        Some(hashes) => Inside::RawText(hashes),
                        None => Inside::Text,
                    };
                    line.code.push('"');
                    at += 1;
                }
                '\'' => {
                    let length = character_length(&chars[at..]);
                    line.code.push_str(if length == 1 { "'" } else { "' '" });
                    at += length;
                }
                _ => {
                    line.code.push(c);
                    at += 1;
                }
            },
            Inside::LineComment => {
                line.comment.push(c);
                at += 1;
            }
            Inside::BlockComment(depth) => match (c, next) {
                ('*', Some('/')) => {
                    inside = if depth == 1 {
                        Inside::Code
                    } else {
                        Inside::BlockComment(depth - 1)
                    };
                    at += 2;
                }
                ('/', Some('*')) => {
                    inside = Inside::BlockComment(depth + 1);
                    at += 2;
                }
                _ => {
                    line.comment.push(c);
                    at += 1;
                }
            },
            Inside::Text => match c {
                '\\' if next == Some('\n') => at += 1,
                '\\' => at += 2,
                '"' => {
                    inside = Inside::Code;
                    line.code.push('"');
                    at += 1;
                }
                _ => at += 1,
            },
            Inside::RawText(hashes) => {
                let closes = c == '"'
                    && chars[at + 1..]
                        .iter()
                        .take(hashes)
                        .filter(|c| **c == '#')
                        .count()
                        == hashes;
                if closes {
                    inside = Inside::Code;
                    line.code.push('"');
                }
                at += if closes { 1 + hashes } else { 1 };
            }
        }
    }
    lines
}

/// The number of hashes of the raw string whose quote stands at `quote`.
fn raw_hashes(chars: &[char], quote: usize) -> Option<usize> {
    let hashes = chars[..quote]
        .iter()
        .rev()
        .take_while(|c| **c == '#')
        .count();
    let r = quote.checked_sub(hashes + 1)?;
    let prefixed = chars[r] == 'r';
    let before = r.checked_sub(1).map(|b| chars[b]);
    let word = before.is_some_and(|b| (b.is_alphanumeric() || b == '_') && b != 'b' && b != 'c');
    (prefixed && !word).then_some(hashes)
}

/// How many characters a quote at the start opens: a whole character literal,
/// or just the quote of a lifetime or a label.
fn character_length(chars: &[char]) -> usize {
    match (chars.get(1), chars.get(2)) {
        (Some('\\'), _) => {
            let end = chars.iter().skip(3).position(|c| *c == '\'');
            end.map_or(1, |end| end + 4)
        }
        (Some(_), Some('\'')) => 3,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<String> {
        split(text)
            .into_iter()
            .map(|line| line.code.trim_end().to_owned())
            .collect()
    }

    #[test]
    fn comments_and_literals_leave_the_code() {
        assert_eq!(code("let a = 1; // unsafe"), ["let a = 1;"]);
        assert_eq!(
            code("let a = \"unsafe // \\\" no\"; b"),
            ["let a = \"\"; b"]
        );
        assert_eq!(
            code("let a = r#\"unsafe \" no\"#; b"),
            ["let a = r#\"\"; b"]
        );
        assert_eq!(code("a /* x /* unsafe */ y\n z */ b"), ["a", " b"]);
        assert_eq!(
            code("f('\"'); g('\\''); h::<'a>(b'\\x41')"),
            ["f(' '); g(' '); h::<'a>(b' ')"]
        );
        assert_eq!(
            code("let s = \"one\n unsafe\n two\";"),
            ["let s = \"", "", "\";"]
        );
    }

    #[test]
    fn areas_are_top_level_modules() {
        assert_eq!(File::new("src/task/state.rs", "").area(), Some("task"));
        assert_eq!(File::new("src/time.rs", "").area(), Some("time"));
        let os = File::new("crates/trefoil-os/src/sys/mod.rs", "");
        assert_eq!(os.area(), Some("sys"));
        let cache = File::new("crates/cache/src/a.rs", "");
        assert_eq!(
            (cache.area(), cache.invariants_home()),
            (None, Some("cache"))
        );
        assert_eq!(os.invariants_home(), Some("sys"));
        assert_eq!(File::new("tests/tidy/main.rs", "").area(), None);
    }
}
