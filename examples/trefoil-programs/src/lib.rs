//! What the programs share, and what stands beside `linkcheck`: [`links`], what a page links to,
//! and [`web`], as much of HTTP as it takes to ask whether something is there.

pub mod links;
pub mod web;
