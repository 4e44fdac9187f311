//! Adds up the numbers in each file of the folder `data`.

mod parser;

use std::error::Error;
use std::fs;

fn main() -> Result<(), Box<dyn Error>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir("data")? {
        paths.push(entry?.path());
    }
    paths.sort();
    for path in paths {
        let sum = parser::sum(&fs::read_to_string(&path)?);
        println!("{}: {sum:?}", path.display());
    }
    Ok(())
}
