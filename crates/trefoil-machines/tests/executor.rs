//! Executors by their names.
#![allow(clippy::disallowed_methods)] // a program, not the crate

use std::io::ErrorKind;

use trefoil::{Executor, TaskError};

fn main() {
    trefoil::init();
    for name in ["inline", "threads:2", "processes:1"] {
        let executor = trefoil_machines::executor(name).unwrap();
        let sum = executor
            .map(0..10, |n: u64| n * n)
            .map(|all| all.iter().sum::<u64>());
        assert_eq!(sum.unwrap(), 285, "{name}");
    }
    let unknown = trefoil_machines::executor("fibres:3").unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::InvalidInput);
    assert!(unknown.to_string().contains("ssh:HOST"), "{unknown}");
    for (name, word) in [
        ("ssh:", "host"),
        ("ssh:node1:0", "node1:0"),
        ("ssh:a b", "a b"),
        ("slurm:0", "slurm:N"),
        ("slurm:many", "slurm:many"),
    ] {
        let refused = trefoil_machines::executor(name).unwrap_err();
        assert!(refused.to_string().contains(word), "{name}: {refused}");
    }
    let ended: Result<u8, TaskError> = trefoil_machines::executor("inline")
        .unwrap()
        .submit(0, |n: u8| n)
        .join();
    assert_eq!(ended.unwrap(), 0);
}
