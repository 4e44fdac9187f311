//! Empty: this package has only tests and examples, in `tests/trefoil-adapters/tests/` and
//! `tests/trefoil-adapters/examples/`, and the program of a page that needs axum.

#[cfg(all(doctest, feature = "tokio"))]
#[doc = include_str!("../../../docs/WEB_SERVER.md")]
mod web_server {}
