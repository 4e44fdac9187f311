//! The report: what the benchmarks found, as a document and as plots.
//!
//! **Job.** `tables` (the program, `benches/src/tables.rs`) runs the benchmarks and has a record of
//! each; here those become the tables of `benches/results/README.md` and the plots of
//! `docs/plots/`.
//!
//! 1. `run.rs` says what a run is: an id, the machine, the versions, the load.
//! 2. `table.rs` makes a table of a record, and `scaling.rs` one by the number of workers;
//!    `behind.rs` says below it why rows are behind. `loads.rs` makes one of the rows under loads,
//!    `programs.rs` one of other people's programs.
//! 3. `headline.rs` copies some rows for `docs/BENCHMARKS.md`, and `document.rs` puts a table into
//!    its place, between two marks, and leaves all else alone.
//! 4. `plots.rs` says which plots there are; `draw.rs` draws them; `links.rs` says where they lie.
//!
//! **Never compared:** figures of two runs. A ratio is made inside of a record; a record is of one
//! run of one benchmark, whole; a table in the document is replaced whole and bears the id of its
//! run. A benchmark that was cut short, or run in part, or with less of everything, never gets into
//! the document. (Under loads each group of rows is a run of its own.)

pub mod behind;
pub mod document;
pub mod draw;
pub mod headline;
pub mod links;
pub mod loads;
pub mod plots;
pub mod programs;
pub mod run;
pub mod scaling;
pub mod table;
