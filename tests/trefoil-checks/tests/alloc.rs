//! A program with the name of one of the standard library's crates, and in it types with the full
//! names of std's. They arrive as they were.
#![cfg(not(loom))]

use std::any::type_name;

use trefoil::ProcessPool;

mod vec {
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    pub(crate) enum Vec<T> {
        First(T),
        #[serde(skip)]
        #[allow(dead_code)]
        Skipped,
        Third(T),
        Fourth(T),
    }
}

mod string {
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    pub(crate) enum String {
        Number(i64),
        Text(std::string::String),
    }
}

type Theirs = (vec::Vec<u8>, string::String);

#[test]
fn types_with_the_names_of_stds_arrive() {
    if std::env::var_os("TREFOIL_WORKER").is_some() {
        eprintln!("a worker runs `main`");
        std::process::exit(70);
    }
    assert_eq!(
        type_name::<Theirs>(),
        type_name::<(Vec<u8>, String)>(),
        "they need a name of std's"
    );
    let procs = ProcessPool::with_workers(1).unwrap();
    let vector = vec::Vec::Third(7u8);
    let found = procs.spawn(vector.clone(), |vector: vec::Vec<u8>| format!("{vector:?}"));
    assert_eq!(found.join().unwrap(), "Third(7)");
    let found = procs.spawn((), |()| vec::Vec::Third(7u8));
    assert_eq!(found.join().unwrap(), vector);
    for text in [
        string::String::Number(-5),
        string::String::Text("five".to_owned()),
    ] {
        let found = procs.spawn(text.clone(), |text: string::String| text);
        assert_eq!(found.join().unwrap(), text);
        let both = (vector.clone(), text);
        let found = procs.map([both.clone()], |both: Theirs| both);
        assert_eq!(found.unwrap(), [both]);
    }
}
