//! Errors of `build` say what is wrong.

use std::time::{Duration, Instant};

use trefoil::{PoolError, ProcessPool};
use trefoil_machines::Dask;

use crate::cluster::{
    Cluster, certificate, directory, python, python_in, python_with, python_with_certificate,
};
use crate::support::{Test, tests};

/// The error of `build`.
fn refusal(dask: Dask) -> String {
    match ProcessPool::builder().launcher(dask).build() {
        Err(PoolError::Launcher(words)) => words,
        other => panic!("{other:?}"),
    }
}

/// An interpreter that finds this module instead of `distributed`.
fn with(module: &str) -> String {
    let directory = directory("module");
    std::fs::create_dir(directory.join("distributed")).unwrap();
    std::fs::write(directory.join("distributed/__init__.py"), module).unwrap();
    let directory = directory.to_str().unwrap().to_owned();
    python_with(&[("PYTHONPATH".to_owned(), directory)])
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

    fn nothing_in_the_working_directory_is_executed() {
        let directory = directory("elsewhere");
        let mark = directory.join("executed");
        for module in ["dask", "distributed", "os", "asyncio", "random", "queue", "yaml", "encodings"] {
            let code = format!("open({mark:?}, 'w')\nraise ImportError('{module}')\n");
            std::fs::write(directory.join(module).with_extension("py"), code).unwrap();
        }
        let dask = Dask::scheduler_file(Cluster::shared().file()).python(python_in(&directory));
        let procs = ProcessPool::builder().launcher(dask).build();
        assert!(!mark.exists(), "{procs:?}");
        assert_eq!(procs.unwrap().map(1..=3u64, |n| n * n).unwrap(), [1, 4, 9]);
    }

    fn an_address_that_will_not_do() {
        let words = refusal(Dask::connect("tcp://127.0.0.1:1").python(python()));
        assert!(words.contains("scheduler at tcp://127.0.0.1:1 cannot be reached"), "{words}");
        let words = refusal(Dask::connect("tcp://192.0.2.1:8786").python(python()));
        assert!(words.contains(".allow_plaintext(true)"), "{words}");
        let words = refusal(Dask::scheduler_file("/dev/null").python(python()));
        assert!(words.contains("/dev/null is not a Dask scheduler file"), "{words}");
        let words = refusal(Dask::from_env().python(python()));
        assert!(words.contains("DASK_SCHEDULER_ADDRESS"), "{words}");
    }

    fn a_certificate_that_will_not_do() {
        let (right, wrong) = (certificate(), certificate());
        let python_of = |authority, own| python_with_certificate(authority, own);
        let trusted = python_of(&right, &right);
        let cluster = Cluster::with_python(&trusted);
        let address = cluster.address();
        assert!(address.starts_with("tls://"), "{address}");
        let dask = |python: &str| Dask::connect(&address).python(python);
        let procs = ProcessPool::builder().launcher(dask(&trusted)).build().unwrap();
        assert_eq!(procs.map(1..=3u64, |n| n * n).unwrap(), [1, 4, 9]);
        let words = refusal(dask(&python_of(&wrong, &right)));
        assert!(words.contains("its certificate is not signed by the authority"), "{words}");
        let words = refusal(dask(&python_of(&right, &wrong)));
        assert!(words.contains("the certificate of this process"), "{words}");
        let words = refusal(dask(&python()));
        assert!(words.contains("names no certificate for this process"), "{words}");
        let words = refusal(dask(&python_of(&right, &directory("nothing"))));
        assert!(words.contains("for TLS is missing"), "{words}");
        let plain = Dask::connect(address.replace("tls://", "tcp://")).python(python());
        let words = refusal(plain);
        assert!(words.contains("its address begins with `tls://`"), "{words}");
        let words = refusal(Dask::connect(Cluster::shared().address().replace("tcp://", "tls://")).python(&trusted));
        assert!(words.contains("does not speak TLS"), "{words}");
    }

    fn threads_that_will_not_do() {
        let cluster = Cluster::shared();
        let (least, most) = (9, 8);
        let words = refusal(cluster.dask().threads(least..=most));
        assert!(words.contains("the first number is the least"), "{words}");
        let words = refusal(cluster.dask().threads(7..));
        assert!(words.contains("has 6"), "{words}");
    }

    fn an_address_to_listen_at_that_will_not_do() {
        let cluster = Cluster::shared();
        let words = refusal(cluster.dask().listen("no such host"));
        assert!(words.contains("is no address"), "{words}");
        let words = refusal(cluster.dask().listen("192.0.2.1"));
        assert!(words.contains("nothing can listen"), "{words}");
    }

    fn a_program_that_does_not_start_there() {
        let python = python_with(&[(crate::BROKEN.to_owned(), "1".to_owned())]);
        let cluster = Cluster::with_python(&python);
        let begin = Instant::now();
        let words = refusal(cluster.dask());
        assert!(words.contains("library is missing"), "{words}");
        assert!(begin.elapsed() < Duration::from_secs(60));
        // Later, too: what waits ends with that.
        let procs = ProcessPool::builder().launcher(cluster.dask().threads(0..=1)).build().unwrap();
        let words = procs.spawn(1, |n: u8| n).join().unwrap_err().to_string();
        assert!(words.contains("library is missing"), "{words}");
    }

    fn output_that_cannot_be_caught() {
        let cluster = Cluster::shared();
        let built = ProcessPool::builder().launcher(cluster.dask()).on_output(|_, _| ()).build();
        assert!(matches!(built, Err(PoolError::Launcher(_))), "{built:?}");
    }
}
