//! The report: a table per workload, then our figure against everybody's, round by round.

use std::fmt::Write;

use crate::{
    measure::{Entrant, NOISE, Sample},
    peers::Trouble,
    workload::{Goal, Metric, Versus, Who, Workload},
};

/// A comparison as it came out.
pub(crate) struct Verdict {
    workload: &'static str,
    text: String,
    /// `None`: there was nothing to compare with, or no goal is set.
    reached: Option<bool>,
    /// Others were busy in at least half of our samples or of those we are held against: the machine was measured.
    noisy: bool,
    goal: String,
    ratio: String,
}

/// The section of one workload as Markdown, and its verdicts.
pub(crate) fn section(workload: &Workload, entrants: &[Entrant]) -> (String, Vec<Verdict>) {
    let mut rows = vec![["", workload.unit, "spread", "p50", "p99", "CPU each", "remarks"].map(String::from).to_vec()];
    rows.extend(entrants.iter().map(row));
    let verdicts: Vec<Verdict> = workload.goals.iter().map(|goal| judge(workload, goal, entrants)).collect();
    let mut text = format!("### {}: {}\n\n{}", workload.name, workload.title, aligned(&rows));
    for verdict in &verdicts {
        let _ = write!(text, "\n- {}: {}{}", verdict.text, verdict.ratio, told(verdict));
    }
    text.push_str("\n\n");
    (text, verdicts)
}

/// All verdicts in one table.
pub(crate) fn summary(verdicts: &[Verdict]) -> String {
    let mut rows = vec![["", "compared", "median (each round)", "goal", "reached"].map(String::from).to_vec()];
    for verdict in verdicts {
        let reached = match (verdict.reached, verdict.noisy) {
            (Some(true), false) => "yes",
            (Some(true), true) => "yes? (noisy)",
            (Some(false), false) => "NO",
            (Some(false), true) => "no? (noisy)",
            (None, _) => "-",
        };
        let cells = [verdict.workload, &verdict.text, &verdict.ratio, &verdict.goal, reached];
        rows.push(cells.map(String::from).to_vec());
    }
    format!("### Goals\n\n{}", aligned(&rows))
}

fn told(verdict: &Verdict) -> String {
    let doubt = if verdict.noisy { ", but others were busy: take it again" } else { "" };
    match verdict.reached {
        Some(true) => format!("; goal {}: reached{doubt}", verdict.goal),
        Some(false) => format!("; goal {}: NOT REACHED{doubt}", verdict.goal),
        None => String::new(),
    }
}

fn row(entrant: &Entrant) -> Vec<String> {
    let samples = &entrant.samples;
    let values: Vec<f64> = samples.iter().map(|s| s.value).collect();
    let of = |pick: fn(&Sample) -> Option<f64>| median(samples.iter().filter_map(pick).collect());
    let mut remarks = Vec::new();
    match &entrant.trouble {
        Some(Trouble::Missing(why)) => remarks.push(format!("**MISSING: {why}**")),
        Some(Trouble::NotBuilt(why)) => remarks.push(format!("**not built yet: {why}**")),
        Some(Trouble::Failed(why)) => remarks.push(format!("**FAILED: {}**", why.replace('|', "/"))),
        None => {}
    }
    let errors: u64 = samples.iter().map(|s| s.errors).sum();
    if errors > 0 {
        remarks.push(format!("**{errors} ERRORS**"));
    }
    if let Some(last) = samples.last().filter(|s| !s.note.is_empty()) {
        remarks.push(last.note.clone());
    }
    let noise = samples.iter().map(|s| s.noise).fold(0.0, f64::max);
    if noise > NOISE {
        remarks.push(format!("noisy: others used up to {:.0}%", noise * 100.0));
    }
    let spread = median(values.clone()).filter(|&m| m > 0.0 && values.len() > 1).map(|m| {
        let (low, high) = values.iter().fold((f64::MAX, 0.0_f64), |(low, high), &v| (low.min(v), high.max(v)));
        format!("{:.0}%", (high - low) / m * 100.0)
    });
    vec![
        entrant.who.label().into(),
        median(values).map_or("-".into(), number),
        spread.unwrap_or("-".into()),
        of(|s| s.p50).map_or("-".into(), time),
        of(|s| s.p99).map_or("-".into(), time),
        of(|s| s.cpu_us).map_or("-".into(), time),
        remarks.join("; "),
    ]
}

fn judge(workload: &Workload, goal: &Goal, entrants: &[Entrant]) -> Verdict {
    let figures = |who: Who| -> Vec<f64> {
        let entrant = entrants.iter().find(|e| e.who == who);
        entrant.map_or(Vec::new(), |e| e.samples.iter().filter_map(|s| s.figure(goal.metric)).collect())
    };
    let disturbed = |who: Who| {
        let samples = entrants.iter().find(|e| e.who == who).map_or(&[][..], |e| &e.samples);
        // What memory is taken does not depend on who else runs.
        let timed = !matches!(goal.metric, Metric::Memory | Metric::Start);
        timed && !samples.is_empty() && samples.iter().filter(|s| s.noise > NOISE).count() * 2 >= samples.len()
    };
    let ours = figures(Who::Ours);
    let mut noisy = disturbed(Who::Ours);
    let mut against = |who: Who, prefix: &str| {
        noisy |= disturbed(who);
        (ratios(&ours, &figures(who)), format!("{} / {prefix}{}", goal.metric.label(), who.label()), "x")
    };
    let (rounds, text, unit) = match goal.versus {
        Versus::Nothing => {
            (ours.clone(), goal.metric.label().to_owned(), if goal.metric == Metric::Start { " MiB" } else { "" })
        }
        Versus::One(who) => against(who, ""),
        Versus::Best(many) => {
            let ranked: Vec<_> = many.iter().filter_map(|&who| Some((who, median(figures(who))?))).collect();
            // The best of fewer is a lower bar, which must be seen.
            let whole = if ranked.len() == many.len() { "best peer, " } else { "best of the peers THAT RAN, " };
            let best =
                ranked.into_iter().reduce(|a, b| if (b.1 > a.1) == goal.metric.more_is_better() { b } else { a });
            match best {
                Some((who, _)) => against(who, whole),
                None => (Vec::new(), format!("{} / best peer", goal.metric.label()), "x"),
            }
        }
    };
    let middle = median(rounds.clone());
    let each: Vec<String> = rounds.iter().map(|&r| number(r)).collect();
    let unit = if matches!(goal.versus, Versus::Nothing) && unit.is_empty() {
        format!(" {}", workload.unit)
    } else {
        unit.into()
    };
    Verdict {
        workload: workload.name,
        text,
        noisy,
        reached: goal.bar.zip(middle).map(|(bar, m)| if goal.metric.more_is_better() { m >= bar } else { m <= bar }),
        goal: goal
            .bar
            .map_or("-".into(), |bar| format!("{} {bar}", if goal.metric.more_is_better() { ">=" } else { "<=" })),
        ratio: middle.map_or("nothing to compare".into(), |m| format!("{}{unit} ({})", number(m), each.join(" "))),
    }
}

/// Round by round, so that a slow moment of the machine weighs on both.
fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).filter(|(_, t)| **t > 0.0).map(|(o, t)| o / t).collect()
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    Some(if values.len().is_multiple_of(2) { (values[values.len() / 2 - 1] + upper) / 2.0 } else { upper })
}

fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn time(us: f64) -> String {
    match us {
        us if us >= 1000.0 => format!("{} ms", number(us / 1000.0)),
        us if us >= 100.0 => format!("{us:.0} µs"),
        us => format!("{us:.1} µs"),
    }
}

/// A Markdown table that can also be read as it is.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    // The first column and the last are words, those between are figures.
    let right = |column: usize| column > 0 && column + 1 < columns && columns == 7;
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[column] - cell.chars().count());
            let _ = if right(column) { write!(text, "| {gap}{cell} ") } else { write!(text, "| {cell}{gap} ") };
        }
        text.push_str("|\n");
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let _ = write!(text, "|{}{}", "-".repeat(width + 1), if right(column) { ":" } else { "-" });
            }
            text.push_str("|\n");
        }
    }
    text
}
