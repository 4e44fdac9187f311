//! `build` says in words what is wrong.

use std::os::unix::fs::PermissionsExt;

use trefoil::ProcessPool;
use trefoil::process::PoolError;
use trefoil::process::machines::Dask;

use crate::cluster::{Cluster, directory, python};
use crate::support::{Test, tests};

/// The error of `build`.
fn refusal(dask: Dask) -> String {
    match ProcessPool::builder().on(dask).build() {
        Err(PoolError::Engine(words)) => words,
        other => panic!("{other:?}"),
    }
}

/// An interpreter that finds this module instead of `distributed`.
fn with(module: &str) -> String {
    let directory = directory("python");
    std::fs::create_dir(directory.join("distributed")).unwrap();
    std::fs::write(directory.join("distributed/__init__.py"), module).unwrap();
    let path = directory.join("python");
    let script = format!(
        "#!/bin/sh\nPYTHONPATH={} exec {} \"$@\"\n",
        directory.display(),
        python()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

tests! {
    fn an_interpreter_that_will_not_do() {
        let dask = || Dask::connect("tcp://127.0.0.1:1");
        let words = refusal(dask().python("/nowhere/python3"));
        assert!(words.contains("`/nowhere/python3` cannot be started"), "{words}");
        let words = refusal(dask().python("/bin/false"));
        assert!(words.contains("`/bin/false` has ended"), "{words}");
        let words = refusal(dask().python(with("raise ImportError('there is none')")));
        assert!(words.contains("pip install distributed"), "{words}");
        let words = refusal(dask().python(with("__version__ = '2022.12.1'")));
        assert!(words.contains("2022.12.1, which is too old"), "{words}");
    }

    fn an_address_that_will_not_do() {
        let words = refusal(Dask::connect("tcp://127.0.0.1:1").python(python()));
        assert!(words.contains("scheduler at tcp://127.0.0.1:1 cannot be reached"), "{words}");
        let words = refusal(Dask::connect("tcp://192.0.2.1:8786").python(python()));
        assert!(words.contains(".allow_plaintext(true)"), "{words}");
        let words = refusal(Dask::scheduler_file("/dev/null").python(python()));
        assert!(words.contains("/dev/null is no scheduler file"), "{words}");
        let words = refusal(Dask::from_env().python(python()));
        assert!(words.contains("DASK_SCHEDULER_ADDRESS"), "{words}");
    }

    fn output_that_cannot_be_caught() {
        let cluster = Cluster::shared();
        let built = ProcessPool::builder().on(cluster.dask()).on_output(|_, _| ()).build();
        assert!(matches!(built, Err(PoolError::Engine(_))), "{built:?}");
    }
}
