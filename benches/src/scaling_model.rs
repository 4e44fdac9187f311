//! What more processors would do, by the model (`benches/src/model`).
//!
//! ```console
//! cargo run --release -p trefoil-benches --bin scaling_model            # on a server
//! cargo run --release -p trefoil-benches --bin scaling_model -- FILE    # beside what was measured
//! ```
//!
//! FILE is a record of the bench `scaling`: the model is then run with the costs of the machine
//! that it was measured on, and the table shows both.

use trefoil_benches::model::{COSTS, WORKS, Whose, costs_of, simulate, speed_up};
use trefoil_benches::record::Record;
use trefoil_benches::report::scaling;

fn main() {
    let mut costs = COSTS;
    if let Some(file) = std::env::args().nth(1) {
        let text = std::fs::read_to_string(&file).expect("the file can be read");
        let record = Record::read(&text).expect("it is a record");
        costs = costs_of(&record.rows);
        println!("{}", scaling::table(&record.rows, Some(costs)));
    }
    println!("{costs:?}");
    for (name, shape) in WORKS {
        println!("\n{name}");
        println!(
            "  P  trefoil   rayon   wakes        the hottest lines of trefoil: share of all time"
        );
        for processors in [1, 2, 4, 8, 16, 32, 64, 128] {
            let ours = simulate(shape, processors, Whose::Ours, costs);
            let rayons = simulate(shape, processors, Whose::Rayons, costs);
            let hottest: Vec<String> = ours
                .hottest
                .iter()
                .take(3)
                .map(|hot| {
                    let share = hot.spent / ours.took / processors as f64;
                    format!("{} {:.1} % ({})", hot.name, share * 100.0, hot.moves)
                })
                .collect();
            println!(
                "{processors:>3}  {:>7.2} {:>7.2} {:>7}   {}",
                speed_up(shape, &ours),
                speed_up(shape, &rayons),
                ours.wakes,
                hottest.join(", "),
            );
        }
    }
}
