//! An image that worker processes draw in place; one of them dies, and costs one row.
//!
//! ```text
//! cargo run --release --example shared_mut
//! ```
//!
//! Each worker writes its rows where they belong. Nothing is sent back; for a second round the
//! parent copies the image once. A row whose worker has died is known, and given out again.

use trefoil::{ProcessPool, RangeMut, SharedMut};

const WIDTH: usize = 1200;
const HEIGHT: usize = 900;
const UNLUCKY: usize = 450;

/// Draws a row of the Mandelbrot set: how soon each point escapes.
fn draw(mut row: RangeMut<u8>) {
    let y = (row.range().start / WIDTH) as f64 / HEIGHT as f64 * 2.4 - 1.2;
    for (n, pixel) in row.iter_mut().enumerate() {
        let x = n as f64 / WIDTH as f64 * 3.2 - 2.3;
        let (mut a, mut b, mut steps) = (0.0, 0.0, 0);
        while a * a + b * b < 4.0 && steps < 255 {
            (a, b, steps) = (a * a - b * b + x, 2.0 * a * b + y, steps + 1);
        }
        *pixel = steps;
    }
}

/// The same, with a bug.
fn draw_or_die(mut row: RangeMut<u8>) {
    if row.range().contains(&(UNLUCKY * WIDTH)) {
        row.fill(1);
        std::process::abort();
    }
    draw(row);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    trefoil::init();
    let procs = ProcessPool::with_workers(4)?;
    let mut image = SharedMut::<u8>::new(WIDTH * HEIGHT)?;

    let rows = procs.map_each(image.rows(WIDTH)?, draw_or_die);
    let drawn = rows.iter().filter(|row| row.is_ok()).count();
    println!("{drawn} of {HEIGHT} rows are drawn");

    let unwritten = image.unwritten().to_vec();
    for lost in &unwritten {
        let row = &image[lost.clone()];
        println!("row {} has its old pixels: {}", lost.start / WIDTH, row[0]);
    }
    procs.map(image.ranges(unwritten)?, draw)?;

    for y in (0..HEIGHT).step_by(HEIGHT / 20) {
        let row = image[y * WIDTH..][..WIDTH].chunks(WIDTH / 60);
        let line: String = row
            .map(|pixels| match pixels[0] {
                0..4 => ' ',
                4..8 => '.',
                8..20 => ':',
                20..255 => '+',
                255 => '#',
            })
            .collect();
        println!("{}", line.trim_end());
    }
    Ok(())
}
