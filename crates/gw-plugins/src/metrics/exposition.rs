//! The text form of Prometheus.

use std::fmt::{Display, Write as _};

/// Metrics of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// The name, with its unit.
    pub name: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How.
    pub kind: FamilyKind,
}

/// What can be done with the numbers of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// They only rise.
    Counter,
    /// They rise and fall.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// Metrics, written one family after the other.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Family {
    /// One whose numbers only rise.
    #[must_use]
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        let kind = FamilyKind::Counter;
        Self { name, help, kind }
    }

    /// One whose numbers rise and fall.
    #[must_use]
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        let kind = FamilyKind::Gauge;
        Self { name, help, kind }
    }

    /// Counts by size.
    #[must_use]
    pub const fn histogram(name: &'static str, help: &'static str) -> Self {
        let kind = FamilyKind::Histogram;
        Self { name, help, kind }
    }
}

impl Exposition {
    /// The media type of the text.
    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";

    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a family: its samples follow.
    pub fn family(&mut self, family: &Family) {
        let Family { name, help, kind } = family;
        let kind = match kind {
            FamilyKind::Counter => "counter",
            FamilyKind::Gauge => "gauge",
            FamilyKind::Histogram => "histogram",
        };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Writes a sample: labels are written in their order, values escaped.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (position, (label, value)) in labels.iter().enumerate() {
            self.text.push(if position == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.line(format_args!(" {value}\n"));
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.text
            .write_fmt(line)
            .expect("a text takes what is written to it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_prometheus_reads_it() {
        let mut exposition = Exposition::new();
        exposition.family(&Family::counter("x_total", "Things"));
        exposition.sample("x_total", &[("a", "q\"\\\n"), ("b", "")], 7);
        exposition.sample("x_total", &[], 1.5);
        assert_eq!(
            exposition.into_text(),
            "# HELP x_total Things\n# TYPE x_total counter\nx_total{a=\"q\\\"\\\\\\n\",b=\"\"} 7\nx_total 1.5\n"
        );
    }
}
