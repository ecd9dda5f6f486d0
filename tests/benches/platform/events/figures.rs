//! What loads came to: measured in turn, and told beside each other.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::load::{Amount, Work};
use crate::process::processor_time;

/// Somebody who is measured.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    /// Its processes.
    pub(crate) pids: Vec<i32>,
    /// The load on it, as a process.
    pub(crate) command: Box<dyn Fn(Work, Amount) -> Command>,
}

/// What a load came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// How many were answered.
    pub(crate) count: u64,
    /// A second.
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// Processor time of its processes, in microseconds for each answer: with the warming up, which is a part of both.
    pub(crate) cpu: f64,
}

impl Contender {
    /// Runs the load, and reads the line that it prints.
    pub(crate) fn measure(&self, work: Work, amount: Amount) -> Measured {
        let before = processor_time(&self.pids);
        let output = (self.command)(work, amount).output().expect("the load starts");
        let cpu = processor_time(&self.pids) - before;
        let (said, wrong) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "the load on {}: {said}{wrong}", self.name);
        let told: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        let number =
            |name: &str| told[name].as_f64().unwrap_or_else(|| panic!("{}: no {name}: {said}", self.name));
        let time = |name: &str| Duration::from_secs_f64(number(name) / 1e6);
        let (count, seconds) = (number("count"), number("seconds"));
        let whole = count * (amount.warm + amount.measure).as_secs_f64() / amount.measure.as_secs_f64();
        Measured {
            count: count as u64,
            rate: count / seconds,
            p50: time("p50_us"),
            p99: time("p99_us"),
            cpu: cpu.as_secs_f64() * 1e6 / whole,
        }
    }
}

/// A row of a comparison: who, and how that one is asked.
pub(crate) struct Row<'a> {
    pub(crate) contender: &'a Contender,
    /// What is special about it; empty: nothing.
    pub(crate) how: &'static str,
    pub(crate) work: Work,
}

/// Measures all rows in turn, so often; each round another one is the first. Prints medians, and what the first row's rate is of each
/// other one's; of the second one's it is to be `goal`, where there is one. The median of the first row's rate.
pub(crate) fn compare(what: &str, rows: &[Row<'_>], amount: Amount, rounds: usize, goal: Option<f64>) -> f64 {
    let mut all = vec![Vec::new(); rows.len()];
    for round in 0..rounds {
        for turn in 0..rows.len() {
            let whose = (round + turn) % rows.len();
            let Row { contender, work, .. } = &rows[whose];
            all[whose].push(contender.measure(*work, amount));
        }
    }
    println!("{what}");
    println!("  {:<24}{:>9} {:>18} {:>9} {:>9} {:>8}", "", "/s", "", "p50 ms", "p99 ms", "CPU us");
    for (Row { contender, how, .. }, own) in rows.iter().zip(&all) {
        let (least, most) = bounds(own);
        let of = |field: fn(&Measured) -> f64| median(own.iter().map(field));
        println!(
            "  {:<24}{:>9.0} {:>18} {:>9.2} {:>9.2} {:>8.0}",
            format!("{}{how}", contender.name),
            of(|it| it.rate),
            format!("({least:.0} to {most:.0})"),
            of(|it| it.p50.as_secs_f64() * 1e3),
            of(|it| it.p99.as_secs_f64() * 1e3),
            of(|it| it.cpu)
        );
    }
    // Of each round, so that what the machine does meanwhile meets both.
    let ratio = |other: usize| median(all[0].iter().zip(&all[other]).map(|(one, two)| one.rate / two.rate));
    let ratios: Vec<_> = (1..rows.len())
        .map(|other| format!("{:.2} of {}{}", ratio(other), rows[other].contender.name, rows[other].how))
        .collect();
    println!("  the first: {}", ratios.join(", "));
    if let Some(goal) = goal {
        println!("  of {} {}", rows[1].contender.name, verdict(ratio(1), goal, ratio(1) >= goal));
    }
    median(all[0].iter().map(|it| it.rate))
}

/// A figure beside its goal.
pub(crate) fn verdict(reached: f64, goal: f64, met: bool) -> String {
    format!("{reached:.2} (goal {goal}): {}", if met { "met" } else { "MISSED" })
}

fn bounds(own: &[Measured]) -> (f64, f64) {
    own.iter().fold((f64::INFINITY, 0.0), |(least, most), it| (it.rate.min(least), it.rate.max(most)))
}

pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
