//! Objects and strings in JSON's form.
//!
//! Rejected: `serde_json` (a program with this crate would get its `impl PartialEq<Value> for u64`,
//! and `assert_eq!(n, numbers.sum())` would no longer compile).

use std::fmt::{self, Display, Write as _};

use crate::printable::is_command;

/// A JSON object: its members, as text.
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self(String::new())
    }

    /// `value` is JSON already.
    pub(crate) fn put(self, key: &str, value: impl Display) -> Self {
        self.put_any(key, &value)
    }

    /// Compiled once, not for each type.
    fn put_any(mut self, key: &str, value: &dyn Display) -> Self {
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

/// A list of these, one a line.
pub(crate) fn list(all: &mut dyn Iterator<Item = Object>) -> String {
    let mut list = String::from("[");
    for object in all {
        let before = if list.len() == 1 { "" } else { ",\n" };
        let _ = write!(list, "{before}{object}");
    }
    list.push(']');
    list
}

/// A string in JSON's form.
pub(crate) struct Text<'a>(pub(crate) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if is_command(c) => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

/// Nesting beyond this is refused.
const DEEPEST: u32 = 32;
/// Those of `u64::MAX`.
const MOST_DIGITS: usize = 20;

/// Whether the text is one object in the form in which objects are written here, with nothing after
/// it: something from elsewhere that is to be put into another. Every reader of JSON accepts that
/// form, which leaves out what some refuse: long numbers, halves of characters.
pub(crate) fn is_object(text: &str) -> bool {
    let mut rest = text.as_bytes();
    text.starts_with('{') && skip_value(&mut rest, 0).is_some() && rest.is_empty()
}

fn skip(rest: &mut &[u8], expected: &[u8]) -> Option<()> {
    *rest = rest.strip_prefix(expected)?;
    Some(())
}

fn skip_blanks(rest: &mut &[u8]) {
    while let [b' ' | b'\n', after @ ..] = rest {
        *rest = after;
    }
}

fn skip_value(rest: &mut &[u8], depth: u32) -> Option<()> {
    match rest.first()? {
        b'{' if depth < DEEPEST => skip_list(rest, b"}", |rest| {
            skip_text(rest)?;
            skip_blanks(rest);
            skip(rest, b":")?;
            skip_blanks(rest);
            skip_value(rest, depth + 1)
        }),
        b'[' if depth < DEEPEST => skip_list(rest, b"]", |rest| skip_value(rest, depth + 1)),
        b'"' => skip_text(rest),
        b't' => skip(rest, b"true"),
        b'f' => skip(rest, b"false"),
        b'n' => skip(rest, b"null"),
        b'0' => skip(rest, b"0"),
        b'1'..=b'9' => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit());
            let count = digits.count();
            *rest = &rest[count..];
            (count <= MOST_DIGITS).then_some(())
        }
        _ => None,
    }
}

fn skip_list(
    rest: &mut &[u8],
    end: &[u8],
    skip_element: impl Fn(&mut &[u8]) -> Option<()>,
) -> Option<()> {
    *rest = &rest[1..];
    skip_blanks(rest);
    if skip(rest, end).is_some() {
        return Some(());
    }
    loop {
        skip_element(rest)?;
        skip_blanks(rest);
        if skip(rest, end).is_some() {
            return Some(());
        }
        skip(rest, b",")?;
        skip_blanks(rest);
    }
}

fn skip_text(rest: &mut &[u8]) -> Option<()> {
    skip(rest, b"\"")?;
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        match byte {
            b'"' => return Some(()),
            0..0x20 => return None,
            b'\\' => {
                let (escaped, after) = rest.split_first()?;
                *rest = after;
                match escaped {
                    b'u' => {
                        let (digits, after) = rest.split_at_checked(4)?;
                        let is_half = digits.to_ascii_lowercase().starts_with(b"d");
                        let is_digit = digits.iter().all(u8::is_ascii_hexdigit);
                        *rest = (is_digit && !is_half).then_some(after)?;
                    }
                    b'"' | b'\\' => {}
                    _ => return None,
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let text = Text("a \"quoted\" \\ \n\t\u{1}\u{7f}ä\u{202e}").to_string();
        assert_eq!(text, r#""a \"quoted\" \\ \u000a\u0009\u0001\u007fä\u202e""#);
        assert!(is_object(&Object::new().text("a", "\u{202e}").to_string()));
    }

    #[test]
    fn objects_are_recognized() {
        let own = Object::new()
            .text("name", "a \"quoted\" \\ \n\u{1}")
            .put("list", "[1,\n20, {}, [true,false,null], 0]")
            .put("most", u64::MAX);
        assert!(is_object(&own.to_string()));
        let deep = "[".repeat(100) + &"]".repeat(100);
        for wrong in [
            "",
            "[]",
            "1",
            "{",
            "{}}",
            "{} ",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":-}",
            "{a:1}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u00\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":1234567890123456789012}",
            "{\"a\":\u{c}1}",
            "{\"a\":\"}",
            "{\"a\":tru}",
            "{\"a\":1}]}",
            &format!("{{\"a\":{deep}}}"),
        ] {
            assert!(!is_object(wrong), "{wrong}");
        }
    }
}
