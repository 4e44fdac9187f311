//! Empty on purpose: everything here is a test; see `tests/`.
