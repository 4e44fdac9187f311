//! A tree as Rust that makes the value.
//!
//! serde shows less of a type than Rust has: a set looks like a vector, a box like what is in it.
//! The name of the argument's type helps ([`Hint`]); inside a struct it shows nothing, and the text
//! is a beginning that a person completes.
//!
//! Tests: below, and
//! `crates/trefoil-capsules/tests/shrink/outcomes.rs::a_smaller_value_is_a_file_and_a_test`.

use std::fmt::Write;

use super::{Fields, Holds, Tree};

/// Equal parts in a row, from so many on, are written once.
const MANY: usize = 9;

/// What is known of a part's type: its name, or nothing.
type Hint<'a> = Option<&'a str>;

impl Tree {
    /// Rust for this value of the type of that name, unless it takes more than `most` bytes.
    pub(crate) fn literal(&self, type_name: &str, most: usize) -> Option<String> {
        let mut out = Literal {
            text: String::new(),
            most,
            around: Vec::new(),
        };
        out.value(self, Some(type_name))?;
        Some(out.text)
    }
}

struct Literal {
    text: String,
    most: usize,
    /// The types that hold what is written now, with nothing between that allocates.
    around: Vec<&'static str>,
}

/// The head of a type's name, without its path, and its arguments: `Vec` and `u8`.
fn split(name: &str) -> (&str, Vec<&str>) {
    let name = name.trim();
    let (head, rest) = match name.find(['<', '(', '[']) {
        Some(at) => name.split_at(at),
        None => (name, ""),
    };
    let head = head.rsplit("::").next().unwrap_or_default();
    let inner = rest
        .get(1..rest.len().saturating_sub(1))
        .unwrap_or_default();
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0usize, 0);
    for (at, letter) in inner.char_indices() {
        match letter {
            '<' | '(' | '[' => depth += 1,
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            ',' | ';' if depth == 0 => {
                parts.push(&inner[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if !inner[begin..].trim().is_empty() {
        parts.push(&inner[begin..]);
    }
    (head, parts)
}

/// Looks through boxes, which serde does not show.
fn unboxed(mut hint: Hint<'_>) -> Hint<'_> {
    while let Some(name) = hint
        && let ("Box" | "Arc" | "Rc", parts) = split(name)
    {
        hint = parts.first().copied();
    }
    hint
}

impl Literal {
    fn put(&mut self, text: &str) -> Option<()> {
        self.text.push_str(text);
        (self.text.len() <= self.most).then_some(())
    }

    fn debug(&mut self, value: &impl std::fmt::Debug) -> Option<()> {
        write!(self.text, "{value:?}").ok()?;
        self.put("")
    }

    fn float(&mut self, n: &impl std::fmt::Debug, name: &str, wide: f64) -> Option<()> {
        match wide {
            _ if wide.is_nan() => self.put(&format!("{name}::NAN")),
            f64::INFINITY => self.put(&format!("{name}::INFINITY")),
            f64::NEG_INFINITY => self.put(&format!("{name}::NEG_INFINITY")),
            _ => self.debug(n),
        }
    }

    fn value(&mut self, tree: &Tree, hint: Hint<'_>) -> Option<()> {
        let wrapper = hint.map(|name| split(name).0);
        let is_boxed = matches!(wrapper, Some("Box" | "Arc" | "Rc"));
        let hint = unboxed(hint);
        // (A type that holds itself does so in a box, at least.)
        let name = match tree {
            Tree::Variant(one) => Some(one.of),
            Tree::Struct(parts) => Some(parts.0),
            Tree::NewType(one) => Some(one.0),
            Tree::TupleStruct(parts) => Some(parts.0),
            _ => None,
        };
        let holds_itself = name.is_some_and(|name| self.around.contains(&name));
        if is_boxed || holds_itself {
            self.put(wrapper.filter(|_| is_boxed).unwrap_or("Box"))?;
            self.put("::new(")?;
            let around = std::mem::take(&mut self.around);
            self.plain(tree, hint, name)?;
            self.around = around;
            return self.put(")");
        }
        self.plain(tree, hint, name)
    }

    fn plain(&mut self, tree: &Tree, hint: Hint<'_>, name: Option<&'static str>) -> Option<()> {
        self.around.extend(name.filter(|name| *name != "Result"));
        let depth = self.around.len();
        let (head, of) = hint.map(split).unwrap_or_default();
        match tree {
            Tree::Bool(set) => self.debug(set)?,
            Tree::Integer(integer) => {
                let (is_negative, size) = integer.parts();
                self.put(if is_negative { "-" } else { "" })?;
                self.debug(&size)?;
            }
            Tree::F32(n) => self.float(n, "f32", (*n).into())?,
            Tree::F64(n) => self.float(n, "f64", *n)?,
            Tree::Char(letter) => self.debug(letter)?,
            Tree::Text(text) => {
                let mut letters = text.chars();
                let first = letters.next();
                if text.len() > 4 * MANY && letters.all(|letter| Some(letter) == first) {
                    self.debug(&String::from_iter(first))?;
                    self.put(&format!(".repeat({})", text.chars().count()))?;
                } else if head == "PathBuf" {
                    self.debug(text)?;
                    self.put(".into()")?;
                } else {
                    self.debug(text)?;
                    self.put(".to_owned()")?;
                }
            }
            Tree::Bytes(bytes) => {
                self.bytes(bytes)?;
                self.put(".into()")?;
            }
            Tree::Octets(bytes) if is_collected(head) => {
                self.put("[")?;
                self.list(bytes.iter(), Self::debug)?;
                self.put("].into_iter().collect()")?;
            }
            Tree::Octets(bytes) => self.bytes(bytes)?,
            Tree::None => self.put("None")?,
            Tree::Some(inner) => {
                self.put("Some(")?;
                self.value(inner, of.first().copied())?;
                self.put(")")?;
            }
            Tree::Unit => self.put("()")?,
            Tree::UnitStruct(name) => self.put(name)?,
            Tree::NewType(one) => {
                self.put(one.0)?;
                self.put("(")?;
                self.value(&one.1, None)?;
                self.put(")")?;
            }
            Tree::Row(parts) => self.apart(|out| out.row(parts, head, of.first().copied()))?,
            Tree::Tuple(parts) => self.tuple(parts, hint, &of)?,
            Tree::TupleStruct(parts) => {
                self.put(parts.0)?;
                self.tuple_of(&parts.1)?;
            }
            Tree::Map(entries) => self.apart(|out| {
                out.put("[")?;
                out.list(entries.iter(), |out, (key, value)| {
                    out.put("(")?;
                    out.value(key, of.first().copied())?;
                    out.put(", ")?;
                    out.value(value, of.get(1).copied())?;
                    out.put(")")
                })?;
                out.put("].into_iter().collect()")
            })?,
            Tree::Struct(parts) => {
                self.put(parts.0)?;
                self.fields(&parts.1)?;
            }
            Tree::Variant(one) => {
                if one.of != "Result" {
                    self.put(one.of)?;
                    self.put("::")?;
                }
                self.put(one.name)?;
                match &one.holds {
                    Holds::Nothing => {}
                    Holds::One(inner) => {
                        self.put("(")?;
                        let at = usize::from(one.name == "Err");
                        self.value(inner, of.get(at).copied().filter(|_| one.of == "Result"))?;
                        self.put(")")?;
                    }
                    Holds::Tuple(parts) => self.tuple_of(parts)?,
                    Holds::Fields(fields) => self.fields(fields)?,
                }
            }
        }
        if name.is_some_and(|name| name != "Result") {
            self.around.truncate(depth - 1);
        }
        Some(())
    }

    /// Something that allocates: what is in it may be of a type that holds it.
    fn apart(&mut self, write: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let around = std::mem::take(&mut self.around);
        write(self)?;
        self.around = around;
        Some(())
    }

    fn list<T>(
        &mut self,
        parts: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Option<()>,
    ) -> Option<()> {
        for (at, part) in parts.enumerate() {
            self.put(if at > 0 { ", " } else { "" })?;
            write(self, part)?;
        }
        Some(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
        if bytes.len() >= MANY && bytes.iter().all(|byte| *byte == bytes[0]) {
            return self.put(&format!("vec![{}; {}]", bytes[0], bytes.len()));
        }
        if bytes.len() > 2 && bytes.iter().filter(|byte| is_text(byte)).count() * 2 > bytes.len() {
            return self.put(&format!("b\"{}\".to_vec()", bytes.escape_ascii()));
        }
        self.put("vec![")?;
        self.list(bytes.iter(), Self::debug)?;
        self.put("]")
    }

    fn row(&mut self, parts: &[Tree], head: &str, hint: Hint<'_>) -> Option<()> {
        let one = |part: &Tree| {
            let mut out = Literal {
                text: String::new(),
                most: 256,
                around: Vec::new(),
            };
            out.value(part, hint).map(|()| out.text)
        };
        if parts.len() >= MANY
            && !is_collected(head)
            && let first @ Some(_) = one(&parts[0])
            && parts.iter().all(|part| one(part) == first)
        {
            return self.put(&format!("vec![{}; {}]", first?, parts.len()));
        }
        self.put(if is_collected(head) { "[" } else { "vec![" })?;
        self.list(parts.iter(), |out, part| out.value(part, hint))?;
        self.put(match is_collected(head) {
            true => "].into_iter().collect()",
            false => "]",
        })
    }

    fn tuple(&mut self, parts: &[Tree], hint: Hint<'_>, of: &[&str]) -> Option<()> {
        // Arrays look like tuples.
        let is_array = match hint {
            Some(name) => name.trim_start().starts_with('['),
            None => {
                let scalar = |tree: &Tree| match tree {
                    Tree::Integer(integer) => Some((0, Some(std::mem::discriminant(integer)))),
                    Tree::F32(_) => Some((1, None)),
                    Tree::F64(_) => Some((2, None)),
                    _ => None,
                };
                let first = parts.first().and_then(scalar);
                parts.len() > 2 && first.is_some() && parts.iter().all(|part| scalar(part) == first)
            }
        };
        self.put(if is_array { "[" } else { "(" })?;
        self.list(parts.iter().enumerate(), |out, (at, part)| {
            let at = if is_array { 0 } else { at };
            out.value(part, of.get(at).copied())
        })?;
        self.put(match (is_array, parts.len()) {
            (true, _) => "]",
            (false, 1) => ",)",
            (false, _) => ")",
        })
    }

    fn tuple_of(&mut self, parts: &[Tree]) -> Option<()> {
        self.put("(")?;
        self.list(parts.iter(), |out, part| out.value(part, None))?;
        self.put(")")
    }

    fn fields(&mut self, fields: &Fields) -> Option<()> {
        self.put(" { ")?;
        self.list(fields.iter(), |out, (name, value)| {
            out.put(name)?;
            out.put(": ")?;
            out.value(value, None)
        })?;
        self.put(" }")
    }
}

/// Whether a row of such a type is no vector.
fn is_collected(head: &str) -> bool {
    matches!(
        head,
        "VecDeque" | "BTreeSet" | "HashSet" | "LinkedList" | "BinaryHeap"
    )
}

#[cfg(test)]
mod tests {
    use std::any::type_name_of_val;
    use std::collections::{BTreeMap, BTreeSet};

    use serde::Serialize;

    use super::super::write;

    #[derive(Serialize)]
    enum Sum {
        Of(Box<Sum>, Box<Sum>),
        All(Vec<Sum>),
        Number(i32),
        Zero,
    }

    #[derive(Serialize)]
    struct Row {
        name: String,
        corners: [f32; 3],
    }

    fn literal<T: Serialize>(value: &T) -> String {
        write(value)
            .unwrap()
            .literal(type_name_of_val(value), 1000)
            .unwrap()
    }

    #[test]
    fn values_look_as_in_rust() {
        let sum = Sum::Of(Sum::Number(-1).into(), Sum::All(vec![Sum::Zero]).into());
        let sum_text = "Sum::Of(Box::new(Sum::Number(-1)), Box::new(Sum::All(vec![Sum::Zero])))";
        assert_eq!(literal(&sum), sum_text);
        let row = Row {
            name: "a\"".to_owned(),
            corners: [0.0, 1.5, f32::NAN],
        };
        let row_text = r#"Row { name: "a\"".to_owned(), corners: [0.0, 1.5, f32::NAN] }"#;
        assert_eq!(literal(&row), row_text);
        assert_eq!(literal(&vec![[1u8, 2]; 2]), "vec![[1, 2], [1, 2]]");
        assert_eq!(literal(&((1u8, 2u8), ['x'])), "((1, 2), ['x'])");
        assert_eq!(literal(&vec![0u8; 5000]), "vec![0; 5000]");
        assert_eq!(literal(&b"abc\0d".to_vec()), r#"b"abc\x00d".to_vec()"#);
        assert_eq!(literal(&"(".repeat(70)), r#""(".repeat(70)"#);
        assert_eq!(literal(&vec![Some(1u8); 20]), "vec![Some(1); 20]");
        assert_eq!(
            literal(&BTreeSet::from([1, 2])),
            "[1, 2].into_iter().collect()"
        );
        let map = BTreeMap::from([("k".to_owned(), Box::new(1u8))]);
        assert_eq!(
            literal(&map),
            r#"[("k".to_owned(), Box::new(1))].into_iter().collect()"#
        );
        assert_eq!(
            literal(&(Ok::<u8, String>(1), (), None::<u8>)),
            "(Ok(1), (), None)"
        );
        assert_eq!(write(&"x".to_owned()).unwrap().literal("String", 5), None);
    }
}
