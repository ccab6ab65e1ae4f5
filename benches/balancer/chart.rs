//! The figures as pictures: shares, movement and cost over the number of targets.

use crate::others::{KONG, Published};
use crate::quality::Quality;
use crate::report::{ALGORITHMS, Figures};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 48.0;
const INK: &str = "#334155";

const COLOURS: [&str; 7] = [
    "#2563eb", "#0891b2", "#16a34a", "#ca8a04", "#dc2626", "#9333ea", "#64748b",
];

struct Curve {
    label: String,
    points: Vec<(f64, f64)>,
}

/// What is drawn over the number of targets, which is a logarithm.
struct Chart {
    title: &'static str,
    targets: (f64, f64),
    /// The values that have a line, the first and the last at the edges.
    lines: Vec<f64>,
    curves: Vec<Curve>,
}

/// Each picture with its name.
pub(crate) fn all(figures: &Figures) -> Vec<(&'static str, String)> {
    let quality = |of: fn(&Quality) -> f64| {
        let tables = [
            ("slots", "slots, 65,536"),
            ("maglev", "Maglev, 65,537"),
            ("ring", "ketama ring"),
        ];
        let curve = move |(name, label): (&str, &str)| Curve {
            label: label.to_owned(),
            points: figures
                .quality(name)
                .map(|quality| (quality.targets as f64, of(quality)))
                .collect(),
        };
        tables.into_iter().map(curve).collect::<Vec<_>>()
    };
    let kong = |of: fn(&Published) -> Option<f64>| Curve {
        label: "Kong, 10,000 (fails from 63)".to_owned(),
        points: KONG
            .iter()
            .filter_map(|row| Some((row.0 as f64, of(row)?)))
            .collect(),
    };
    let shares = Chart {
        title: "The busiest target's share of the mean, equal weights",
        targets: (2.0, 1000.0),
        lines: [1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3].to_vec(),
        curves: quality(|quality| quality.most)
            .into_iter()
            .chain([kong(|row| Some(row.1))])
            .collect(),
    };
    let movement = Chart {
        title: "Percent of the keys that move between those that stay, when one target comes",
        targets: (2.0, 1000.0),
        lines: [0.0, 0.5, 1.0, 1.5, 2.0].to_vec(),
        curves: quality(|quality| quality.excess)
            .into_iter()
            .chain([kong(|row| row.2)])
            .collect(),
    };
    let picks = |(case, label): (&str, &str)| Curve {
        label: label.to_owned(),
        points: [3, 100, 1_000, 10_000]
            .into_iter()
            .filter_map(|size| Some((size as f64, figures.ns(case, size)?)))
            .collect(),
    };
    let cost = Chart {
        title: "Nanoseconds a pick",
        targets: (3.0, 10_000.0),
        lines: [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0].to_vec(),
        curves: ALGORITHMS.map(picks).into_iter().collect(),
    };
    vec![
        ("shares", shares.draw()),
        ("movement", movement.draw()),
        ("picks", cost.draw()),
    ]
}

impl Chart {
    fn draw(&self) -> String {
        let mut body = text(8.0, 24.0, "start", 14, INK, self.title) + &self.axes();
        let mut free = f64::MIN;
        let mut ends: Vec<(f64, &Curve, &str)> = Vec::new();
        for (curve, colour) in self.curves.iter().zip(COLOURS) {
            let mut points = curve
                .points
                .iter()
                .map(|(targets, value)| (self.across(*targets), self.up(*value)));
            let corners: Vec<String> = points.clone().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            body += &format!(
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
                corners.join(" ")
            );
            for (x, y) in points.clone() {
                body += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n");
            }
            ends.extend(points.next_back().map(|(_, y)| (y, curve, colour)));
        }
        // The name of each curve at its end, moved apart where curves meet.
        ends.sort_by(|one, other| one.0.total_cmp(&other.0));
        for (y, curve, colour) in ends {
            let y = y.max(free);
            free = y + 15.0;
            body += &text(WIDTH - RIGHT + 8.0, y + 4.0, "start", 12, colour, &curve.label);
        }
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
        )
    }

    fn axes(&self) -> String {
        let mut drawn = String::new();
        let end = WIDTH - RIGHT;
        for value in &self.lines {
            let y = self.up(*value);
            drawn += &format!(
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#e2e8f0\"/>\n"
            );
            drawn += &text(LEFT - 8.0, y + 4.0, "end", 11, INK, &value.to_string());
        }
        let shown = [3.0, 10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0];
        for targets in shown.into_iter().filter(|targets| *targets <= self.targets.1) {
            drawn += &text(
                self.across(targets),
                HEIGHT - BOTTOM + 18.0,
                "middle",
                11,
                INK,
                &targets.to_string(),
            );
        }
        drawn + &text((LEFT + end) / 2.0, HEIGHT - 10.0, "middle", 11, INK, "targets")
    }

    fn across(&self, targets: f64) -> f64 {
        let (least, most) = self.targets;
        LEFT + (WIDTH - LEFT - RIGHT) * (targets / least).ln() / (most / least).ln()
    }

    fn up(&self, value: f64) -> f64 {
        let (least, most) = (
            self.lines.first().copied().unwrap_or(0.0),
            self.lines.last().copied().unwrap_or(1.0),
        );
        let share = (value.clamp(least, most) - least) / (most - least);
        HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
    }
}

fn text(x: f64, y: f64, anchor: &str, size: u32, colour: &str, words: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{colour}\">{words}</text>\n"
    )
}
