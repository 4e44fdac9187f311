//! Bytes from outside: cut short, changed, and made up. There is an error, or some value, and never
//! a panic, an overflow of the stack, or more memory than there is.
#![allow(clippy::disallowed_methods)] // a program, not the crate

use std::collections::BTreeMap;

use postcard_described::{Error, MOST_EMPTY, from_slice, to_vec};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rows: Vec<[u16; 3]>,
    kind: Kind,
}

#[derive(Debug, Default, Serialize, Deserialize)]
enum Kind {
    #[default]
    None,
    One(Box<Options>),
    Many {
        all: Vec<Kind>,
        by_number: BTreeMap<i32, (f64, char)>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Number(i128),
    Text(String),
    Pair(Box<Any>, Box<Any>),
    Map(BTreeMap<String, Any>),
}

/// Newtypes and options read no bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Endless(Option<Box<Endless>>);

#[derive(Debug, Serialize, Deserialize)]
struct List {
    next: Option<Box<List>>,
}

/// As all kinds of types; whatever comes out is dropped.
fn read_all(bytes: &[u8]) -> usize {
    let read = [
        from_slice::<Options>(bytes).is_ok(),
        from_slice::<Vec<Kind>>(bytes).is_ok(),
        from_slice::<Any>(bytes).is_ok(),
        from_slice::<Value>(bytes).is_ok(),
        from_slice::<IgnoredAny>(bytes).is_ok(),
        from_slice::<Endless>(bytes).is_ok(),
        from_slice::<List>(bytes).is_ok(),
        from_slice::<Vec<(u8, f64)>>(bytes).is_ok(),
        from_slice::<Vec<()>>(bytes).is_ok(),
        from_slice::<(Vec<u16>, Vec<Option<u32>>)>(bytes).is_ok(),
        from_slice::<Vec<[u8; 5]>>(bytes).is_ok(),
        from_slice::<BTreeMap<&str, Option<&[u8]>>>(bytes).is_ok(),
    ];
    read.into_iter().filter(|read| *read).count()
}

fn samples() -> Vec<Vec<u8>> {
    let one = || Options {
        name: Some("name".to_owned()),
        rows: vec![[1, 2, 300]; 12],
        kind: Kind::One(Box::default()),
    };
    let by_number = BTreeMap::from([(-1, (0.5, 'a')), (7, (1.5, 'ü'))]);
    let many = Kind::Many {
        all: vec![Kind::None, Kind::One(Box::new(one())), Kind::None],
        by_number,
    };
    let pair = Any::Pair(
        Box::new(Any::Number(-1)),
        Box::new(Any::Text("x".to_owned())),
    );
    vec![
        to_vec(&one()).unwrap(),
        to_vec(&[many]).unwrap(),
        to_vec(&[pair]).unwrap(),
        to_vec(&json!({"a": [1, {"b": null}, [], "text"], "c": 1.5})).unwrap(),
        to_vec(&vec![(1u8, 2.5f64); 40]).unwrap(),
        to_vec(&vec![(); 1000]).unwrap(),
        to_vec(&(vec![300u16; 65], [7u32; 3])).unwrap(),
        to_vec(&vec![[3u8; 5]; 13]).unwrap(),
    ]
}

#[test]
fn cut_short_at_every_byte() {
    for bytes in samples() {
        assert!(read_all(&bytes) > 0);
        for cut in 0..bytes.len() {
            read_all(&bytes[..cut]);
            read_all(&bytes[cut..]);
        }
        for more in [0, 1, 127, 255] {
            read_all(&[&bytes[..], &[more]].concat());
        }
    }
}

/// Each byte becomes each of an eighth of the values, another eighth at each place; with
/// `TREFOIL_FULL` each of all.
#[test]
fn changed_at_every_byte() {
    let step = if std::env::var_os("TREFOIL_FULL").is_some() {
        1
    } else {
        8
    };
    for bytes in samples() {
        for place in 0..bytes.len() {
            for byte in (place % step..256).step_by(step) {
                let mut changed = bytes.clone();
                changed[place] = byte as u8;
                read_all(&changed);
            }
        }
    }
}

const TUPLE: u8 = 21;
const SEQ: u8 = 20;
const STR: u8 = 15;
const UNIT: u8 = 19;
const STRUCT: u8 = 23;
const END: u8 = 0;

/// What claims to be this data with this description.
fn claim(data: &[u8], description: &[u8]) -> Vec<u8> {
    let length = (description.len() as u32).to_le_bytes();
    [data, description, &length[..]].concat()
}

/// 2^60, as a number of postcard's.
const HUGE: [u8; 9] = [128, 128, 128, 128, 128, 128, 128, 128, 16];

#[test]
fn lengths_that_lie_take_no_memory() {
    let list = |element: &[u8]| {
        let run = [&[SEQ][..], element, &HUGE, &[END]].concat();
        claim(&HUGE, &run)
    };
    // The form of these claims is right.
    let two = claim(&[2, 7, 8], &[SEQ, 2, 2, END]);
    assert_eq!(from_slice::<Vec<u8>>(&two).unwrap(), [7, 8]);
    assert!(from_slice::<Vec<u8>>(&list(&[2])).is_err());
    assert!(from_slice::<Vec<[u64; 32]>>(&list(&[TUPLE, 5, 32, END])).is_err());
    assert!(from_slice::<Value>(&list(&[STR])).is_err());
    assert!(from_slice::<String>(&claim(&HUGE, &[STR])).is_err());
    assert!(
        from_slice::<Vec<u8>>(&claim(&HUGE, &[SEQ, END])).is_ok(),
        "there are none"
    );
    let bytes = [HUGE.as_slice(), &u32::MAX.to_le_bytes()].concat();
    assert_eq!(read_all(&bytes), 0);
}

#[test]
fn parts_without_bytes_are_counted() {
    let units = |count: &[u8]| claim(&[0], &[&[SEQ, UNIT][..], count, &[END]].concat());
    assert_eq!(from_slice::<Vec<()>>(&units(&[100])).unwrap().len(), 100);
    let many = from_slice::<Vec<()>>(&units(&HUGE));
    assert!(matches!(many, Err(Error::TooMany)), "{many:?}");
    let alone = from_slice::<Vec<()>>(&claim(&HUGE, &[END]));
    assert!(alone.is_err(), "{alone:?}");
    let most = vec![(); MOST_EMPTY];
    assert_eq!(
        from_slice::<Vec<()>>(&to_vec(&most).unwrap()).unwrap(),
        most
    );
    // Each a struct whose fields have their defaults: a hundred bytes for none.
    let structs = claim(&[0], &[&[SEQ, STRUCT, 0][..], &HUGE, &[END]].concat());
    assert!(matches!(
        from_slice::<Vec<Options>>(&structs),
        Err(Error::TooMany)
    ));
    // A million times a million.
    let million = [192, 132, 61];
    let inner = [&[TUPLE, UNIT][..], &million, &[END]].concat();
    let nested = claim(&[0], &[&[SEQ][..], &inner, &million, &[END]].concat());
    assert!(matches!(
        from_slice::<Vec<Vec<()>>>(&nested),
        Err(Error::TooMany)
    ));
    assert!(from_slice::<IgnoredAny>(&nested).is_err());
}

#[test]
fn what_nests_too_deeply_is_an_error() {
    // As the thread of a server, whose stack is std's usual one.
    let run = || {
        for levels in [10_usize, 1_000, 1_000_000] {
            let opens = [SEQ].repeat(levels);
            let closes = [1, END].repeat(levels - 1);
            let counts = [&[1].repeat(levels - 1)[..], &[0]].concat();
            let nested = claim(&counts, &[&opens[..], &[END], &closes].concat());
            let _ = from_slice::<Value>(&nested);
            let _ = from_slice::<Any>(&nested);
            let somes = claim(&[1].repeat(levels), &[18].repeat(levels));
            let _ = from_slice::<Option<Endless>>(&somes);
            // Without a description.
            let _ = from_slice::<List>(&claim(&[1].repeat(levels), &[]));
            match levels {
                10 => assert!(
                    from_slice::<Value>(&nested).is_ok()
                        && from_slice::<IgnoredAny>(&nested).is_ok()
                ),
                1_000 => {}
                _ => {
                    let deep = from_slice::<Value>(&nested);
                    assert!(matches!(deep, Err(Error::TooDeep)), "{deep:?}");
                    assert!(from_slice::<List>(&claim(&[1].repeat(levels), &[])).is_err());
                }
            }
        }
        // A type that reads no bytes.
        assert!(matches!(
            from_slice::<Endless>(&to_vec(&7u8).unwrap()),
            Err(Error::TooDeep)
        ));
    };
    std::thread::spawn(run).join().unwrap();
    // A value to write: on a thread that can drop it.
    let write = || {
        let mut list = List { next: None };
        for _ in 0..100_000 {
            list = List {
                next: Some(Box::new(list)),
            };
        }
        let deep = to_vec(&list);
        assert!(matches!(deep, Err(Error::TooDeep)), "{deep:?}");
        while let Some(next) = list.next.take() {
            list = *next;
        }
    };
    std::thread::spawn(write).join().unwrap();
}

proptest! {
    #[test]
    fn anything_at_all(bytes in vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn any_description(data in vec(any::<u8>(), 0..40), description in vec(0..30u8, 0..60)) {
        read_all(&claim(&data, &description));
    }

    #[test]
    fn samples_mixed(first in 0..8usize, second in 0..8usize, at in any::<u16>(), from in any::<u16>()) {
        let samples = samples();
        let (first, second) = (&samples[first], &samples[second]);
        let at = usize::from(at) % (first.len() + 1);
        let from = usize::from(from) % (second.len() + 1);
        read_all(&[&first[..at], &second[from..]].concat());
    }
}
