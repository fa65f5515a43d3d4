//! The printed tables.

use std::fmt;

/// The figures of one number of connections.
pub struct Table {
    title: String,
    rows: Vec<Row>,
    notes: Vec<String>,
    /// Defects, as opposed to slowness.
    pub defects: Vec<String>,
}

struct Row {
    what: String,
    floor: Option<f64>,
    operator: f64,
    goal: Option<Goal>,
}

/// The goal of a figure.
pub enum Goal {
    /// At most this many times the floor.
    TimesFloor(f64),
    /// At most this.
    AtMost(f64),
}

impl Table {
    pub fn new(title: String) -> Self {
        Self { title, rows: Vec::new(), notes: Vec::new(), defects: Vec::new() }
    }

    /// Adds a figure of both.
    pub fn both(&mut self, what: &str, floor: f64, operator: f64, goal: Option<Goal>) {
        self.rows.push(Row { what: what.to_owned(), floor: Some(floor), operator, goal });
    }

    /// Adds a figure of the operator alone.
    pub fn operator(&mut self, what: &str, operator: f64, goal: Option<Goal>) {
        self.rows.push(Row { what: what.to_owned(), floor: None, operator, goal });
    }

    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub fn defect(&mut self, defect: String) {
        self.defects.push(format!("{}: {defect}", self.title));
    }
}

impl Row {
    fn goal(&self) -> String {
        let (text, met) = match (&self.goal, self.floor) {
            (Some(Goal::TimesFloor(times)), Some(floor)) => (format!("at most {times} x"), self.operator <= times * floor),
            (Some(Goal::AtMost(most)), _) => (format!("at most {most}"), self.operator <= *most),
            _ => return String::new(),
        };
        format!("{text}: {}", if met { "met" } else { "MISSED" })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<54} {:>10} {:>10} {:>7}  goal", self.title, "floor", "operator", "ratio")?;
        for row in &self.rows {
            let floor = row.floor.map(figure).unwrap_or_default();
            let ratio = row.floor.filter(|floor| *floor > 0.0).map(|floor| format!("{:.2}", row.operator / floor));
            let line = format!(
                "{:<54} {floor:>10} {:>10} {:>7}  {}",
                row.what,
                figure(row.operator),
                ratio.unwrap_or_default(),
                row.goal()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}

/// Formats a number to three significant digits, and whole numbers as such.
fn figure(number: f64) -> String {
    match number {
        number if number.fract() == 0.0 || number >= 100.0 => format!("{number:.0}"),
        number if number >= 10.0 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}
