//! Types with serde's attributes, as arguments and results of every kind of call: types that ask
//! what comes next, and types that leave out fields.

use crate::support;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::net::IpAddr;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use support::{Scratch, Test, note, pool, tests};
use trefoil::process::channel::{Receiver, Sender, channel};
use trefoil::{Bulk, Process, ProcessPool, TaskError};

/// As items of a channel.
fn by_channel(procs: &ProcessPool, values: Vec<Untagged>) {
    let (sender, receiver) = channel::<Untagged>(64).unwrap();
    let send = |(sender, values): (Sender<Untagged>, Vec<Untagged>)| {
        for value in values {
            sender.send_blocking(value).unwrap();
        }
    };
    procs.spawn((sender, values.clone()), send).join().unwrap();
    assert_eq!(receiver.iter().collect::<Vec<_>>(), values);
}

tests! {
    fn json_travels() {
        let value = json!({"a": [1, -2, 2.5, null, true, "x"], "b": {"c": {}, "d": []}, "e": u64::MAX});
        there_and_back(&[value, Value::Null, json!([]), json!([[], [[1]], [[1, 2], "a"], [[1, 2], "a"]])]);
    }

    fn enums_of_all_forms_travel() {
        there_and_back(&[
            Untagged::Number(-5), Untagged::Text("five".into()), Untagged::Both { x: 1, y: 0.5 },
            Untagged::Nothing, Untagged::List(vec![Untagged::Number(1), Untagged::Text("a".into())]),
        ]);
        let address: IpAddr = [127, 0, 0, 1].into();
        there_and_back(&[
            Tagged::Circle { radius: 1.5 }, Tagged::Empty, Tagged::Host(Host { address, port: None }),
            Tagged::Host(Host { address, port: Some(80) }), Tagged::Circle { radius: -0.0 },
        ]);
        there_and_back(&[Adjacent::Unit, Adjacent::Pair(1, 'ü'), Adjacent::Value(json!({"k": [1]}))]);
        there_and_back(&[
            Plain::Unit, Plain::New(Some(None)), Plain::New(Some(Some(()))), Plain::Pair(u128::MAX, i128::MIN),
            Plain::Struct { bytes: vec![0, 255], text: String::new() },
        ]);
    }

    /// As with JSON, and as the documentation of `Portable` says.
    fn an_option_of_nothing_is_nothing_behind_an_attribute() {
        let procs = pool(1);
        let field = |value| procs.spawn(Optional::One { value }, |Optional::One { value }| value).join().unwrap();
        assert_eq!((field(Some(Some(1))), field(None)), (Some(Some(1)), None));
        assert_eq!(field(Some(None)), None);
        let json = serde_json::to_string(&Optional::One { value: Some(None) }).unwrap();
        let Optional::One { value } = serde_json::from_str(&json).unwrap();
        assert_eq!(value, None);
        let untagged = procs.spawn(Either::One { either: Some(None) }, |Either::One { either }| either).join();
        assert_eq!(untagged.unwrap(), None);
        let unit = procs.spawn(OfUnit::One { value: Some(()) }, |OfUnit::One { value }| value).join();
        assert_eq!(unit.unwrap(), None);
    }

    fn flattened_and_skipped_fields_travel() {
        let mut event = Event::default();
        there_and_back(&[event.clone()]);
        event.note = Some("there".into());
        event.kind = Tagged::Host(Host { address: [0; 16].into(), port: Some(1) });
        there_and_back(&[event.clone(), Event::default(), event]);
        let rest: BTreeMap<String, Value> = [("more".to_owned(), json!([1, {"deep": null}]))].into();
        there_and_back(&[Open { id: 7, rest }, Open { id: 8, rest: BTreeMap::new() }]);
        let sparse = |first: Option<u8>, second: Vec<u8>| Sparse { first, second, last: 3 };
        there_and_back(&[sparse(None, vec![]), sparse(Some(1), vec![]), sparse(None, vec![2]), sparse(Some(0), vec![0])]);
        // Many that are equal, and many that differ.
        let many: Vec<Sparse> = (0..3_000u32).map(|n| sparse((n % 3 == 0).then_some(1), vec![1; n as usize % 5])).collect();
        let numbers: HashMap<i32, Untagged> = (-50..50).map(|n| (n, Untagged::Number(n.into()))).collect();
        there_and_back(&[(many, numbers, vec![0.5f64; 1_000])]);
        there_and_back(&[Lopsided { kept: 1, left_out: 0, also: 300 }]);
    }

    /// If variants or fields are skipped, positions shift, but names do not.
    fn what_is_skipped_shifts_nothing() {
        let procs = pool(1);
        let named = |value: Holes| format!("{value:?}");
        for value in [Holes::First(1), Holes::Third(3), Holes::Fourth, Holes::Fifth { at: 5 }] {
            assert_eq!(procs.spawn(value.clone(), named).join().unwrap(), format!("{value:?}"));
            there_and_back(&[value]);
        }
        let half = HalfRead { left_out: 1, dropped: 2, flag: true, kept: 7 };
        let arrived = procs.spawn(half, |half: HalfRead| (half.left_out, half.dropped, half.flag, half.kept)).join();
        assert_eq!(arrived.unwrap(), (0, 0, false, 7));
    }

    fn by_all_ways() {
        let procs = pool(2);
        let values: Vec<Untagged> = (0..40).map(Untagged::Number).collect();
        let scratch = Scratch::new("described");
        let twice = |(value, path): (Untagged, String)| {
            note(&path, 1);
            if support::noted(&path) == 1 {
                std::process::abort();
            }
            value
        };
        let again = procs.call(twice).retry(1).spawn((values[1].clone(), scratch.text()));
        assert_eq!(again.join().unwrap(), values[1]);
        let context = json!({"factor": 3});
        let product = |context: &Value, n: u64| json!(context["factor"].as_u64().unwrap() * n);
        assert_eq!(procs.map_with(&context, [1, 2], product).unwrap(), [json!(3), json!(6)]);
        let context_of_numbers: BTreeMap<String, Untagged> = [("a".to_owned(), Untagged::Number(9))].into();
        let look = |context: &BTreeMap<String, Untagged>, key: String| context.get(&key).cloned();
        assert_eq!(procs.map_with(&context_of_numbers, ["a".to_owned()], look).unwrap(), [Some(Untagged::Number(9))]);
        if !support::is_plain() {
            by_channel(&procs, values);
        }
        let one = Process::spawn(Event::default(), |event: Event| event).unwrap();
        assert_eq!(one.join().unwrap(), Event::default());
        let prepared = ProcessPool::builder().workers(1).initializer(json!({"set": 1}), |value: Value| {
            assert_eq!(value["set"], 1);
        });
        assert_eq!(prepared.build().unwrap().spawn((), |()| 1).join().unwrap(), 1);
    }

    fn what_travels_beside_the_bytes_does_so_behind_an_attribute() {
        let procs = pool(1);
        let numbers = Bulk::from((0..100_000u32).collect::<Vec<_>>());
        let back = |(value, more): (Loaded, Value)| match value {
            Loaded::Bulk { numbers } => (numbers.len() as u64, more),
            Loaded::End { end } => (end.recv_blocking().unwrap(), more),
        };
        let bulk = Loaded::Bulk { numbers };
        assert_eq!(procs.spawn((bulk, json!(1)), back).join().unwrap(), (100_000, json!(1)));
        let (sender, end) = channel::<u64>(1).unwrap();
        sender.send_blocking(77).unwrap();
        let end = procs.spawn((Loaded::End { end }, json!("x")), back).join();
        match support::is_plain() {
            true => assert!(end.unwrap_err().to_string().contains("plain_workers")),
            false => assert_eq!(end.unwrap(), (77, json!("x"))),
        }
        // The reason is this crate's own, and nothing is added to it.
        let plain = ProcessPool::builder().workers(1).plain_workers(true).build().unwrap();
        let (_sender, end) = channel::<u64>(1).unwrap();
        let refused = plain.spawn((Loaded::End { end }, json!("x")), back).join();
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("plain_workers") && !refused.contains("raised by"), "{refused}");
    }

    /// As in JSON, there is no form for it, and the error says so.
    fn what_cannot_travel_says_why_and_what_to_do() {
        let procs = pool(1);
        let codec = |result: Result<(), TaskError>| match result {
            Err(TaskError::Codec(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        let number = procs.spawn(Internal::Number(1), |_: Internal| ()).join();
        let number = codec(number);
        assert!(number.contains("tagged newtype variant") && number.contains("as a `String`"), "{number}");
        let needs = |needs: Needs| drop(needs);
        let missing = codec(procs.spawn(Needs { text: String::new(), n: 1 }, needs).join());
        assert!(missing.contains("missing field `text`") && missing.contains("skip_serializing_if"), "{missing}");
        assert!(missing.contains("`default`") && missing.contains("String"), "{missing}");
        let odd = codec(procs.spawn((), |()| Odd(1)).join().map(drop));
        assert!(odd.contains("did not match any variant") && odd.contains("untagged"), "{odd}");
        assert_eq!(procs.spawn(2u8, |n: u8| n * 2).join().unwrap(), 4);
        assert_eq!(procs.stats().died, 0);
    }

    fn unread_values_are_skipped() {
        let procs = pool(1);
        let nested = json!([[1, 2, "x"], {"a": {"b": [null, 1.5]}}]);
        let passes = |(_, after): (Passes, u8)| after;
        assert_eq!(procs.spawn((Passes(nested), 7), passes).join().unwrap(), 7);
    }
}

/// As an argument and as a result, alone and in bulk.
fn there_and_back<T>(values: &[T])
where
    T: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Send + 'static,
{
    let procs = pool(2);
    for value in values {
        assert_eq!(
            procs.spawn(value.clone(), |value: T| value).join().unwrap(),
            *value
        );
    }
    let whole = procs.spawn(values.to_vec(), |values: Vec<T>| values);
    assert_eq!(whole.join().unwrap(), values);
    let many = || values.iter().cloned().cycle().take(100);
    let all: Vec<T> = many().collect();
    assert_eq!(procs.map(many(), |value: T| value).unwrap(), all);
    let each: Result<Vec<T>, _> = procs.imap(many(), |value: T| value).collect();
    assert_eq!(each.unwrap(), all);
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Optional {
    One { value: Option<Option<u8>> },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    One { either: Option<Option<u8>> },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind")]
enum OfUnit {
    One { value: Option<()> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Holes {
    First(u8),
    #[serde(skip)]
    #[allow(dead_code)]
    Second(u8),
    Third(u8),
    #[serde(rename = "4")]
    Fourth,
    Fifth {
        at: u16,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct HalfRead {
    #[serde(skip_serializing, default)]
    left_out: u8,
    #[serde(skip_deserializing)]
    dropped: u8,
    #[serde(skip_serializing, default)]
    flag: bool,
    kept: u8,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(i64),
    Text(String),
    Both { x: u8, y: f32 },
    Nothing,
    List(Vec<Untagged>),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tagged {
    #[default]
    Empty,
    Circle {
        radius: f64,
    },
    Host(Host),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Host {
    address: IpAddr,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    Pair(u8, char),
    Value(Value),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Plain {
    Unit,
    New(Option<Option<()>>),
    Pair(u128, i128),
    Struct { bytes: Vec<u8>, text: String },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Event {
    id: u64,
    #[serde(flatten)]
    kind: Tagged,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Open {
    id: u64,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sparse {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    first: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    second: Vec<u8>,
    last: u8,
}

/// Reads more than it writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lopsided {
    kept: u8,
    #[serde(skip_serializing, default)]
    left_out: u8,
    also: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Loaded {
    Bulk { numbers: Bulk<u32> },
    End { end: Receiver<u64> },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type")]
enum Internal {
    Number(u8),
}

#[derive(Serialize, Deserialize)]
struct Needs {
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    n: u8,
}

/// Is written as a number, and read as something else.
#[derive(Debug, Serialize)]
struct Odd(u8);

impl<'de> Deserialize<'de> for Odd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Text {
            Text(String),
        }
        Text::deserialize(deserializer).map(|Text::Text(text)| Self(text.len() as u8))
    }
}

/// Is written as something, and read as whatever is there.
#[derive(Serialize)]
struct Passes(Value);

impl<'de> Deserialize<'de> for Passes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(Value::Null))
    }
}
