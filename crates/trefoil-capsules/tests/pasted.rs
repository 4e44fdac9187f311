//! Tests that [`trefoil_capsules::shrink`] has printed, word for word, in a program where the
//! functions are mended: they compile, and pass. `tests/shrink/outcomes.rs` compares them with what
//! is printed.

#![allow(dead_code)] // types have what the values lack

use std::collections::BTreeMap;

struct Parcel {
    label: String,
    code: Vec<u8>,
    way: Way,
    weight: Option<f32>,
    stops: BTreeMap<String, (i64, bool)>,
}

enum Way {
    Air,
    Sea { days: u16 },
    Land(Box<Way>),
}

fn third(row: Vec<u32>) -> u32 {
    row.get(2).copied().unwrap_or_default()
}

fn delivers(_: Vec<Parcel>) {}

fn between(_: (i64, String, Option<char>)) {}

#[rustfmt::skip]
mod pasted {
use super::*;

#[test]
fn third_survives() {
    let argument = vec![];
    third(argument);
}

#[test]
fn between_survives() {
    let argument = (1001, "\\".to_owned(), Some('\''));
    between(argument);
}

#[test]
fn delivers_survives() {
    let argument = vec![Parcel { label: "\"".to_owned(), code: vec![255], way: Way::Land(Box::new(Way::Sea { days: 30 })), weight: Some(f32::NAN), stops: [("Zürich\n".to_owned(), (-6, true))].into_iter().collect() }];
    delivers(argument);
}
}
