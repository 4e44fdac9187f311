//! What stands between the parentheses of the attribute.
//!
//! Tests: below.

use proc_macro::{Span, TokenStream, TokenTree};

use crate::Refused;

/// Of a test.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// In milliseconds.
    pub(crate) timeout: Option<u64>,
    /// In bytes.
    pub(crate) memory: Option<u64>,
    pub(crate) retries: u32,
    pub(crate) may_leak: bool,
}

const KNOWN: &str =
    "the settings are `timeout = \"5s\"`, `memory = \"1GiB\"`, `retries = 2`, `leaks = \"allow\"`";

impl Settings {
    pub(crate) fn parse(tokens: TokenStream) -> Result<Self, Refused> {
        let mut settings = Self::default();
        let mut tokens = tokens.into_iter();
        while let Some(name) = tokens.next() {
            let at = name.span();
            let [equals, value] = [tokens.next(), tokens.next()];
            let (Some(TokenTree::Punct(equals)), Some(TokenTree::Literal(value))) = (equals, value)
            else {
                return Err(Refused::new(at, KNOWN));
            };
            let (text, value_at) = (value.to_string(), value.span());
            if equals.as_char() != '=' {
                return Err(Refused::new(at, KNOWN));
            }
            settings
                .set(&name.to_string(), &text)
                .map_err(|why| Refused::new(if why == KNOWN { at } else { value_at }, why))?;
            match tokens.next() {
                None => break,
                Some(TokenTree::Punct(comma)) if comma.as_char() == ',' => {}
                Some(other) => return Err(Refused::new(other.span(), "here should be a comma")),
            }
        }
        Ok(settings)
    }

    /// `value`: a literal as it stands in the source.
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = || {
            let inner = value
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            inner.ok_or_else(|| format!("`{name}` should be a text, such as {}", example(name)))
        };
        let wrong = || format!("{value} is none: write for example {}", example(name));
        match name {
            "timeout" => {
                self.timeout = Some(
                    quantity(text()?, &TIMES)
                        .filter(|n| *n > 0)
                        .ok_or_else(wrong)?,
                );
            }
            "memory" => {
                self.memory = Some(
                    quantity(text()?, &SIZES)
                        .filter(|n| *n > 0)
                        .ok_or_else(wrong)?,
                );
            }
            "retries" => self.retries = value.parse().map_err(|_| wrong())?,
            "leaks" if text()? == "allow" => self.may_leak = true,
            "leaks" => return Err(wrong()),
            _ => return Err(KNOWN.to_owned()),
        }
        Ok(())
    }

    /// For a macro that is used wrongly in another place.
    pub(crate) fn at_call() -> Span {
        Span::call_site()
    }
}

fn example(name: &str) -> &'static str {
    match name {
        "timeout" => "\"5s\", \"300ms\" or \"2min\"",
        "memory" => "\"1GiB\", \"500MB\" or \"64MiB\"",
        "retries" => "2",
        _ => "\"allow\"",
    }
}

/// Units in milliseconds, and in bytes.
const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// A number with a unit: `1.5GiB`, `300 ms`.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text.find(|letter: char| letter.is_alphabetic())?;
    let (number, unit) = text.split_at(unit_at);
    let (_, unit) = units.iter().find(|(name, _)| *name == unit.trim())?;
    let (whole, part) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(*unit)?;
    let part = match part.parse::<u64>() {
        Ok(n) => u128::from(n) * u128::from(*unit) / 10u128.pow(part.len() as u32),
        Err(_) => 0,
    };
    whole.checked_add(part.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        for (text, ms) in [
            ("5s", 5000),
            ("300ms", 300),
            ("2 min", 120_000),
            ("0.5s", 500),
            ("1.5 h", 5_400_000),
        ] {
            assert_eq!(quantity(text, &TIMES), Some(ms), "{text}");
        }
        for (text, bytes) in [
            ("1GiB", 1 << 30),
            ("0.5 MiB", 1 << 19),
            ("7B", 7),
            ("2kB", 2000),
        ] {
            assert_eq!(quantity(text, &SIZES), Some(bytes), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5 parsecs",
            "-1s",
            "1..5s",
            ".5s",
            "99999999999999999999s",
            "1e3s",
            "5ss",
        ] {
            assert_eq!(quantity(text, &TIMES), None, "{text}");
        }
    }

    #[test]
    fn settings_are_known_or_explained() {
        let mut all = Settings::default();
        for (name, value) in [
            ("timeout", "\"5s\""),
            ("memory", "\"1GiB\""),
            ("retries", "2"),
            ("leaks", "\"allow\""),
        ] {
            all.set(name, value).unwrap();
        }
        let expected = Settings {
            timeout: Some(5000),
            memory: Some(1 << 30),
            retries: 2,
            may_leak: true,
        };
        assert_eq!(all, expected);
        for (name, value, why) in [
            ("timeout", "5", "should be a text"),
            ("timeout", "\"5\"", "write for example \"5s\""),
            ("timeout", "\"0s\"", "write for example"),
            ("memory", "\"many\"", "\"1GiB\""),
            ("retries", "\"2\"", "write for example 2"),
            ("leaks", "\"no\"", "\"allow\""),
            ("retry", "2", "the settings are"),
        ] {
            let error = all.set(name, value).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
