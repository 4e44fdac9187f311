//! Empty: this package has only tests and examples, in `tests/trefoil-adapters/tests/` and
//! `tests/trefoil-adapters/examples/`.
