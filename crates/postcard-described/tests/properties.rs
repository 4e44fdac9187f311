//! Generated values arrive, and read as JSON they are what `serde_json` makes of them.

use std::collections::BTreeMap;

use postcard_described::{from_slice, to_vec};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Null(()),
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<Untagged>),
    Record { id: u32, next: Box<Untagged> },
    Map(BTreeMap<String, Untagged>),
}

fn untagged() -> impl Strategy<Value = Untagged> {
    let one = prop_oneof![
        Just(Untagged::Null(())),
        any::<bool>().prop_map(Untagged::Flag),
        any::<i64>().prop_map(Untagged::Number),
        "[a-zü]{0,8}".prop_map(Untagged::Text),
    ];
    one.prop_recursive(4, 60, 12, |inner| {
        let map = btree_map("[A-Z]{1,2}", inner.clone(), 0..4);
        prop_oneof![
            vec(inner.clone(), 0..12).prop_map(Untagged::List),
            (any::<u32>(), inner).prop_map(|(id, next)| Untagged::Record {
                id,
                next: Box::new(next)
            }),
            map.prop_map(Untagged::Map),
        ]
    })
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Tagged {
    Unit,
    Point { x: f32, y: f32 },
    Named(Named),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    One(Option<u64>),
    Two(String, Vec<(u8, bool)>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum External {
    Unit,
    One(i16),
    Two(char, Option<Box<External>>),
    Named {
        rows: Vec<[u32; 2]>,
        inner: Adjacent,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Named {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    list: Vec<i32>,
    last: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Whole {
    #[serde(flatten)]
    named: Named,
    #[serde(flatten)]
    tagged: Tagged,
    untagged: Untagged,
    #[serde(rename = "others")]
    external: Vec<External>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    by_name: BTreeMap<String, Adjacent>,
}

prop_compose! {
    fn named()(first in option::of("[a-z]{0,5}"), list in vec(any::<i32>(), 0..20), last: u8) -> Named {
        Named { first, list, last }
    }
}

fn adjacent() -> impl Strategy<Value = Adjacent> {
    prop_oneof![
        Just(Adjacent::Unit),
        option::of(any::<u64>()).prop_map(Adjacent::One),
        ("[a-z]{0,5}", vec(any::<(u8, bool)>(), 0..20))
            .prop_map(|(text, all)| Adjacent::Two(text, all)),
    ]
}

fn external() -> impl Strategy<Value = External> {
    let one = prop_oneof![
        Just(External::Unit),
        any::<i16>().prop_map(External::One),
        (vec(any::<[u32; 2]>(), 0..20), adjacent())
            .prop_map(|(rows, inner)| External::Named { rows, inner }),
    ];
    one.prop_recursive(3, 9, 1, |inner| {
        (any::<char>(), option::of(inner.prop_map(Box::new)))
            .prop_map(|(letter, next)| External::Two(letter, next))
    })
}

fn tagged() -> impl Strategy<Value = Tagged> {
    let number = || any::<i16>().prop_map(|n| f32::from(n) / 4.0);
    prop_oneof![
        Just(Tagged::Unit),
        (number(), number()).prop_map(|(x, y)| Tagged::Point { x, y }),
        named().prop_map(Tagged::Named),
    ]
}

prop_compose! {
    // (Fields of the same name cannot be flattened into one another.)
    fn whole()(
        named in named(),
        tagged in tagged().prop_filter("it has fields of the same names", |it| !matches!(it, Tagged::Named(_))),
        untagged in untagged(),
        external in vec(external(), 0..30),
        by_name in btree_map("[a-z]{1,3}", adjacent(), 0..5),
    ) -> Whole {
        Whole { named, tagged, untagged, external, by_name }
    }
}

fn arrives<T>(value: &T) -> Result<(), TestCaseError>
where
    T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug,
{
    let bytes = to_vec(value).unwrap();
    prop_assert_eq!(&from_slice::<T>(&bytes).unwrap(), value);
    // All at once, and beside others.
    let many = (vec![value; 10], 7u8);
    let (all, after): (Vec<T>, u8) = from_slice(&to_vec(&many).unwrap()).unwrap();
    prop_assert!(all.iter().all(|one| one == value) && all.len() == 10 && after == 7);
    Ok(())
}

proptest! {
    #[test]
    fn values_with_attributes_arrive_and_are_as_in_json(value in whole()) {
        arrives(&value)?;
        let json: Value = from_slice(&to_vec(&value).unwrap()).unwrap();
        prop_assert_eq!(&json, &serde_json::to_value(&value).unwrap());
    }

    #[test]
    fn enums_of_all_forms_arrive(all in vec((untagged(), tagged(), adjacent(), external()), 0..20)) {
        arrives(&all)?;
        let json: Value = from_slice(&to_vec(&all).unwrap()).unwrap();
        prop_assert_eq!(json, serde_json::to_value(&all).unwrap());
    }

    #[test]
    fn what_json_has_not_arrives(
        wide in vec(any::<(i128, u128)>(), 0..20),
        by_pair in btree_map(any::<(i8, char)>(), option::of(option::of(any::<u8>())), 0..20),
        by_option in btree_map(option::of(any::<bool>()), vec(any::<()>(), 0..40), 0..4),
        rows in vec((any::<u8>(), [any::<i64>(), any::<i64>()], any::<char>()), 0..40),
    ) {
        arrives(&(wide, by_pair, by_option, rows))?;
    }

    #[test]
    fn nothing_but_the_end_differs_from_postcard(all in vec(any::<(u32, Option<String>, [bool; 2])>(), 0..40)) {
        let (bytes, data) = (to_vec(&all).unwrap(), postcard::to_stdvec(&all).unwrap());
        prop_assert!(bytes.starts_with(&data));
    }
}
