//! Empty: this package has only tests and examples, in `adapters/tests/` and `adapters/examples/`.
