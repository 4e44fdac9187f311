//! The judge: from samples and goals to a row with a verdict.
//!
//! On the median of all samples (or the fraction that the row asks for), with [`SLACK`] for the
//! noise of the machine. Goals in nanoseconds were set on one machine; on one that is slower (by
//! [`slowness`]) a goal can also be met "here", multiplied by that. Ratios are never scaled, and
//! nothing is compared with what another run has measured.
//!
//! Checked by the tests below.

use crate::machine::slowness;
use crate::record::{FRACTIONS, Figure, Judged};
use crate::rows::{Goal, Kind, Measured, Row};

/// A goal is met within three percent.
pub const SLACK: f64 = 1.03;

/// The sample at that fraction of the sorted ones.
fn at(sorted: &[f64], fraction: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * fraction).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// The middle value.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    at(&values, 0.5)
}

fn figure(name: &str, kind: Kind, samples: &[f64], fraction: f64) -> Figure {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let value = at(&sorted, fraction);
    let quantiles = if sorted.len() < FRACTIONS {
        sorted
    } else {
        let each = (0..=FRACTIONS).map(|i| at(&sorted, i as f64 / FRACTIONS as f64));
        each.collect()
    };
    Figure {
        name: name.to_owned(),
        kind,
        value,
        quantiles,
    }
}

/// In words; whether it is met; whether it is met for so slow a machine.
fn reached(row: &Row, judged: &Judged, goal: Goal) -> (String, bool, bool) {
    let value = judged.best(Kind::Ours).map_or(f64::NAN, |f| f.value);
    let (name, base) = judged
        .base()
        .map_or(("", f64::NAN), |f| (f.name.as_str(), f.value));
    let plain = |words: String, met| (words, met, met);
    let most = |words: String, value: f64, most: f64| {
        let met = value <= most * SLACK;
        (words, met, met || value <= most * SLACK * slowness())
    };
    match goal {
        Goal::AtMost(ns) => most(format!("≤ {}", row.unit.show(ns)), value, ns),
        Goal::Over(ns) => {
            let words = format!("≤ sequential + {}", row.unit.show(ns));
            most(words, value - base, ns)
        }
        Goal::Times(x) => plain(format!("≤ ×{x:.2} of {name}"), value <= base * x * SLACK),
        Goal::Speedup(x) => plain(format!("{x:.2} times as fast"), base / value * SLACK >= x),
        Goal::Ahead => {
            let peer = judged.best(Kind::Peer);
            let met = peer.is_none_or(|f| value <= f.value * SLACK);
            plain("ahead".to_owned(), met)
        }
        Goal::Nothing => plain("0".to_owned(), value == 0.0),
    }
}

/// A row of what was measured.
#[must_use]
pub fn judge(row: &Row, measured: &Measured) -> Judged {
    let all = measured.0.iter();
    let entries = all.map(|(name, kind, samples)| figure(name, *kind, samples, row.fraction));
    let mut judged = Judged {
        name: row.name.clone(),
        unit: row.unit,
        goals: String::new(),
        verdict: String::new(),
        over: row.goals.iter().any(|goal| matches!(goal, Goal::Over(_))),
        plot: row.plot.map(|(plot, x)| (plot.to_owned(), x)),
        detail: row.detail,
        entries: entries.collect(),
    };
    let goals = row.goals.iter();
    let goals: Vec<_> = goals.map(|goal| reached(row, &judged, *goal)).collect();
    let verdict = match () {
        () if goals.is_empty() => "",
        () if goals.iter().all(|(_, met, _)| *met) => "yes",
        () if goals.iter().all(|(_, _, here)| *here) => "here",
        () => "no",
    };
    verdict.clone_into(&mut judged.verdict);
    let words: Vec<String> = goals.into_iter().map(|(words, _, _)| words).collect();
    judged.goals = words.join(", ");
    judged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::Unit;

    fn verdict(goals: &'static [Goal], ours: f64) -> String {
        let measured = Measured::new(vec![
            ("trefoil", Kind::Ours, vec![ours]),
            ("rayon", Kind::Peer, vec![2.0]),
            ("sequential", Kind::Sequential, vec![4.0]),
        ]);
        judge(&Row::new("work", Unit::Ns, goals), &measured).verdict
    }

    #[test]
    fn every_goal_can_be_met_and_missed() {
        for (goals, met, missed) in [
            (&[Goal::AtMost(1.0)][..], 1.0, 1e9),
            (&[Goal::Over(1.0)], 5.0, 1e9),
            (&[Goal::Times(0.5)], 2.05, 2.1),
            (&[Goal::Speedup(2.0)], 2.05, 2.1),
            (&[Goal::Ahead], 2.05, 2.1),
            (&[Goal::Nothing], 0.0, 0.1),
            (&[Goal::Ahead, Goal::AtMost(1.0)], 1.0, 2.1),
        ] {
            assert_eq!(verdict(goals, met), "yes", "{goals:?}");
            assert_eq!(verdict(goals, missed), "no", "{goals:?}");
        }
        assert_eq!(verdict(&[], 1.0), "");
        let here = 1.0 + (slowness() * SLACK - 1.0) / 2.0;
        let wanted = if here > SLACK { "here" } else { "yes" };
        assert_eq!(verdict(&[Goal::AtMost(1.0)], here), wanted);
    }

    #[test]
    fn a_fraction_of_many_samples() {
        let samples: Vec<f64> = (0..=10_000).rev().map(f64::from).collect();
        let measured = Measured::new(vec![("trefoil", Kind::Ours, samples)]);
        let judged = judge(&Row::p99("work", Unit::Us), &measured);
        assert_eq!(judged.entries[0].value, 9_900.0);
        assert_eq!(judged.entries[0].quantiles.len(), FRACTIONS + 1);
        assert_eq!(judged.entries[0].quantiles[FRACTIONS / 2], 5_000.0);
    }
}
