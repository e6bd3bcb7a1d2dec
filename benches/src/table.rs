//! The table of measures, goals and what falls short of them.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A goal, and what lies beyond it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Goal {
    /// At most this; at most that.
    AtMost(f64, Option<f64>),
    /// At least this; at least that.
    AtLeast(f64, Option<f64>),
}

impl Goal {
    /// What is said of a value.
    fn verdict(self, value: f64) -> String {
        let (reached, stretched, short) = match self {
            Goal::AtMost(goal, stretch) => (value <= goal, stretch.is_some_and(|to| value <= to), value / goal - 1.0),
            Goal::AtLeast(goal, stretch) => (value >= goal, stretch.is_some_and(|to| value >= to), 1.0 - value / goal),
        };
        match (reached, stretched) {
            (true, true) => "reached, and the stretch".into(),
            (true, false) => "reached".into(),
            (false, _) => format!("short by {:.0} %", (short * 100.0).max(1.0)),
        }
    }

    fn limits(self) -> [String; 2] {
        let (sign, goal, stretch) = match self {
            Goal::AtMost(goal, stretch) => ('≤', goal, stretch),
            Goal::AtLeast(goal, stretch) => ('≥', goal, stretch),
        };
        [format!("{sign} {goal}"), stretch.map_or(String::new(), |stretch| stretch.to_string())]
    }
}

/// What the goal is about.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Judged {
    /// Ours over the other's.
    Ratio(Goal),
    /// Ours, whatever the other's.
    Value(Goal),
    /// Nothing: a peer, to compare.
    Nothing,
}

/// One measure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub measure: String,
    /// Ours, or a peer's.
    pub ours: f64,
    /// The floor's or peer's beside it.
    pub other: Option<f64>,
    /// The median ratio of both.
    pub ratio: Option<f64>,
    /// The unit of both.
    pub unit: Cow<'static, str>,
    /// What is to be reached.
    pub judged: Judged,
}

impl Row {
    /// A value that stands for itself.
    pub fn value(measure: impl Into<String>, ours: f64, unit: &'static str, goal: Option<Goal>) -> Row {
        let judged = goal.map_or(Judged::Nothing, Judged::Value);
        Row { measure: measure.into(), ours, other: None, ratio: None, unit: unit.into(), judged }
    }

    /// A number of ours and another's, of which no ratio is of interest.
    pub fn beside(measure: impl Into<String>, [ours, other]: [f64; 2], judged: Judged) -> Row {
        Row { measure: measure.into(), ours, other: Some(other), ratio: None, unit: "".into(), judged }
    }

    /// A value over another's.
    pub fn over(measure: impl Into<String>, [ours, other]: [f64; 2], unit: &'static str, judged: Judged) -> Row {
        let ratio = Some(ours / other);
        Row { measure: measure.into(), ours, other: Some(other), ratio, unit: unit.into(), judged }
    }

    fn cells(&self) -> [String; 7] {
        let with_unit = |value: f64| format!("{} {}", figure(value), self.unit);
        let (goal, value) = match self.judged {
            Judged::Ratio(goal) => (Some(goal), self.ratio.unwrap_or(f64::NAN)),
            Judged::Value(goal) => (Some(goal), self.ours),
            Judged::Nothing => (None, 0.0),
        };
        let [limit, stretch] = goal.map_or_else(Default::default, Goal::limits);
        let verdict = goal.map_or(String::new(), |goal| goal.verdict(value));
        [
            self.measure.clone(),
            with_unit(self.ours),
            self.other.map_or(String::new(), with_unit),
            self.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            limit,
            stretch,
            verdict,
        ]
    }
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

const HEADS: [&str; 7] = ["measure", "ours", "floor/peer", "ratio", "goal", "stretch", ""];

/// Measures, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Its rows.
    pub rows: Vec<Row>,
}

/// As Markdown.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = [HEADS.map(String::from)].into_iter().chain(self.rows.iter().map(Row::cells)).collect();
        let widths = [0, 1, 2, 3, 4, 5, 6].map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
        for (index, row) in rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(widths) {
                write!(f, "| {cell:width$} ")?;
            }
            writeln!(f, "|")?;
            if index == 0 {
                widths.iter().try_for_each(|width| write!(f, "|{:-<1$}", "", width + 2))?;
                writeln!(f, "|")?;
            }
        }
        Ok(())
    }
}

/// How a size in bytes is written.
pub fn size(bytes: usize) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes >= 1 << 10 && bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_how_much_is_missing() {
        assert_eq!(Goal::AtMost(1.5, Some(1.2)).verdict(1.8), "short by 20 %");
        assert_eq!(Goal::AtMost(1.5, Some(1.2)).verdict(1.3), "reached");
        assert_eq!(Goal::AtLeast(0.8, Some(0.9)).verdict(0.95), "reached, and the stretch");
        assert_eq!(Goal::AtLeast(0.8, None).verdict(0.4), "short by 50 %");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let table = Table { rows: vec![Row::value("allocations", 0.0123, "", Some(Goal::AtMost(0.02, None)))] };
        let text = table.to_string();
        let widths: Vec<_> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "{text}");
        assert!(text.contains("0.0123"), "{text}");
    }
}
