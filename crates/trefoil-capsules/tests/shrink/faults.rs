//! Thirty planted faults, each with the smallest argument that has it.
//!
//! Each comes down to that one, or within two elements of it, in at most 2,000 runs, and with the
//! same signature. `TREFOIL_FULL=1` runs all of them, otherwise one of each kind of end is tried;
//! each prints a line of a table. With `TREFOIL_TMIN=60` a byte-wise minimiser has the same
//! arguments encoded, for so many seconds each.

use std::any::type_name;
use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::process::{abort, exit};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use trefoil::process::Portable;
use trefoil::{Bulk, ProcessPool, ProcessPoolBuilder, TaskError};
use trefoil_capsules::{Budget, Capsule, KeepFailures, capsule_of, groups, replayable};
use trefoil_capsules::{replayable_with, shrink};

use crate::support::{self, Test};
use crate::{Kept, tmin::tmin};

/// The time limit of items that hang.
const LIMIT: Duration = Duration::from_millis(400);

/// A line of the table.
pub(crate) struct Row {
    /// Bytes of the encoded argument.
    before: usize,
    after: usize,
    runs: usize,
    seconds: f64,
    /// How far from the smallest one.
    distance: usize,
    by_tmin: Option<(usize, usize)>,
}

fn letters(count: usize) -> String {
    let mut text = String::new();
    for n in 0..count {
        text.push(char::from(b'a' + (n * 7 % 26) as u8));
    }
    text
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Sum {
    Zero,
    Number(i64),
    Add(Box<Sum>, Box<Sum>),
    Divide(Box<Sum>, Box<Sum>),
}

fn value_of(sum: &Sum) -> i64 {
    match sum {
        Sum::Zero => 0,
        Sum::Number(n) => *n,
        Sum::Add(one, other) => value_of(one).wrapping_add(value_of(other)),
        Sum::Divide(one, other) => value_of(one) / value_of(other),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    value: u8,
    next: Option<Box<Node>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Event {
    Opened {
        name: String,
    },
    Moved {
        x: f64,
        y: f64,
    },
    Closed {
        code: Option<i32>,
        words: Vec<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Json {
    Number(i64),
    Text(String),
    All(Vec<Json>),
    Fields(BTreeMap<String, Json>),
}

fn has_key(json: &Json, key: &str) -> bool {
    match json {
        Json::Number(_) | Json::Text(_) => false,
        Json::All(all) => all.iter().any(|json| has_key(json, key)),
        Json::Fields(all) => all
            .iter()
            .any(|(name, json)| name == key || has_key(json, key)),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    id: u64,
    who: String,
    amounts: Vec<f64>,
    note: Option<String>,
    paid: bool,
}

#[cfg(unix)]
fn die_by(signal: i32) -> ! {
    loop {
        #[allow(unsafe_code)]
        // SAFETY: a call with a number.
        unsafe {
            libc::raise(signal);
        }
        // (std's handler lets the first SIGSEGV return.)
    }
}

#[cfg(unix)]
fn abort_in_c() -> ! {
    #[allow(unsafe_code)]
    // SAFETY: it takes nothing, and does not return.
    unsafe {
        libc::abort()
    }
}

#[cfg(not(unix))]
fn die_by(_: i32) -> ! {
    exit(3)
}

#[cfg(not(unix))]
fn abort_in_c() -> ! {
    exit(4)
}

#[allow(unconditional_recursion)] // that is the fault
fn descend_for_ever(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    descend_for_ever(depth + 1) + black_box(room)[7]
}

/// Not a fault of the table.
pub(crate) fn slowly_finds_a_row(rows: Vec<String>) {
    std::thread::sleep(Duration::from_millis(20));
    if rows.iter().any(|row| row == "row 2222") {
        exit(1)
    }
}

/// A process for each run, forked where that can be done.
fn builder() -> ProcessPoolBuilder {
    let builder = ProcessPool::builder().workers(2).max_tasks_per_worker(1);
    #[cfg(target_os = "linux")]
    let builder = builder.start_method(trefoil::process::StartMethod::ForkServer);
    builder
}

/// Runs a fault with a large argument, and makes that small.
fn run<A, R>(name: &'static str, large: A, f: fn(A) -> R, distance: impl Fn(&A) -> usize) -> Row
where
    A: Portable,
    R: Portable,
{
    let kept = Kept::new(name);
    let builder = builder().memory_limit(512 << 20).env("RUST_BACKTRACE", "0");
    let builder = builder.keep_failures(&kept.0);
    let procs = builder.build().unwrap();
    let bytes = encode(&large);
    let error = call(&procs, f, large).unwrap_err();
    let capsule = Capsule::open(capsule_of(&error).unwrap()).unwrap();
    shrink_it(&kept, &procs, name, &capsule, bytes, f, distance)
}

fn call<A: Portable, R: Portable>(
    procs: &ProcessPool,
    f: fn(A) -> R,
    argument: A,
) -> Result<(), TaskError> {
    let limit = if type_name::<A>().contains("Hang") {
        LIMIT
    } else {
        Duration::from_secs(20)
    };
    procs
        .call(f)
        .timeout(limit)
        .spawn(argument)
        .join()
        .map(drop)
}

/// What a byte-wise minimiser makes of these bytes, if it is asked for.
fn by_tmin<A: Portable>(
    bytes: &[u8],
    argument: A,
    call: impl Fn(A) -> Result<(), TaskError>,
) -> Option<(usize, usize)> {
    let seconds = std::env::var("TREFOIL_TMIN").ok()?;
    let ends = |argument| call(argument).map_err(|error| std::mem::discriminant(&error));
    let expected = ends(argument);
    let end = Instant::now() + Duration::from_secs(seconds.parse().expect("TREFOIL_TMIN"));
    let (least, runs) = tmin(bytes.to_vec(), 2000, |bytes| {
        if Instant::now() > end {
            return None;
        }
        let value = decode::<A>(bytes);
        Some(value.is_some_and(|value| ends(value) == expected))
    });
    Some((least.len(), runs))
}

fn shrink_it<A: Portable, R: Portable>(
    kept: &Kept,
    procs: &ProcessPool,
    name: &'static str,
    capsule: &Capsule,
    bytes: Vec<u8>,
    f: fn(A) -> R,
    distance: impl Fn(&A) -> usize,
) -> Row {
    let began = Instant::now();
    let shrunk = shrink(capsule, procs, Budget::default()).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    let small: A = shrunk.capsule.argument().unwrap();
    // Both ended the same way.
    let all = groups(&kept.0).unwrap();
    let files: Vec<_> = all
        .iter()
        .map(|group| (group.how(), group.count()))
        .collect();
    // (A busy machine may have known less of the first.)
    let is_same =
        |how: &str| shrunk.capsule.error().starts_with("worker") && how == "killed by signal 6";
    assert!(
        all.len() == 1 || all.iter().any(|group| is_same(&group.how())),
        "{name}: {files:?}"
    );
    let by_tmin = by_tmin(&bytes, capsule.argument().unwrap(), |argument| {
        call(procs, f, argument)
    });
    Row {
        before: bytes.len(),
        after: encode(&small).len(),
        runs: shrunk.runs,
        seconds,
        distance: distance(&small),
        by_tmin,
    }
}

/// As a call does it: simple types have no description.
fn encode<A: Portable>(value: &A) -> Vec<u8> {
    match postcard_described::is_undescribed::<A>() {
        true => postcard::to_stdvec(value).unwrap(),
        false => postcard_described::to_vec(value).unwrap(),
    }
}

fn decode<A: Portable>(bytes: &[u8]) -> Option<A> {
    match postcard_described::is_undescribed::<A>() {
        true => match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Some(value),
            _ => None,
        },
        false => postcard_described::from_slice(bytes).ok(),
    }
}

/// A function, a large argument, and how far another one is from the smallest.
macro_rules! faults {
    ($($name:ident($argument:ident: $type:ty) $body:block large: $large:expr, smallest: $check:expr;)*) => {
        $(
            #[allow(unused_variables)]
            fn $name($argument: $type) $body
        )*

        fn name_all() {
            $(replayable(stringify!($name), $name);)*
        }

        pub(crate) static TESTS: &[Test] = &[
            $(Test {
                name: concat!(module_path!(), "::", stringify!($name)),
                run: || {
                    let distance: fn(&$type) -> usize = $check;
                    small(stringify!($name), |name| run(name, $large, $name, distance));
                },
            },)*
            Test {
                name: concat!(module_path!(), "::with_a_context"),
                run: || small("with_a_context", with_a_context),
            },
        ];
    };
}

/// An argument of an item that hangs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hang<T>(T);

fn is(same: bool) -> usize {
    if same { 0 } else { 9 }
}

faults! {
    row_with_a_nul(rows: Vec<String>) {
        assert!(!rows.iter().any(|row| row.contains('\0')), "a NUL");
    }
    large: (0..10_000).map(|n| format!("row {n}{}", if n == 4711 { "\0" } else { "" })).collect(),
    smallest: |rows| is(rows[..] == ["\0"]);

    unpaired_bracket(text: String) {
        let mut depth = 0i64;
        for letter in text.chars() {
            depth += i64::from(letter == '(') - i64::from(letter == ')');
        }
        if depth != 0 { abort() }
    }
    large: {
        let mut text = letters(1 << 20);
        text.insert_str(700_001, "(a)(b)(");
        text
    },
    smallest: |text| text.len() - 1;

    two_in_order(all: Vec<u32>) {
        let first = all.iter().position(|n| *n == 1234);
        if first.is_some_and(|at| all[at..].contains(&8765)) { exit(3) }
    }
    large: (0..10_000).collect(),
    smallest: |all| is(all[..] == [1234, 8765]);

    just_above_a_bound(n: u64) {
        assert!(n <= 123_456_789_012, "{n} is too much");
    }
    large: u64::MAX - 5,
    smallest: |n| (n - 123_456_789_013) as usize;

    nested_enum(sum: Sum) {
        black_box(value_of(&sum));
    }
    large: (0..60).fold(Sum::Divide(Sum::Number(77).into(), Sum::Number(0).into()), |sum, n| {
        Sum::Add(Sum::Number(n).into(), Sum::Add(sum.into(), Sum::Number(-n).into()).into())
    }),
    smallest: |sum| is(*sum == Sum::Divide(Sum::Zero.into(), Sum::Zero.into()));

    hang(all: Hang<Vec<u8>>) {
        if all.0.contains(&0xff) { support::forever() }
    }
    large: Hang((0..3000).map(|n| if n == 1999 { 0xff } else { (n % 200) as u8 }).collect()),
    smallest: |all| is(all.0 == [0xff]);

    a_gibibyte(rows: Vec<String>) {
        if rows.iter().any(|row| row.starts_with("alloc")) {
            black_box(vec![1u8; 1 << 30]);
        }
    }
    large: (0..500).map(|n| if n == 77 { "allocate".to_owned() } else { format!("row {n}") }).collect(),
    smallest: |rows| is(rows[..] == ["alloc"]);

    abort_in_a_library(order: Order) {
        if order.amounts.len() > 3 && order.note.is_some() { abort_in_c() }
    }
    large: Order {
        id: 4711,
        who: letters(300),
        amounts: (0..200).map(|n| f64::from(n) * 1.25).collect(),
        note: Some(letters(2000)),
        paid: true,
    },
    smallest: |order| is(*order == Order {
        id: 0,
        who: String::new(),
        amounts: vec![0.0; 4],
        note: Some(String::new()),
        paid: false,
    });

    index_out_of_range(row: Vec<u8>) {
        black_box(row[usize::from(row[0])]);
    }
    large: (0..200).map(|n| 250 - n as u8).collect(),
    smallest: |row| row.len().abs_diff(1);

    exits(text: String) {
        if text.contains("quit") { exit(17) }
    }
    large: format!("{}quit{}", letters(5000), letters(3000)),
    smallest: |text| is(text == "quit");

    segmentation_fault(all: Vec<Option<u16>>) {
        if all.iter().filter(|one| one.is_none()).count() > 2 { die_by(11) }
    }
    large: (0..2000).map(|n| (n % 500 != 3).then_some(n as u16)).collect(),
    smallest: |all| is(*all == [None, None, None]);

    stack_overflow(text: String) {
        if text.contains('#') { black_box(descend_for_ever(0)); }
    }
    large: format!("{}#{}", letters(3000), letters(1000)),
    smallest: |text| is(text == "#");

    options_in_options(one: Option<Option<String>>) {
        if let Some(Some(text)) = one { assert!(text.len() < 5, "too long") }
    }
    large: Some(Some(letters(900))),
    smallest: |one| is(*one == Some(Some("aaaaa".to_owned())));

    entry_of_a_map(all: BTreeMap<String, Vec<u8>>) {
        if all.get("bad").is_some_and(|row| row.len() > 3) { exit(2) }
    }
    large: (0..400).map(|n| match n {
        123 => ("bad".to_owned(), vec![9; 50]),
        n => (format!("key {n}"), vec![n as u8; 20]),
    }).collect(),
    smallest: |all| is(*all == BTreeMap::from([("bad".to_owned(), vec![0; 4])]));

    elements_of_a_set(all: BTreeSet<u32>) {
        if all.contains(&77) && all.contains(&500) { abort() }
    }
    large: (0..3000).collect(),
    smallest: |all| is(*all == BTreeSet::from([77, 500]));

    not_a_number(order: Order) {
        assert!(!order.amounts.iter().any(|amount| amount.is_nan()), "no number");
    }
    large: Order {
        id: 1,
        who: letters(50),
        amounts: (0..999).map(|n| if n == 500 { f64::NAN } else { n.into() }).collect(),
        note: None,
        paid: true,
    },
    smallest: |order| order.amounts.len() - 1 + order.who.len();

    a_fraction(n: f64) {
        assert!(n <= 0.5, "more than half");
    }
    large: 8_123.739_127,
    smallest: |n| is(*n == 1.0);

    below_a_bound(n: i64) {
        assert!(n >= -1_000_000, "{n}");
    }
    large: i64::MIN + 17,
    smallest: |n| (-1_000_001 - n) as usize;

    beyond_ascii(text: String) {
        if !text.is_ascii() { exit(6) }
    }
    large: format!("{}\u{e9}{}", letters(4000), letters(10)),
    smallest: |text| text.chars().count() - 1;

    ragged_rows(rows: Vec<Vec<u8>>) {
        let first = rows.first().map_or(0, Vec::len);
        assert!(rows.iter().all(|row| row.len() == first), "ragged");
    }
    large: (0..500).map(|n| vec![7; if n == 321 { 19 } else { 20 }]).collect(),
    smallest: |rows| rows.len() - 2 + rows.iter().map(Vec::len).sum::<usize>() - 1;

    an_equal_pair(all: Vec<u32>) {
        let set: BTreeSet<u32> = all.iter().copied().collect();
        if set.len() < all.len() { die_by(8) }
    }
    large: (0..2000).map(|n| if n == 1500 { 300 } else { n }).collect(),
    smallest: |all| is(*all == [0, 0]);

    a_length(row: Vec<u8>) {
        assert!(row.len() < 1000, "too long");
    }
    large: (0..20_000).map(|n| n as u8).collect(),
    smallest: |row| row.len() - 1000 + row.iter().filter(|byte| **byte > 0).count();

    a_sum(pair: (u32, u32)) {
        assert!(pair.0.saturating_add(pair.1) <= 1000, "too much");
    }
    large: (900_000, 7_000_000),
    smallest: |pair| (pair.0 + pair.1 - 1001) as usize;

    bulk_numbers(all: Bulk<f64>) {
        if all.iter().any(|n| *n < -0.5) { exit(8) }
    }
    large: (0..5000).map(|n| if n == 3210 { -1.0 } else { n.into() }).collect::<Vec<f64>>().into(),
    smallest: |all| all.len() - 1;

    tagged_events(all: Vec<Event>) {
        for event in all {
            if let Event::Closed { code: Some(code), words } = event {
                assert!(code < 100 || words.is_empty(), "an odd end");
            }
        }
    }
    large: (0..600).map(|n| match n % 3 {
        0 => Event::Opened { name: letters(10) },
        1 => Event::Moved { x: n.into(), y: 0.5 },
        _ => Event::Closed {
            code: (n > 500).then_some(n * 10),
            words: if n == 551 { vec![letters(5); 3] } else { Vec::new() },
        },
    }).collect(),
    smallest: |all| is(*all == [Event::Closed { code: Some(100), words: vec![String::new()] }]);

    a_key_in_json(json: Json) {
        if has_key(&json, "__proto__") { abort() }
    }
    large: {
        let inner = Json::Fields(BTreeMap::from([("__proto__".to_owned(), Json::Number(7))]));
        (0..30).fold(inner, |inner, n| {
            let others = (0..5).map(|n| Json::Text(letters(n)));
            let all = Json::All(others.chain([inner, Json::Number(n)]).collect());
            Json::Fields(BTreeMap::from([(format!("level {n}"), all)]))
        })
    },
    smallest: |json| match json {
        Json::Fields(all) => all.len() - 1 + is(matches!(all.get("__proto__"), Some(Json::Number(0) | Json::Text(_) | Json::All(_)))),
        _ => 9,
    };

    a_large_integer(pair: (u128, Vec<i8>)) {
        assert!(pair.0 < 1 << 100 || pair.1.is_empty(), "large");
    }
    large: (u128::MAX / 7, vec![-5; 300]),
    smallest: |pair| is(*pair == (1 << 100, vec![0]));

    inside_a_letter(text: String) {
        if text.len() > 1 { black_box(&text[1..]); }
    }
    large: "\u{e9}\u{20ac}".repeat(300),
    smallest: |text| text.chars().count() - 1;

    a_list_of_nodes(list: Node) {
        let (mut values, mut node) = (vec![list.value], &list.next);
        while let Some(next) = node {
            values.push(next.value);
            node = &next.next;
        }
        let first = values.iter().position(|n| *n == 77);
        assert!(!first.is_some_and(|at| values[at..].contains(&99)), "in order");
    }
    large: (0..120u8).rev().fold(Node { value: 120, next: None }, |next, value| {
        Node { value, next: Some(next.into()) }
    }),
    smallest: |list| is(*list == Node { value: 77, next: Some(Node { value: 99, next: None }.into()) });
}

#[allow(clippy::ptr_arg)] // a context has a size
fn beyond_its_context(context: &Vec<String>, at: Vec<usize>) -> usize {
    at.iter().map(|at| context[*at].len()).sum()
}

/// The thirtieth.
fn with_a_context(name: &'static str) -> Row {
    let kept = Kept::new(name);
    let procs = builder().keep_failures(&kept.0).build().unwrap();
    let context: Vec<String> = (0..50).map(letters).collect();
    let at: Vec<usize> = (0..600)
        .map(|n| if n == 444 { 3000 } else { n % 50 })
        .collect();
    let bytes = encode(&at);
    let error = procs
        .map_with(&context, [at], beyond_its_context)
        .unwrap_err();
    let capsule = Capsule::open(capsule_of(&error).unwrap()).unwrap();
    let distance = |at: &Vec<usize>| at.len() - 1 + at[0] - 50;
    let began = Instant::now();
    let shrunk = shrink(&capsule, &procs, Budget::default()).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    let small: Vec<usize> = shrunk.capsule.argument().unwrap();
    let by_tmin = by_tmin(&bytes, capsule.argument::<Vec<usize>>().unwrap(), |at| {
        let result = procs.map_with(&context, [at], beyond_its_context);
        result.map(drop)
    });
    Row {
        before: bytes.len(),
        after: encode(&small).len(),
        runs: shrunk.runs,
        seconds,
        distance: distance(&small),
        by_tmin,
    }
}

/// Before `init`.
pub(crate) fn names() {
    name_all();
    replayable_with("beyond_its_context", beyond_its_context);
    replayable("slowly_finds_a_row", slowly_finds_a_row);
    // Other names for a row's function, which end otherwise.
    replayable("mended", |row: Vec<u32>| row.first().copied());
    replayable("elsewhere", |row: Vec<u32>| row[7]);
}

/// One of each kind of end.
const SOME: [&str; 8] = [
    "row_with_a_nul",
    "two_in_order",
    "just_above_a_bound",
    "nested_enum",
    "hang",
    "a_gibibyte",
    "abort_in_a_library",
    "stack_overflow",
];

/// Makes one small, and prints its line of the table: bytes before and after, runs, seconds; by
/// tmin.
fn small(name: &'static str, run: impl FnOnce(&'static str) -> Row) {
    if std::env::var_os("TREFOIL_FULL").is_none() && !SOME.contains(&name) {
        return;
    }
    let row = run(name);
    let tmin = row.by_tmin;
    let tmin = tmin.map_or("| ".to_owned(), |(bytes, runs)| format!("{bytes} | {runs}"));
    println!(
        "| {name} | {} | {} | {} | {:.1} | {tmin} |",
        row.before, row.after, row.runs, row.seconds
    );
    let distance = row.distance;
    assert!(distance <= 2, "{name}: {distance} from the smallest");
    assert!(row.runs <= 2000, "{name}: {} runs", row.runs);
}
