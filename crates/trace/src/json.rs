//! Objects and strings in JSON's form.
//!
//! Rejected: `serde_json` (a program with this crate would get its `impl PartialEq<Value> for u64`,
//! and `assert_eq!(n, numbers.sum())` would no longer compile).

use std::fmt::{self, Display, Write as _};

/// A JSON object: its members, as text.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self(String::new())
    }

    /// `value` is JSON already.
    pub(crate) fn put(mut self, key: &str, value: impl Display) -> Self {
        let before = if self.0.is_empty() { "" } else { "," };
        let _ = write!(self.0, "{before}\"{key}\":{value}");
        self
    }

    pub(crate) fn text(self, key: &str, text: &str) -> Self {
        self.put(key, Text(text))
    }
}

impl Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.0)
    }
}

/// A string in JSON's form.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_ascii_control() => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let text = Text("a \"quoted\" \\ \n\t\u{1}\u{7f}ä").to_string();
        assert_eq!(text, r#""a \"quoted\" \\ \u000a\u0009\u0001\u007fä""#);
    }
}
