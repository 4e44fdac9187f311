//! Several copies of the crate in one process: two versions in the program, and one in a library
//! that it loads.
//!
//! Both copies of the program have the feature `auto`, so each process of it is asked by two
//! constructors, one after the other, whether it is a worker, before libtest's `main`.
#![cfg(not(loom))]

use std::ffi::{CStr, CString, c_void};

/// A worker that was not recognized must not start workers.
fn is_a_program() {
    if std::env::var_os("TREFOIL_WORKER").is_some() {
        eprintln!("a worker runs `main`");
        std::process::exit(70);
    }
}

#[test]
fn each_copy_has_workers_of_its_own() {
    is_a_program();
    let has_thread = std::fs::read_dir("/proc/self/task").unwrap().count() > 2; // and this test's, and `main`'s
    assert!(has_thread || std::env::var_os("TREFOIL_PLUGIN_THREAD").is_none());
    fn one(x: u64) -> (u64, u64) {
        let has = |name| std::env::var_os(name).is_some();
        assert_eq!(has("TREFOIL_WORKER"), has("TREFOIL_PLUGIN_THREAD"));
        let inner = trefoil::ProcessPool::with_workers(1).unwrap();
        (x * 7, inner.spawn(x, |x| x + 1).join().unwrap())
    }
    fn other(x: u64) -> (u64, u64) {
        let inner = trefoil_twin::ProcessPool::with_workers(1).unwrap();
        (x * 9, inner.spawn(x, |x| x + 2).join().unwrap())
    }
    let procs = trefoil::ProcessPool::with_workers(2).unwrap();
    let others = trefoil_twin::ProcessPool::with_workers(2).unwrap();
    let (task, another) = (procs.spawn(6, one), others.spawn(6, other));
    assert_eq!(task.join().unwrap(), (42, 7));
    assert_eq!(another.join().unwrap(), (54, 8));
    assert_eq!(procs.map(0..1000u64, |x| x).unwrap().len(), 1000);
    assert_eq!(others.map(0..1000u64, |x| x).unwrap().len(), 1000);
}

/// A type of another version of this crate has the same name as ours. It arrives as it was, or
/// there is an error. (What has the name of one of ours but another encoding: `trefoil.rs`.)
#[test]
fn types_of_one_name_are_not_mixed_up() {
    use serde::{Deserialize, Serialize};
    use std::any::type_name;
    use std::collections::HashMap;
    use trefoil_twin::{Bulk, Shared};

    #[derive(Serialize, Deserialize)]
    struct Fields {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        left_out: Option<u8>,
        theirs: Bulk<u16>,
        ours: trefoil::Bulk<u16>,
    }

    is_a_program();
    assert_eq!(type_name::<Bulk<u16>>(), type_name::<trefoil::Bulk<u16>>());
    fn doubled(numbers: Bulk<u16>) -> Vec<Bulk<u16>> {
        vec![
            Bulk::from(Vec::new()),
            numbers.iter().map(|n| n * 2).collect(),
        ]
    }
    let procs = trefoil::ProcessPool::with_workers(1).unwrap();
    for length in [0, 1, 100, 100_000] {
        let numbers = vec![7; length];
        let theirs = || Bulk::from(numbers.clone());
        let ours = || trefoil::Bulk::from(numbers.clone());
        let found = procs.spawn(theirs(), doubled).join().unwrap();
        assert!(found[0].is_empty() && found[1][..] == vec![14; length]);
        let found = procs.spawn((ours(), Some(theirs()), ours()), |all| all);
        assert_eq!(found.join().unwrap(), (ours(), Some(theirs()), ours()));
        let named = || HashMap::from([(1u8, theirs())]);
        let found = procs.spawn(named(), |named: HashMap<u8, Bulk<u16>>| named);
        assert_eq!(found.join().unwrap(), named());
        let (theirs, ours, left_out) = (theirs(), ours(), None);
        let fields = Fields {
            left_out,
            theirs,
            ours,
        };
        let found = procs.spawn(fields, |fields: Fields| fields).join().unwrap();
        assert!(found.theirs[..] == numbers && found.ours[..] == numbers);
    }
    let refused = |found: Result<u64, trefoil::TaskError>| {
        let refused = found.unwrap_err().to_string();
        assert!(refused.contains("could not be encoded"), "{refused}");
    };
    // The other copy's is written as its bytes, as outside a call.
    let shared = || Shared::from(vec![1u64; 1000]);
    let sum = procs.spawn(shared(), |all: Shared<u64>| all.iter().sum::<u64>());
    assert_eq!(sum.join().unwrap(), 1000);
    let sum = procs.spawn((1, shared()), |(_, all): (u8, Shared<u64>)| {
        all.iter().sum::<u64>()
    });
    assert_eq!(sum.join().unwrap(), 1000);
    let back = procs.spawn((), |()| Shared::from(vec![1u64; 1000]));
    assert!(back.join().unwrap() == shared());
    let (sender, _receiver) = trefoil_twin::process::channel::channel::<u8>(1).unwrap();
    refused(procs.spawn(sender, |_| 1).join());
    let atomics = trefoil_twin::process::SharedAtomics::from(vec![1u64]);
    refused(
        procs
            .spawn(
                Some(atomics),
                |_: Option<trefoil_twin::process::SharedAtomics<std::sync::atomic::AtomicU64>>| 1,
            )
            .join(),
    );
    assert_eq!(procs.spawn(1, |x: i32| x + 1).join().unwrap(), 2);
}

/// Then the variable stays where it is, and the library's copy sees it, too.
#[test]
fn beside_the_threads_of_a_library_they_have_them_too() {
    is_a_program();
    let own = std::env::current_exe().unwrap();
    let mut again = std::process::Command::new(&own);
    again.args(["--exact", "each_copy_has_workers_of_its_own"]);
    again.env("LD_PRELOAD", own.with_file_name("libtrefoil_plugin.so"));
    let output = again.env("TREFOIL_PLUGIN_THREAD", "1").output().unwrap();
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && words.contains("1 passed"),
        "{words}"
    );
}

#[test]
fn a_library_with_a_copy_has_no_workers() {
    is_a_program();
    type Tell = extern "C" fn(usize, *const u8, usize);
    type Run = extern "C" fn(Tell, usize);

    extern "C" fn tell(context: usize, words: *const u8, length: usize) {
        let told = std::ptr::with_exposed_provenance_mut::<Vec<String>>(context);
        // SAFETY: the caller below waits for the library, and looks at this meanwhile no more.
        let told = unsafe { &mut *told };
        // SAFETY: the library says where its words are, and how long.
        let words = unsafe { std::slice::from_raw_parts(words, length) };
        told.push(String::from_utf8(words.to_vec()).unwrap());
    }

    let own = std::env::current_exe().unwrap();
    let path = own.with_file_name("libtrefoil_plugin.so");
    let path = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: a library of ours, whose constructor may run now.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    if library.is_null() {
        // SAFETY: there was an error, and this is the next call.
        let why = unsafe { CStr::from_ptr(libc::dlerror()) };
        panic!("{}", why.to_str().unwrap());
    }
    // SAFETY: an open library, and the name of a function in it.
    let run = unsafe { libc::dlsym(library, c"plugin_run".as_ptr()) };
    assert!(!run.is_null());
    // SAFETY: of this type, as the library declares it.
    let run = unsafe { std::mem::transmute::<*mut c_void, Run>(run) };
    let mut told = Vec::<String>::new();
    run(tell, (&raw mut told).expose_provenance());
    assert_eq!(told.len(), 2);
    for words in told {
        assert!(words.contains("part of a library"), "{words}");
    }
}
