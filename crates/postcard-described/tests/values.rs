//! Values of all kinds of types, with all of serde's attributes, arrive.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt::Debug;
use std::net::IpAddr;

use postcard_described::{Error, from_slice, to_vec, to_writer};
use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let bytes = to_vec(value).unwrap();
    assert_eq!(from_slice::<T>(&bytes).unwrap(), *value);
    let mut written = Vec::new();
    to_writer(value, &mut written).unwrap();
    assert_eq!(written, bytes);
}

fn read<T: DeserializeOwned>(value: &impl Serialize) -> Result<T, Error> {
    from_slice(&to_vec(value).unwrap())
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
    Host {
        address: IpAddr,
        port: Option<u16>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Unit,
    Pair(u8, char),
    Value(Value),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum External {
    Unit,
    New(Option<Option<()>>),
    Pair(u128, i128),
    Struct {
        bytes: Vec<u8>,
        text: String,
    },
    #[serde(skip)]
    #[allow(dead_code)]
    Skipped,
    Last(Box<External>),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Event {
    id: u64,
    #[serde(flatten)]
    kind: Tagged,
    #[serde(default, skip_serializing_if = "Option::is_none")]
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

/// A byte string, in any form in which it is read.
#[derive(Debug, PartialEq)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| Self(bytes.into()))
    }
}

/// A sequence that does not know its length.
#[derive(Debug, PartialEq)]
struct Unknown(Vec<u8>);

impl Serialize for Unknown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().filter(|_| true))
    }
}

impl<'de> Deserialize<'de> for Unknown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self)
    }
}

#[test]
fn json_travels() {
    there_and_back(
        &json!({"a": [1, -2, 2.5, null, true, "x"], "b": {"c": {}, "d": []}, "e": u64::MAX}),
    );
    there_and_back(&Value::Null);
    there_and_back(&json!([[], [[1]], [[1, 2], "a"], [[1, 2], "a"]]));
}

#[test]
fn enums_of_all_forms_travel() {
    for value in [
        Untagged::Number(-5),
        Untagged::Text("five".into()),
        Untagged::Both { x: 1, y: 0.5 },
        Untagged::Nothing,
        Untagged::List(vec![Untagged::Number(1), Untagged::Text("a".into())]),
    ] {
        there_and_back(&value);
        there_and_back(&vec![value; 20]);
    }
    let address: IpAddr = [127, 0, 0, 1].into();
    for value in [
        Tagged::Circle { radius: -0.0 },
        Tagged::Empty,
        Tagged::Host {
            address,
            port: Some(80),
        },
        Tagged::Host {
            address: [0; 16].into(),
            port: None,
        },
    ] {
        there_and_back(&value);
        there_and_back(&Event {
            kind: value,
            ..Event::default()
        });
    }
    there_and_back(
        &[
            Adjacent::Unit,
            Adjacent::Pair(1, 'ü'),
            Adjacent::Value(json!({"k": [1]})),
        ]
        .to_vec(),
    );
    let last = External::Last(Box::new(External::Unit));
    there_and_back(&vec![
        External::Unit,
        External::New(Some(None)),
        External::New(Some(Some(()))),
        External::Pair(u128::MAX, i128::MIN),
        External::Struct {
            bytes: vec![0, 255],
            text: String::new(),
        },
        last.clone(),
        External::Last(Box::new(last)),
    ]);
}

#[test]
fn what_is_left_out_is_found_by_name() {
    let rest = BTreeMap::from([("more".to_owned(), json!([1, {"deep": null}]))]);
    there_and_back(&Open { id: 7, rest });
    let note = Some("there".to_owned());
    there_and_back(&Event {
        id: 7,
        note,
        kind: Tagged::Empty,
    });
    let sparse = |first, second: &[u8]| Sparse {
        first,
        second: second.to_vec(),
        last: 3,
    };
    let all = vec![
        sparse(None, &[]),
        sparse(Some(1), &[]),
        sparse(None, &[2]),
        sparse(Some(0), &[0]),
    ];
    let all = vec![all; 50];
    there_and_back(&all);
    let bytes = to_vec(&all).unwrap();
    for cut in 0..bytes.len() {
        assert!(from_slice::<Vec<Vec<Sparse>>>(&bytes[..cut]).is_err());
    }

    // A field more, a field less, another order.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Later {
        last: u16,
        #[serde(default)]
        new: Option<String>,
        #[serde(default)]
        first: Option<u8>,
    }
    let later = Later {
        last: 3,
        new: None,
        first: Some(1),
    };
    assert_eq!(read::<Later>(&sparse(Some(1), &[9])).unwrap(), later);
    let error = read::<Later>(&json!({"first": 1})).unwrap_err();
    assert!(
        matches!(&error, Error::Described(words) if words.contains("missing field `last`")),
        "{error}"
    );
}

#[test]
fn what_json_has_not_travels() {
    there_and_back(&(i128::MIN, u128::MAX, 'ü', [1.5f32; 3]));
    there_and_back(&Bytes(vec![0, 255, 7]));
    there_and_back(&Unknown(vec![1, 2, 3]));
    there_and_back(&Unknown(Vec::new()));
    there_and_back(&HashMap::from([(1u8, 'a'), (255, 'b')]));
    there_and_back(&BTreeMap::from([
        ((1, 'x'), vec![Some(())]),
        ((2, 'y'), vec![None]),
    ]));
    there_and_back(&BTreeMap::from([(Some(true), 1), (None, 2)]));
    there_and_back(&vec![Some(None), Some(Some(())), None]);
    let nan: f64 = read(&f64::NAN).unwrap();
    assert!(nan.is_nan());
    let borrowed: (&str, &[u8]) = ("borrowed", b"too");
    let bytes = to_vec(&(borrowed.0, Bytes(borrowed.1.into()))).unwrap();
    assert_eq!(from_slice::<(&str, &[u8])>(&bytes).unwrap(), borrowed);
}

#[test]
fn what_is_not_wanted_is_skipped() {
    let nested = json!([[1, 2, "x"], {"a": {"b": [null, 1.5]}}]);
    let (IgnoredAny, after): (_, u8) = read(&(nested, 7u8)).unwrap();
    assert_eq!(after, 7);
}

#[test]
fn what_cannot_travel_says_why() {
    #[derive(Serialize)]
    #[serde(tag = "type")]
    enum Internal {
        Number(u8),
    }
    let error = to_vec(&Internal::Number(1)).unwrap_err();
    assert!(
        matches!(&error, Error::Serialize(words) if words.contains("newtype variant")),
        "{error}"
    );
    let error = read::<Untagged>(&Some(true)).unwrap_err();
    assert!(
        matches!(&error, Error::Described(words) if words.contains("did not match")),
        "{error}"
    );
    let error = read::<(u8, u8)>(&(1u8, 2u8, 3u8)).unwrap_err();
    assert!(matches!(error, Error::LeftOver(_)), "{error}");
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(to_writer(&1, Full), Err(Error::Io(_))));
}

/// Parts of one shape are read without their description only as what they were written as.
#[test]
fn a_run_can_be_read_as_another_type() {
    for count in [0, 1, 2, 8, 9, 10, 200, 20_000] {
        let pairs: Vec<_> = (0..count).map(|n| (n as u8, n % 3 == 0)).collect();
        assert_eq!(read::<Vec<(u8, bool)>>(&pairs).unwrap(), pairs);
        let wide: Vec<_> = pairs
            .iter()
            .map(|pair| (u64::from(pair.0), pair.1))
            .collect();
        assert_eq!(read::<Vec<(u64, bool)>>(&pairs).unwrap(), wide);
        let rows: Vec<[u16; 3]> = (0..count).map(|n| [n as u16, 0, 7]).collect();
        let longer: Vec<Vec<u16>> = rows.iter().map(|row| row.to_vec()).collect();
        assert_eq!(read::<Vec<Vec<u16>>>(&rows).unwrap(), longer);
        let back: Vec<[u16; 3]> = read(&longer).unwrap();
        assert_eq!(back, rows);
        let nested = vec![Some(pairs.clone()), None, Some(pairs)];
        assert_eq!(
            read::<Vec<Option<Vec<(u8, bool)>>>>(&nested).unwrap(),
            nested
        );
        let map: BTreeMap<_, _> = (0..count).map(|n| ((n, 1u8), [n; 2])).collect();
        assert_eq!(read::<BTreeMap<(i32, u8), [i32; 2]>>(&map).unwrap(), map);
        let mixed: Vec<Value> = (0..count).map(|n| json!(n)).collect();
        assert_eq!(
            read::<Vec<Value>>(&(0..count).collect::<Vec<i32>>()).unwrap(),
            mixed
        );
    }
    type Twelve = (u16, u16, u16, u16, u16, u16, u16, u16, u16, u32, u64, i64);
    let twelve = (9, 9, 9, 9, 9, 9, 9, 9, 9, 900, 900, 900);
    let list = [vec![9u16; 9], vec![900; 3]].concat();
    assert_eq!(read::<Twelve>(&list).unwrap(), twelve);
    let pairs = vec![(1u8, 2u8); 100];
    assert!(read::<Vec<(u8, bool)>>(&pairs).is_err());
    assert!(read::<Vec<[u8; 3]>>(&pairs).is_err() && read::<Vec<[u8; 1]>>(&pairs).is_err());
}

#[test]
fn runs_of_one_kind_and_of_others_follow_one_another() {
    let (one, text) = (Untagged::Number(-1), Untagged::Text("ü".to_owned()));
    let many = Untagged::List(vec![Untagged::Both { x: 1, y: 0.5 }; 3]);
    for length in [1, 2, 3, 127, 128, 129, 20_000] {
        let kinds = [&one, &text, &many, &many, &text, &one];
        let runs: Vec<_> = kinds
            .iter()
            .flat_map(|kind| vec![(*kind).clone(); length])
            .collect();
        there_and_back(&(runs, vec![(); 5], 7));
    }
}

/// A struct with so many fields, each with a name of its own.
struct Wide(&'static [String]);

impl Serialize for Wide {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Wide", self.0.len())?;
        for (name, n) in self.0.iter().zip(0u16..) {
            fields.serialize_field(name, &n)?;
        }
        fields.end()
    }
}

#[test]
fn names_beyond_the_table_are_written_out() {
    let names: Vec<String> = (0..700).map(|n| format!("field {n}")).collect();
    let names: &'static [String] = names.leak();
    for count in [1, 254, 255, 256, 700] {
        let wide = Wide(&names[..count]);
        let all: Vec<BTreeMap<String, u16>> = read(&[&wide, &wide]).unwrap();
        let same: BTreeMap<String, u16> = names[..count].iter().cloned().zip(0..).collect();
        assert_eq!(all, [same.clone(), same]);
    }
}

/// Vectors of bytes are copied (`raw_numbers.rs`), and arrive as if they were not.
#[test]
fn bytes_travel_in_every_place() {
    let bytes = |length: usize| (0..length).map(|n| n as u8).collect::<Vec<u8>>();
    for length in [0, 1, 2, 127, 128, 20_000] {
        there_and_back(&(
            1_u64,
            bytes(length),
            Some(bytes(length)),
            "behind".to_owned(),
        ));
        there_and_back(&vec![bytes(length), vec![], bytes(3)]);
        there_and_back(&BTreeMap::from([(
            bytes(length),
            bytes(1).into_boxed_slice(),
        )]));
        assert_eq!(
            read::<(Vec<u8>, u8)>(&(&bytes(length)[..], 7_u8))
                .unwrap()
                .1,
            7
        );
        let wide: (Vec<u16>, Value) = read(&(bytes(length), bytes(length))).unwrap();
        assert!(wide.0.iter().map(|n| *n as u8).eq(bytes(length)));
        assert_eq!(wide.1, json!(bytes(length)));
        let narrow: (Vec<u8>, bool) =
            read(&(wide.0.iter().map(|n| n % 256).collect::<Vec<_>>(), true)).unwrap();
        assert_eq!(narrow, (bytes(length), true));
    }
    // What postcard alone would write.
    let data = postcard::to_allocvec(&(bytes(300), 5_u32)).unwrap();
    assert!(to_vec(&(bytes(300), 5_u32)).unwrap().starts_with(&data));
}

/// A sequence of bytes whose length is not known when it is written.
struct Uncounted(u8);

impl Serialize for Uncounted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..self.0).filter(|_| true))
    }
}

/// Bytes of which each is read as its complement.
#[derive(Debug, PartialEq)]
struct Complement(Vec<u8>);

impl<'de> Deserialize<'de> for Complement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<u8>, A::Error> {
                let mut all = Vec::new();
                while let Some(byte) = seq.next_element::<u8>()? {
                    all.push(!byte);
                }
                Ok(all)
            }
        }

        deserializer.deserialize_seq(Each).map(Self)
    }
}

#[test]
fn bytes_that_others_write_or_read_are_theirs() {
    for count in [0, 1, 200] {
        let known: Vec<u8> = (0..count).collect();
        let uncounted = (Uncounted(count), 9_u8);
        assert_eq!(
            read::<(Vec<u8>, u8)>(&uncounted).unwrap(),
            (known.clone(), 9)
        );
        let other = known.iter().map(|byte| !byte).collect();
        assert_eq!(
            read::<(Complement, u8)>(&(known, 9_u8)).unwrap(),
            (Complement(other), 9)
        );
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Newtype(u8);

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Holder {
    whole: Vec<u8>,
    maybe: Option<Vec<u8>>,
    boxed: Box<[u8]>,
    list: Vec<Vec<u8>>,
    pair: (Vec<u8>, [Vec<u8>; 2]),
    inner: Option<Box<Holder>>,
    behind: u8,
}

/// In each place: whole, in a struct, a variant, an option, a list, a map, and next to one another.
#[test]
fn bytes_nest() {
    for bytes in [vec![], vec![0], vec![200; 300]] {
        there_and_back(&bytes);
        let holder = Holder {
            whole: bytes.clone(),
            maybe: Some(bytes.clone()),
            boxed: bytes.clone().into(),
            list: vec![bytes.clone(), vec![], bytes.clone()],
            pair: (bytes.clone(), [bytes.clone(), vec![1]]),
            inner: None,
            behind: 9,
        };
        let outer = Holder {
            inner: Some(Box::new(holder.clone())),
            ..Holder::default()
        };
        there_and_back(&outer);
        there_and_back(&vec![holder; 20]);
        let struct_variant = External::Struct {
            bytes: bytes.clone(),
            text: "x".to_owned(),
        };
        there_and_back(&vec![struct_variant; 20]);
        there_and_back(&BTreeMap::from([(
            "key".to_owned(),
            (bytes.clone(), 1_u64),
        )]));
        there_and_back(&Some(Some(bytes.clone())));
        there_and_back(&(1_u8, Box::new(bytes)));
    }
}

/// What is as large as a byte, or is a vector, is not taken for a vector of bytes.
#[test]
fn vectors_of_other_elements_are_theirs() {
    for count in [0, 1, 2, 9, 300] {
        let bytes: Vec<u8> = (0..count).map(|n| n as u8).collect();
        there_and_back(&(bytes.iter().map(|n| *n as i8).collect::<Vec<i8>>(), 9_u8));
        there_and_back(&(
            bytes.iter().map(|n| n % 2 == 0).collect::<Vec<bool>>(),
            9_u8,
        ));
        there_and_back(&(
            bytes.iter().map(|n| u16::from(*n)).collect::<Vec<u16>>(),
            9_u8,
        ));
        there_and_back(&(bytes.iter().map(|n| Newtype(*n)).collect::<Vec<_>>(), 9_u8));
        there_and_back(&(bytes.iter().map(|n| [*n]).collect::<Vec<[u8; 1]>>(), 9_u8));
        there_and_back(&(bytes.iter().copied().map(Some).collect::<Vec<_>>(), 9_u8));
        there_and_back(&(vec![(); count], 9_u8));
        let queue: VecDeque<u8> = bytes.iter().copied().collect();
        there_and_back(&(queue.clone(), 9_u8));
        there_and_back(&(bytes.iter().copied().collect::<BTreeSet<u8>>(), 9_u8));
        // Each of these writes the same as the vector, and is read from what it writes.
        let newtypes: Vec<Newtype> = bytes.iter().map(|n| Newtype(*n)).collect();
        assert_eq!(
            read::<(Vec<u8>, u8)>(&(&queue, 9_u8)).unwrap(),
            (bytes.clone(), 9)
        );
        assert_eq!(
            read::<(Vec<u8>, u8)>(&(&newtypes, 9_u8)).unwrap(),
            (bytes.clone(), 9)
        );
        assert_eq!(
            read::<(VecDeque<u8>, u8)>(&(&bytes, 9_u8)).unwrap(),
            (queue, 9)
        );
        assert_eq!(
            read::<(Vec<Newtype>, u8)>(&(&bytes, 9_u8)).unwrap(),
            (newtypes, 9)
        );
    }
}

fn numbers_in_all_places<N>(number: impl Fn(usize) -> N)
where
    N: Serialize + DeserializeOwned + PartialEq + Debug + Clone,
{
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Holder<N> {
        whole: Vec<N>,
        maybe: Option<Vec<N>>,
        boxed: Box<[N]>,
        list: Vec<Vec<N>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left_out: Option<u8>,
        behind: u8,
    }

    for count in [0, 1, 63, 64, 65, 300] {
        let all: Vec<N> = (0..count).map(&number).collect();
        there_and_back(&all);
        let holder = || Holder {
            whole: all.clone(),
            maybe: Some(all.clone()),
            boxed: all.clone().into(),
            list: vec![all.clone(), vec![], all[..count / 2].to_vec(), all.clone()],
            left_out: None,
            behind: 9,
        };
        there_and_back(&vec![holder(), holder()]);
        there_and_back(&BTreeMap::from([(7, (all.clone(), 1_u8))]));
        // Those that others collect or read are theirs, one by one.
        let queue: VecDeque<N> = all.iter().cloned().collect();
        assert_eq!(read::<Vec<N>>(&queue).unwrap(), all);
        assert_eq!(
            read::<(VecDeque<N>, u8)>(&(&all, 9_u8)).unwrap(),
            (queue, 9)
        );
        let each: Vec<Option<N>> = all.iter().cloned().map(Some).collect();
        assert_eq!(read::<Vec<Option<N>>>(&all).unwrap(), each);
        assert_eq!(read::<Vec<Wrapped<N>>>(&all).unwrap().len(), count);
        let json: Value = read(&all).unwrap();
        assert_eq!(json, serde_json::to_value(&all).unwrap());
        let skipped: (IgnoredAny, u8) = read(&(&all, 9_u8)).unwrap();
        assert_eq!(skipped.1, 9);
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapped<N>(N);

#[test]
fn vectors_of_numbers_travel_in_every_place() {
    numbers_in_all_places(|n| n as u8);
    numbers_in_all_places(|n| (n * 217) as u16);
    numbers_in_all_places(|n| (n as u32).wrapping_mul(0x9e37_79b9));
    numbers_in_all_places(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    numbers_in_all_places(|n| n.wrapping_mul(0x9e37_79b9));
    numbers_in_all_places(|n| (n as i8).wrapping_neg());
    numbers_in_all_places(|n| -(n as i16) * 99);
    numbers_in_all_places(|n| -(n as i32) * 9999);
    numbers_in_all_places(|n| -(n as i64) * 99_999_999);
    numbers_in_all_places(|n| -(n as isize) * 9999);
    numbers_in_all_places(|n| n as u128);
    numbers_in_all_places(|n| -(n as i128));
    numbers_in_all_places(|n| n as f32 / 4.0);
    numbers_in_all_places(|n| -(n as f64) / 8.0);
}

#[test]
fn vectors_of_arrays_travel_in_every_place() {
    numbers_in_all_places(|n| [n as u8; 32]);
    numbers_in_all_places(|n| [n as u16, 1, 2]);
    numbers_in_all_places(|n| [!(n as u64); 1]);
    numbers_in_all_places(|n| [n, 9]);
    numbers_in_all_places(|n| [-(n as i32); 17]);
    numbers_in_all_places(|n| [-(n as i128), 7]);
    numbers_in_all_places(|n| [n as f32 / 4.0, 0.5, 1.0]);
    numbers_in_all_places(|n| [-(n as f64) / 8.0; 16]);
    numbers_in_all_places(|n| [[n as u32, 1], [2, 3]]);
    // As other types that look like them.
    let all = vec![[1_u32, 2, 3]; 100];
    assert_eq!(read::<Vec<(u32, u64, i8)>>(&all).unwrap(), [(1, 2, 3); 100]);
    assert_eq!(read::<Vec<Vec<u32>>>(&all).unwrap(), vec![[1, 2, 3]; 100]);
    assert_eq!(read::<Vec<[u64; 3]>>(&all).unwrap(), [[1, 2, 3]; 100]);
    assert!(read::<Vec<[u32; 2]>>(&all).is_err() && read::<Vec<[u32; 4]>>(&all).is_err());
    assert!(read::<Vec<u32>>(&all).is_err());
    assert!(read::<Vec<[u32; 3]>>(&vec![7_u32; 100]).is_err());
}

/// Numbers of 128 bits are read as the numbers that they are, in each place and however many there
/// are, also where a value is buffered; one that does not fit is an error that says so.
#[test]
fn wide_numbers_are_read_as_narrow_ones_if_they_fit() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Buffered {
        Numbers(Vec<u64>),
    }
    for length in [1, 2, 64, 65, 1000] {
        let (wide, signed) = (vec![5_u128; length], vec![-5_i128; length]);
        let narrow = vec![5_u64; length];
        assert_eq!(read::<Vec<u64>>(&wide).unwrap(), narrow, "{length}");
        assert_eq!(read::<Vec<i32>>(&signed).unwrap(), vec![-5; length]);
        assert_eq!(read::<Vec<i128>>(&wide).unwrap(), vec![5; length]);
        assert_eq!(
            read::<(u8, Vec<u64>)>(&(7_u8, wide.clone())).unwrap().1,
            narrow
        );
        assert_eq!(read::<Buffered>(&wide).unwrap(), Buffered::Numbers(narrow));
        let mut large = wide;
        large[length - 1] = u128::MAX;
        let error = read::<Vec<u64>>(&large).unwrap_err().to_string();
        assert!(error.contains(&u128::MAX.to_string()), "{length}: {error}");
        assert_eq!(read::<Vec<u128>>(&large).unwrap(), large);
    }
}

/// Many numbers are copied as they are in memory, wherever they stand; few are shorter than that.
#[test]
fn many_numbers_take_their_memory() {
    let length = |count: usize| {
        let numbers = vec![u64::MAX; count];
        to_vec(&Some((numbers, 7_u8))).unwrap().len() - 8 * count
    };
    assert_eq!((length(65), length(10_000)), (16, 17));
    let small = vec![1_u64; 64];
    assert!(to_vec(&small).unwrap().len() < 80);
    // A number that does not fit is an error, as elsewhere.
    assert!(read::<Vec<u8>>(&vec![256_u16; 65]).is_err());
    assert_eq!(read::<Vec<u8>>(&vec![255_u16; 65]).unwrap(), [255; 65]);
}

/// A number that does not fit is an error: its bytes would be another number.
#[test]
fn numbers_of_other_types_are_read_if_they_fit() {
    let refused = |error: Error| {
        assert!(
            matches!(&error, Error::Value(words) if words.contains("invalid value")),
            "{error}"
        );
    };
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Of<N> {
        number: N,
    }
    assert_eq!(read::<i16>(&20_000_u16).unwrap(), 20_000);
    assert_eq!(read::<u32>(&7_i64).unwrap(), 7);
    assert_eq!(read::<i128>(&u64::MAX).unwrap(), i128::from(u64::MAX));
    refused(read::<i16>(&40_000_u16).unwrap_err());
    refused(read::<i8>(&255_u8).unwrap_err());
    refused(read::<u32>(&-2).unwrap_err());
    refused(read::<u8>(&256_u16).unwrap_err());
    refused(read::<Of<i16>>(&Of { number: 40_000_u16 }).unwrap_err());
    refused(read::<Vec<i16>>(&vec![1, 40_000_u16]).unwrap_err());
    refused(read::<Vec<i16>>(&vec![40_000_u16; 100]).unwrap_err());
    refused(read::<std::num::NonZeroU8>(&0_u8).unwrap_err());
    assert_eq!(
        read::<Of<u8>>(&Of { number: 255_u64 }).unwrap(),
        Of { number: 255 }
    );
}

/// serde's buffer has no numbers of 128 bits.
#[test]
fn what_serde_cannot_buffer_is_an_error_as_with_json() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Wide { number: i128 },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", content = "content")]
    enum Beside {
        Wide { number: i128 },
    }
    for number in [5, i128::MAX] {
        let tagged = Tagged::Wide { number };
        let text = serde_json::to_string(&tagged).unwrap();
        assert!(serde_json::from_str::<Tagged>(&text).is_err());
        assert!(read::<Tagged>(&tagged).is_err());
        there_and_back(&Beside::Wide { number });
    }
}
