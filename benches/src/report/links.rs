//! Where the plots lie, for the two ways in which the document is read.
//!
//! In a checkout the picture `[plots/x.svg]` is a file beside the document. In rustdoc there is no
//! such file, so there the same name stands for the picture itself, in an address (`data:`). In
//! Markdown the first definition of a name counts: rustdoc reads `docs/plots/rustdoc.txt` first,
//! and the document ends with its own definitions.
//!
//! Checked by the tests below.

use std::fmt::Write as _;

/// The name of a plot.
#[must_use]
pub fn name(id: &str) -> String {
    format!("plots/{id}.svg")
}

/// A picture in the text.
#[must_use]
pub fn picture(title: &str, id: &str) -> String {
    let title = title.replace('`', "");
    format!("![{title}][{}]", name(id))
}

/// The definitions of a checkout, for a document from which `docs/` is there.
#[must_use]
pub fn files<'a>(ids: impl IntoIterator<Item = &'a str>, docs: &str) -> String {
    let line = |id| format!("[{0}]: {docs}{0}\n", name(id));
    ids.into_iter().map(line).collect()
}

/// The definitions of rustdoc: each plot as an address.
#[must_use]
pub fn addresses<'a>(plots: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (id, svg) in plots {
        let _ = write!(out, "[{}]: data:image/svg+xml,", name(id));
        for byte in svg.bytes() {
            match byte {
                b'a'..=b'z'
                | b'A'..=b'Z'
                | b'0'..=b'9'
                | b'-'
                | b'.'
                | b'/'
                | b':'
                | b'='
                | b','
                | b';' => {
                    out.push(byte.into());
                }
                other => {
                    let _ = write!(out, "%{other:02X}");
                }
            }
        }
        out.push('\n');
    }
    // The document begins in a paragraph of its own.
    out + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_one_name_in_both() {
        let picture = picture("One `task`", "cost");
        assert_eq!(picture, "![One task][plots/cost.svg]");
        assert_eq!(
            files(["a", "cost"], "d/").lines().nth(1),
            Some("[plots/cost.svg]: d/plots/cost.svg")
        );
        assert!(addresses([("cost", "<svg>")]).starts_with("[plots/cost.svg]: data:"));
    }

    #[test]
    fn an_address_holds_every_byte_and_no_blank() {
        let svg = "<svg a=\"#1\">\n  50 % ≤ (x)\n</svg>";
        let text = addresses([("x", svg)]);
        let address = text.trim_end().split_once(',').unwrap().1;
        assert!(address.is_ascii() && !address.contains([' ', '<', '"', '#', '(', '\n']));
        let mut bytes = Vec::new();
        let mut rest = address.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => other,
            });
        }
        assert_eq!(String::from_utf8(bytes).unwrap(), svg);
    }
}
