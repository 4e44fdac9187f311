//! Nothing but tests and examples: see `adapters/tests/` and `adapters/examples/`.
