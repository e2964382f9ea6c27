//! Tables and numbers in Markdown.

use std::fmt::Write as _;

pub fn verdict(reached: bool) -> String {
    if reached { "yes" } else { "no" }.to_string()
}

pub fn seconds(value: f64) -> String {
    match value {
        1.0.. => format!("{value:.3} s"),
        1e-3.. => format!("{:.2} ms", value * 1e3),
        1e-6.. => format!("{:.2} µs", value * 1e6),
        _ => format!("{:.1} ns", value * 1e9),
    }
}

/// The day, in UTC, of a time in seconds since 1970, after Howard Hinnant's `civil_from_days`.
pub fn date(time: u64) -> String {
    let days = time / 86_400 + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = days / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

/// A Markdown table that can be read as it stands. The first row is the heading.
pub struct Table {
    pub rows: Vec<Vec<String>>,
    /// How many of the first columns are text.
    pub texts: usize,
}

impl Table {
    pub fn new<const N: usize>(heading: [&str; N]) -> Table {
        Table {
            rows: vec![heading.map(str::to_string).to_vec()],
            texts: 1,
        }
    }

    pub fn write(&self, text: &mut String) {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| {
                self.rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|it| it.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        for (number, row) in self.rows.iter().enumerate() {
            for (column, &width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let _ = if column < self.texts {
                    write!(text, "| {cell:width$} ")
                } else {
                    write!(text, "| {cell:>width$} ")
                };
            }
            text.push_str("|\n");
            if number == 0 {
                for (column, &width) in widths.iter().enumerate() {
                    let end = if column < self.texts { "-" } else { ":" };
                    let _ = write!(text, "|-{}{end}", "-".repeat(width));
                }
                text.push_str("|\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400), "2000-02-29");
        assert_eq!(date(1_767_225_599), "2025-12-31");
    }

    #[test]
    fn units() {
        assert_eq!(seconds(1.5), "1.500 s");
        assert_eq!(seconds(0.0123), "12.30 ms");
        assert_eq!(seconds(4.2e-5), "42.00 µs");
        assert_eq!(seconds(7e-9), "7.0 ns");
    }

    #[test]
    fn tables() {
        let mut table = Table::new(["name", "time"]);
        table.rows.push(vec!["a".into(), "10".into()]);
        let mut text = String::new();
        table.write(&mut text);
        assert_eq!(text, "| name | time |\n|------|-----:|\n| a    |   10 |\n");
    }
}
