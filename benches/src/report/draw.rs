//! Drawing: points and lines as SVG, with plotters.
//!
//! Axes of tens and twos are drawn as even ones over logarithms, with labels at powers and half
//! powers: plotters' own logarithmic axes begin at nothing where a value is zero. What is not a
//! number, or has no logarithm, is not drawn. The legend stands beside the picture, so that it
//! covers nothing.
//!
//! Checked by the test below, and by those of `plots.rs` and `programs.rs`.

use plotters::coord::Shift;
use plotters::prelude::*;

/// The role of a contender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// trefoil.
    Ours,
    /// trefoil, used in another way.
    OursToo,
    /// Another library.
    Peer,
    /// The sequential program, or a floor.
    Base,
}

/// A point of a group.
pub struct Bar {
    /// Its name.
    pub name: String,
    /// How far to the right.
    pub value: f64,
    /// What is written beside it.
    pub text: String,
    /// Its colour.
    pub part: Part,
}

/// A line through points.
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its colour.
    pub part: Part,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// How an axis grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// 0, 1, 2, 3.
    Even,
    /// 1, 2, 4, 8.
    Twos,
    /// 1, 10, 100.
    Tens,
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        match self {
            Self::Even => value,
            Self::Twos => value.log2(),
            Self::Tens => value.log10(),
        }
    }

    fn label(self, place: f64) -> String {
        let value = match self {
            Self::Even => return format!("{}", (place * 1e6).round() / 1e6),
            // On a short axis, half a power of ten: two of its digits.
            Self::Tens if (place - place.floor() - 0.5).abs() < 0.01 => {
                3.2 * 10_f64.powf(place.floor())
            }
            // Otherwise only whole powers have a label.
            _ if (place - place.round()).abs() > 0.01 => return String::new(),
            Self::Twos => 2_f64.powf(place.round()),
            Self::Tens => 10_f64.powf(place.round()),
        };
        match value {
            v if v >= 1e9 => format!("{} G", v / 1e9),
            v if v >= 1e6 => format!("{} M", v / 1e6),
            v if v >= 1e3 => format!("{} k", v / 1e3),
            v => format!("{}", (v * 1e6).round() / 1e6),
        }
    }
}

/// What points are placed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Nanoseconds, by tens.
    Time,
    /// A number, by tens.
    Count,
    /// A number, from 0.
    Even,
}

/// What all plots have.
pub struct Page<'a> {
    /// Above.
    pub title: &'a str,
    /// Below: the run.
    pub below: &'a str,
}

const WIDTH: u32 = 960;
const LEGEND: i32 = 250;
const TOP: i32 = 44;
const FOOT: i32 = 30;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(33, 37, 41);
const OURS: RGBColor = RGBColor(11, 114, 133);
const OURS_TOO: RGBColor = RGBColor(102, 188, 203);
const BASE: RGBColor = RGBColor(134, 142, 150);
const PEERS: [RGBColor; 8] = [
    RGBColor(224, 49, 49),
    RGBColor(240, 140, 0),
    RGBColor(156, 54, 181),
    RGBColor(47, 158, 68),
    RGBColor(25, 113, 194),
    RGBColor(180, 100, 60),
    RGBColor(230, 73, 128),
    RGBColor(130, 130, 0),
];

/// Where the reader's pages are dark the picture is, too: all light turned round, and the colours
/// back again.
const DARK: &str = "<style>@media (prefers-color-scheme: dark) { svg { filter: invert(0.93) hue-rotate(180deg) } }</style>";

/// Beyond so many pixels from the line between its neighbours, a point is seen.
const SEEN: f64 = 0.75;

/// The line without the points that nobody sees (Douglas and Peucker's).
fn thinned(points: &[(i32, i32)]) -> Vec<(i32, i32)> {
    let [first, .., last] = points else {
        return points.to_vec();
    };
    let (dx, dy) = (f64::from(last.0 - first.0), f64::from(last.1 - first.1));
    let length = dx.hypot(dy);
    let away = |point: &(i32, i32)| {
        let (x, y) = (f64::from(point.0 - first.0), f64::from(point.1 - first.1));
        if length == 0.0 {
            x.hypot(y)
        } else {
            (dx * y - dy * x).abs() / length
        }
    };
    let (mut most, mut at) = (0.0, 0);
    for (index, point) in points.iter().enumerate() {
        if away(point) > most {
            (most, at) = (away(point), index);
        }
    }
    if most <= SEEN {
        return vec![*first, *last];
    }
    let mut out = thinned(&points[..=at]);
    out.pop();
    out.extend(thinned(&points[at..]));
    out
}

/// The same picture in fewer bytes: what is written for rustdoc is part of the library's package.
///
/// A picture that is slim stays as it is.
#[must_use]
pub fn slim(svg: &str) -> String {
    const POINTS: &str = "points=\"";
    let mut out = String::new();
    for line in svg.replace(" opacity=\"1\"", "").split_inclusive('\n') {
        let parts = line
            .strip_prefix("<polyline")
            .and_then(|_| line.split_once(POINTS));
        let Some((head, (points, tail))) =
            parts.and_then(|(head, rest)| Some((head, rest.split_once('"')?)))
        else {
            out += line;
            continue;
        };
        let point = |text: &str| {
            let (x, y) = text.split_once(',')?;
            Some((x.parse().ok()?, y.parse().ok()?))
        };
        let points: Vec<_> = points.split_whitespace().filter_map(point).collect();
        let kept = thinned(&points)
            .into_iter()
            .map(|(x, y)| format!("{x},{y}"));
        let kept: Vec<String> = kept.collect();
        out += &format!("{head}{POINTS}{}\"{tail}", kept.join(" "));
    }
    out
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), String>;

fn words(error: impl std::fmt::Display) -> String {
    format!("it cannot be drawn: {error}")
}

/// The label of a power of ten: of nanoseconds, or of a plain number.
fn tens(power: i32, axis: Axis) -> String {
    const TIMES: [&str; 4] = ["ns", "µs", "ms", "s"];
    const COUNTS: [&str; 4] = ["", "k", "M", "G"];
    let units = if axis == Axis::Time { TIMES } else { COUNTS };
    let unit = (power.max(0) / 3).min(3);
    let value = 10_f64.powi(power - 3 * unit);
    format!("{value} {}", units[unit as usize])
        .trim_end()
        .to_owned()
}

/// Without the marks of Markdown.
fn bare(text: &str) -> String {
    text.replace('`', "")
}

/// A colour for the `nth` peer, and those that all others always have.
fn colour(part: Part, nth: usize) -> RGBColor {
    match part {
        Part::Ours => OURS,
        Part::OursToo => OURS_TOO,
        Part::Base => BASE,
        Part::Peer => PEERS[nth % PEERS.len()],
    }
}

/// Colours for all of them.
fn colours(parts: impl Iterator<Item = Part>) -> Vec<RGBColor> {
    let mut peers = 0;
    parts
        .map(|part| {
            peers += usize::from(part == Part::Peer);
            colour(part, peers.wrapping_sub(1))
        })
        .collect()
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), size: i32, colour: RGBColor) -> Drawn {
    let style = (FONT, size).into_font().color(&colour);
    area.draw(&Text::new(text.to_owned(), at, style))
        .map_err(words)
}

fn rectangle(area: &Area<'_>, from: (i32, i32), to: (i32, i32), colour: RGBColor) -> Drawn {
    let filled = Rectangle::new([from, to], colour.filled());
    area.draw(&filled).map_err(words)
}

impl Page<'_> {
    /// The page, with what `draw` puts between title and foot.
    fn draw(&self, height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, String> {
        let mut svg = String::new();
        {
            let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
            area.fill(&WHITE).map_err(words)?;
            text(&area, &bare(self.title), (16, 14), 20, INK)?;
            let foot = height as i32 - FOOT + 8;
            text(&area, self.below, (16, foot), 12, BASE)?;
            draw(&area)?;
            area.present().map_err(words)?;
        }
        // Behind the first tag.
        Ok(slim(&svg.replacen(">\n", &format!(">\n{DARK}\n"), 1)))
    }

    /// Groups of points, a line for each contender, on an axis with labels.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn points(&self, groups: &[(String, Vec<Bar>)], axis: Axis) -> Result<String, String> {
        const LEFT: i32 = 16;
        const AXIS: i32 = 300;
        const LONGEST: f64 = 540.0;
        const LINE: i32 = 19;
        const GROUP: i32 = 34;
        const PALE: RGBColor = RGBColor(222, 226, 230);
        let all = || groups.iter().flat_map(|(_, bars)| bars);
        let positive = || all().map(|bar| bar.value).filter(|value| *value > 0.0);
        let on_axis = |value: f64| match axis {
            Axis::Even => value,
            Axis::Time | Axis::Count => value.log10(),
        };
        let least = match axis {
            Axis::Even => 0.0,
            _ => on_axis(positive().fold(f64::INFINITY, f64::min)).floor(),
        };
        let most = on_axis(positive().fold(0.0, f64::max));
        let (least, most) = if least.is_finite() && most.is_finite() {
            (least, most)
        } else {
            (0.0, 1.0)
        };
        let span = (most - least).max(1.0);
        let step = if axis == Axis::Even {
            (span / 8.0).ceil() as usize
        } else {
            1
        };
        let place = |value: f64| AXIS + ((value - least) / span * LONGEST) as i32;
        let lines = groups.len() as i32 * GROUP + all().count() as i32 * LINE;
        let height = TOP + lines + FOOT + 40;
        self.draw(height as u32, |area| {
            let bottom = TOP + lines + 8;
            for mark in (least as i32..=(least + span).floor() as i32).step_by(step) {
                let x = place(f64::from(mark));
                rectangle(area, (x, TOP), (x + 1, bottom), PALE)?;
                let label = match axis {
                    Axis::Even => mark.to_string(),
                    Axis::Time | Axis::Count => tens(mark, axis),
                };
                text(area, &label, (x - 8, bottom + 6), 13, INK)?;
            }
            let mut y = TOP;
            for (name, bars) in groups {
                text(area, &bare(name), (LEFT, y + 12), 14, INK)?;
                y += GROUP;
                let colours = colours(bars.iter().map(|bar| bar.part));
                for (bar, colour) in bars.iter().zip(colours) {
                    text(area, &bar.name, (LEFT + 16, y), 13, INK)?;
                    let x = match on_axis(bar.value) {
                        value if value.is_finite() => place(value),
                        _ => AXIS,
                    };
                    let middle = y + LINE / 2 - 3;
                    rectangle(area, (AXIS, middle), (x, middle + 1), PALE)?;
                    let point = Circle::new((x, middle), 5, colour.filled());
                    area.draw(&point).map_err(words)?;
                    text(area, &bar.text, (x + 12, y), 13, INK)?;
                    y += LINE;
                }
            }
            Ok(())
        })
    }

    /// Lines, with names and scales of both axes.
    ///
    /// # Errors
    /// If it cannot be drawn.
    pub fn lines(
        &self,
        (x_name, x_scale): (&str, Scale),
        (y_name, y_scale): (&str, Scale),
        lines: &[Line],
    ) -> Result<String, String> {
        let place = |(x, y): &(f64, f64)| (x_scale.place(*x), y_scale.place(*y));
        let whole = |(x, y): &(f64, f64)| x.is_finite() && y.is_finite();
        let placed = |line: &Line| -> Vec<(f64, f64)> {
            line.points.iter().map(place).filter(whole).collect()
        };
        let placed: Vec<Vec<(f64, f64)>> = lines.iter().map(placed).collect();
        let range = |values: Vec<f64>, scale: Scale| {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            match scale {
                _ if least > most => 0.0..1.0,
                Scale::Even => 0.0..(most * 1.05).max(f64::MIN_POSITIVE),
                Scale::Twos => least - 0.1..(most + 0.1).max(least + 0.5),
                Scale::Tens => least - 0.05..(most + 0.05).max(least + 0.5),
            }
        };
        let points = || placed.iter().flatten();
        let x_range = range(points().map(|p| p.0).collect(), x_scale);
        let y_range = range(points().map(|p| p.1).collect(), y_scale);
        let colours = colours(lines.iter().map(|line| line.part));
        self.draw(500, |area| {
            let picture = area.margin(TOP, FOOT, 8, LEGEND);
            let mut chart = ChartBuilder::on(&picture)
                .x_label_area_size(48)
                .y_label_area_size(64)
                .build_cartesian_2d(x_range.clone(), y_range.clone())
                .map_err(words)?;
            let count = |scale: Scale, range: &std::ops::Range<f64>| match scale {
                Scale::Even => 8,
                _ => ((range.end - range.start).ceil() as usize + 1).max(2),
            };
            let axis = (FONT, 14).into_font().color(&INK);
            chart
                .configure_mesh()
                .x_labels(count(x_scale, &x_range))
                .y_labels(count(y_scale, &y_range))
                .x_label_formatter(&|place| x_scale.label(*place))
                .y_label_formatter(&|place| y_scale.label(*place))
                .x_desc(x_name)
                .y_desc(y_name)
                .axis_desc_style(axis.clone())
                .label_style(axis)
                .max_light_lines(0)
                .draw()
                .map_err(words)?;
            // trefoil's line is the last, above all others.
            let mut order: Vec<usize> = (0..lines.len()).collect();
            order.sort_by_key(|&i| lines[i].part == Part::Ours);
            for i in order {
                let width = if lines[i].part == Part::Ours { 3 } else { 2 };
                let style = colours[i].stroke_width(width);
                let series = LineSeries::new(placed[i].iter().copied(), style);
                chart.draw_series(series).map_err(words)?;
                if placed[i].len() < 20 {
                    let dots = placed[i].iter();
                    let dots = dots.map(|at| Circle::new(*at, width + 1, colours[i].filled()));
                    chart.draw_series(dots).map_err(words)?;
                }
            }
            for (nth, (line, colour)) in (0..).zip(lines.iter().zip(&colours)) {
                let (x, y) = (WIDTH as i32 - LEGEND + 16, TOP + 8 + nth * 22);
                rectangle(area, (x, y + 4), (x + 18, y + 8), *colour)?;
                text(area, &line.name, (x + 26, y), 13, INK)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slim_picture_shows_the_same() {
        let line = |points: &str| {
            format!("<rect x=\"1\"/>\n<polyline fill=\"none\" points=\"{points}\"/>\n")
        };
        let straight = line("0,0 1,1 2,2 9,9 ").replace("<rect", "<rect opacity=\"1\"");
        assert_eq!(slim(&straight), line("0,0 9,9"));
        for kept in ["0,0 1,5 2,2 9,9", "3,3", "", "0,0 5,5 0,0"] {
            assert_eq!(slim(&line(kept)), line(kept));
        }
        let curve: Vec<String> = (0..500).map(|x| format!("{x},{}", x * x / 900)).collect();
        let once = slim(&line(&curve.join(" ")));
        assert!(once.len() < 500, "{}", once.len());
        assert_eq!(slim(&once), once);
    }
}
