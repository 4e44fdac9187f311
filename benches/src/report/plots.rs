//! The plots: which there are, and which rows are drawn in them.
//!
//! A row says itself in which plot it stands ([`Row::on`](crate::rows::Row::on)), so that a row
//! that is renamed stays in its plot. Here each plot has its title, its shape and its table: it is
//! drawn anew whenever that table is written, and bears the id of the run.
//!
//! Checked by the tests below.

use crate::record::{Figure, Judged};
use crate::report::draw::{self, Axis, Bar, Line, Scale};
use crate::rows::{Kind, Unit};

/// How a plot is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A group of points for each row: trefoil, the best peer, the base.
    Bars,
    /// The same, with every peer.
    AllBars,
    /// How many times as fast as the sequential program, by the length of an item in nanoseconds.
    Gain,
    /// Bytes in a second, by the bytes of an item.
    Throughput,
    /// Which share of the samples were within each time.
    Distribution,
}

/// One of them.
#[derive(Debug)]
pub struct Plot {
    /// Its file is `docs/plots/<id>.svg`.
    pub id: &'static str,
    /// The tables whose rows it draws.
    pub tables: &'static [&'static str],
    /// What it shows.
    pub title: &'static str,
    /// How.
    pub shape: Shape,
}

const fn plot(
    id: &'static str,
    tables: &'static [&'static str],
    title: &'static str,
    shape: Shape,
) -> Plot {
    Plot {
        id,
        tables,
        title,
        shape,
    }
}

/// All of them.
pub const PLOTS: &[Plot] = &[
    plot(
        "cost-cell",
        &["cell"],
        "The task cell: one task",
        Shape::AllBars,
    ),
    plot(
        "cost-threads",
        &["threads"],
        "The thread pool: one task",
        Shape::Bars,
    ),
    plot(
        "cost-loop",
        &["event_loop"],
        "The event loop: one task",
        Shape::Bars,
    ),
    plot(
        "cost-processes",
        &["processes"],
        "Worker processes: one call",
        Shape::Bars,
    ),
    plot(
        "gain-map",
        &["threads"],
        "`map` on two workers by the length of an item: times as fast as the sequential program",
        Shape::Gain,
    ),
    plot(
        "throughput-processes",
        &["processes"],
        "Items through two worker processes, there and back: MB in a second",
        Shape::Throughput,
    ),
    plot(
        "latency-threads",
        &["threads"],
        "A job for a parked thread pool: share of the answers by time",
        Shape::Distribution,
    ),
    plot(
        "latency-processes",
        &["processes"],
        "A call into a sleeping process: share of the answers by time",
        Shape::Distribution,
    ),
    plot(
        "memory-loop",
        &["event_loop"],
        "Resident bytes of what waits on a loop",
        Shape::AllBars,
    ),
    plot(
        "memory-processes",
        &["processes"],
        "Memory of an idle worker process",
        Shape::AllBars,
    ),
];

/// By how it is drawn: more important lines are thicker.
fn part(kind: Kind) -> draw::Part {
    match kind {
        Kind::Ours => draw::Part::Ours,
        Kind::OursToo => draw::Part::OursToo,
        Kind::Peer => draw::Part::Peer,
        Kind::Sequential | Kind::OtherOrder | Kind::Floor => draw::Part::Base,
    }
}

fn bars(rows: &[&Judged], all: bool) -> Vec<(String, Vec<Bar>)> {
    let group = |row: &&Judged| {
        let (peer, base) = (row.best(Kind::Peer), row.base());
        let shown = |figure: &&Figure| {
            let best = [peer, base].into_iter().flatten();
            let mut best = best.chain(row.best(Kind::Ours));
            figure.value.is_finite() && (all || best.any(|of| std::ptr::eq(of, *figure)))
        };
        let bar = |figure: &Figure| Bar {
            name: figure.name.clone(),
            value: figure.value,
            text: row.unit.show(figure.value),
            part: part(figure.kind),
        };
        let entries = row.entries.iter().filter(shown);
        (row.name.clone(), entries.map(bar).collect())
    };
    rows.iter().map(group).collect()
}

/// One line for each contender, a point for each row.
fn lines(rows: &[&Judged], point: impl Fn(&Judged, &Figure, f64) -> (f64, f64)) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let x = row.plot.as_ref().map_or(0.0, |plot| plot.1);
        for figure in row.entries.iter().filter(|f| f.kind != Kind::OtherOrder) {
            let at = point(row, figure, x);
            match lines.iter_mut().find(|line| line.name == figure.name) {
                Some(line) => line.points.push(at),
                None => lines.push(Line {
                    name: figure.name.clone(),
                    part: part(figure.kind),
                    points: vec![at],
                }),
            }
        }
    }
    lines
}

fn distribution(row: &Judged) -> Vec<Line> {
    let line = |figure: &Figure| {
        let last = (figure.quantiles.len() - 1).max(1) as f64;
        let points = figure.quantiles.iter().enumerate();
        Line {
            name: figure.name.clone(),
            part: part(figure.kind),
            points: points
                .map(|(i, ns)| (ns / 1e3, i as f64 / last * 100.0))
                .collect(),
        }
    };
    let entries = row.entries.iter().filter(|f| f.quantiles.len() > 1);
    entries.map(line).collect()
}

impl Plot {
    /// As SVG, of all rows of its tables; `below` is a line for the foot: whose figures these are.
    ///
    /// # Errors
    /// If none of the rows says that it belongs here, or it cannot be drawn.
    pub fn svg(&self, rows: &[Judged], below: &str) -> Result<String, String> {
        let ours = rows.iter();
        let ours = ours.filter(|row| row.plot.as_ref().is_some_and(|(id, _)| id == self.id));
        let rows: Vec<&Judged> = ours.collect();
        if rows.is_empty() {
            return Err(format!("no row is drawn in the plot {}", self.id));
        }
        let page = draw::Page {
            title: self.title,
            below,
        };
        let faster = |row: &Judged, figure: &Figure, x: f64| {
            (
                x,
                row.base()
                    .map_or(f64::NAN, |base| base.value / figure.value),
            )
        };
        let axis = if rows.iter().any(|row| row.unit != Unit::Count) {
            Axis::Time
        } else {
            Axis::Count
        };
        match self.shape {
            Shape::Bars => page.points(&bars(&rows, false), axis),
            Shape::AllBars => page.points(&bars(&rows, true), axis),
            Shape::Gain => page.lines(
                ("one item, alone, in ns", Scale::Tens),
                ("times as fast", Scale::Even),
                &lines(&rows, faster),
            ),
            Shape::Throughput => page.lines(
                ("bytes of an item", Scale::Tens),
                ("MB in a second", Scale::Tens),
                &lines(&rows, |_, figure, bytes| {
                    (bytes, bytes / figure.value * 1e3)
                }),
            ),
            Shape::Distribution => page.lines(
                ("µs", Scale::Tens),
                ("% of answers within this time", Scale::Even),
                &distribution(rows[0]),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::judge;
    use crate::rows::{Measured, Row};

    /// Rows for a plot, with names that XML does not like.
    fn rows(plot: &Plot) -> Vec<Judged> {
        let row = |x: f64| {
            let samples = |first: f64| (1..500).map(|i| first + f64::from(i) * x).collect();
            let measured = Measured::new(vec![
                ("trefoil", Kind::Ours, samples(100.0)),
                ("a & <b> \"c\"", Kind::Peer, samples(200.0)),
                ("never measured", Kind::Peer, vec![f64::NAN]),
                ("nothing", Kind::OursToo, vec![0.0]),
                ("sequential", Kind::Sequential, samples(150.0)),
            ]);
            let row = Row::new(format!("work of {x} <bytes>"), Unit::Us, &[]);
            judge(&row.on(plot.id, x), &measured)
        };
        [1.0, 2.0, 4.0, 1e6].map(row).into()
    }

    #[test]
    fn every_plot_is_well_formed_and_says_whose_it_is() {
        for plot in PLOTS {
            let svg = plot.svg(&rows(plot), "run 7 & more").expect(plot.id);
            let xml = roxmltree::Document::parse(&svg).expect(plot.id);
            assert_eq!(xml.root_element().tag_name().name(), "svg", "{}", plot.id);
            let texts = xml.descendants().filter(|node| node.has_tag_name("text"));
            let texts: Vec<String> = texts
                .flat_map(|text| text.descendants().filter_map(|node| node.text()))
                .map(|text| text.trim().to_owned())
                .collect();
            let says = |wanted: &str| texts.iter().any(|text| text.contains(wanted));
            assert!(says("run 7 & more"), "{}: {texts:?}", plot.id);
            assert!(says("a & <b> \"c\""), "{}: {texts:?}", plot.id);
            assert!(says(&plot.title.replace('`', "")), "{}: {texts:?}", plot.id);
            assert!(
                !svg.contains("NaN") && !svg.contains("inf\""),
                "{}",
                plot.id
            );
        }
    }

    #[test]
    fn a_plot_without_rows_is_an_error() {
        let other = rows(&PLOTS[1]);
        let error = PLOTS[0].svg(&other, "").unwrap_err();
        assert!(error.contains(PLOTS[0].id), "{error}");
    }

    #[test]
    fn ids_are_unique() {
        let mut ids: Vec<_> = PLOTS.iter().map(|plot| plot.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), PLOTS.len());
    }
}
