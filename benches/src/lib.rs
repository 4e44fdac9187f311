//! What the benchmarks share: interleaved rounds, medians, ratios.
//!
//! The contenders of one question run in turn, A B C A B C …, in one process, so
//! that a drift of the machine's speed meets all of them alike. What is printed
//! is the median of the rounds, and its ratio to the first contender's (ours).

pub mod cell;
pub mod machine;
pub mod rows;
pub mod work;

use std::time::Instant;

/// One way to do the work: `run(n)` does it `n` times.
pub struct Contender<'a> {
    /// As printed.
    pub name: &'a str,
    /// Does the work that many times.
    pub run: Box<dyn FnMut(u64) + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender by name.
    pub fn new(name: &'a str, run: impl FnMut(u64) + 'a) -> Self {
        Self {
            name,
            run: Box::new(run),
        }
    }
}

/// Measures all contenders in `rounds` interleaved rounds of `n` each; prints and
/// returns the median nanoseconds per operation, in order.
pub fn compare(
    question: &str,
    n: u64,
    rounds: usize,
    contenders: &mut [Contender<'_>],
) -> Vec<f64> {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..=rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (contender.run)(n);
            let each = start.elapsed().as_nanos() as f64 / n as f64;
            // The first round warms up.
            if round > 0 {
                times.push(each);
            }
        }
    }
    println!("\n{question}");
    let medians: Vec<f64> = times.into_iter().map(median).collect();
    for (contender, each) in contenders.iter().zip(&medians) {
        println!(
            "  {:<28} {:>9.1} ns   x{:.2}",
            contender.name,
            each,
            each / medians[0]
        );
    }
    medians
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
