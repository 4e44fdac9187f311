//! A program with the name of this crate, and in it types with the full names of ours.
//!
//! They are as another version's may be: they ask what comes next, and leave variants out. They
//! arrive as they were.
#![cfg(not(loom))]

use std::any::type_name;

use ::trefoil::ProcessPool;

mod process {
    pub(crate) mod value {
        pub(crate) mod bulk {
            use serde::{Deserialize, Serialize};

            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            pub(crate) enum Bulk<T> {
                First(T),
                #[serde(skip)]
                #[allow(dead_code)]
                Skipped,
                Third(T),
                Fourth(T),
            }
        }

        pub(crate) mod shared {
            use serde::{Deserialize, Serialize};

            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            #[serde(untagged)]
            pub(crate) enum Shared<T> {
                One(T),
                Many(Vec<T>),
            }
        }
    }
}

use process::value::{bulk::Bulk, shared::Shared};

#[test]
fn types_with_the_names_of_ours_arrive() {
    if std::env::var_os("TREFOIL_WORKER").is_some() {
        eprintln!("a worker runs `main`");
        std::process::exit(70);
    }
    let names = [type_name::<Bulk<u8>>(), type_name::<Shared<u8>>()];
    let ours = [
        type_name::<::trefoil::Bulk<u8>>(),
        type_name::<::trefoil::Shared<u8>>(),
    ];
    assert_eq!(names, ours, "they need a name of ours");
    let procs = ProcessPool::with_workers(1).unwrap();
    let bulk = Bulk::Third(7u8);
    let many = Shared::Many(vec![1u8, 2]);
    let found = procs.spawn(bulk.clone(), |bulk: Bulk<u8>| format!("{bulk:?}"));
    assert_eq!(found.join().unwrap(), "Third(7)");
    assert_eq!(procs.spawn((), |()| Bulk::Third(7u8)).join().unwrap(), bulk);
    let found = procs.spawn(many.clone(), |many: Shared<u8>| many);
    assert_eq!(found.join().unwrap(), many);
    let both = (
        vec![bulk, Bulk::First(1), Bulk::Fourth(2)],
        Some(many),
        Shared::One(3u8),
    );
    let found = procs.map(
        [both.clone()],
        |both: (Vec<Bulk<u8>>, Option<Shared<u8>>, Shared<u8>)| both,
    );
    assert_eq!(found.unwrap(), [both]);
}
