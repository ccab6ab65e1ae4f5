//! The curves: what a lookup costs as the table grows, ours and matchit's, and what others have published.

use crate::goals::{PUBLISHED, PUBLISHED_CASE};
use crate::report::Figures;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 140.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 52.0;
const OURS: &str = "#c2410c";
const THEIRS: &str = "#475569";
const OTHERS: &str = "#0e7490";
const INK: &str = "#0f172a";

const SIZES: [(usize, &str); 6] = [
    (10, "10"),
    (100, "100"),
    (1_000, "1k"),
    (10_000, "10k"),
    (100_000, "100k"),
    (1_000_000, "1M"),
];

/// Nanoseconds at the lower and the upper end of the picture.
const LOWEST: f64 = 10.0;
const HIGHEST: f64 = 10_000.0;

/// What was published for one path of 100,000, and what does the same here.
const BESIDE: [&str; 2] = ["exact path", "parameter"];

struct Curve {
    label: String,
    colour: &'static str,
    dashes: &'static str,
    /// The position of a size, and nanoseconds.
    points: Vec<(usize, f64)>,
}

pub(crate) fn svg(figures: &Figures) -> String {
    let curves: Vec<Curve> = [("param", "parameter", ""), ("literal", "literal", "5 4")]
        .into_iter()
        .flat_map(|(shape, word, dashes)| {
            [("gw", OURS), ("matchit", THEIRS)].map(|(name, colour)| {
                let ns = |(_, size): (usize, &str)| {
                    figures.ns(&format!("router/scale/{shape}"), &format!("{name}, {size}"))
                };
                let points = SIZES
                    .into_iter()
                    .enumerate()
                    .filter_map(|(at, size)| Some((at, ns(size)?)));
                Curve {
                    label: format!("{name}, {word}"),
                    colour,
                    dashes,
                    points: points.collect(),
                }
            })
        })
        .collect();
    let mut body = axes();
    for curve in &curves {
        body += &curve.draw();
    }
    body += &labels(&curves);
    for (what, contender, ns) in PUBLISHED.into_iter().filter(|(_, same, _)| BESIDE.contains(same)) {
        body += &square(ns, OTHERS, what);
        if let Some(here) = figures.ns(PUBLISHED_CASE, contender) {
            body += &square(here, OURS, &format!("gw, {contender}"));
        }
    }
    body += &text(
        8.0,
        22.0,
        "start",
        14,
        INK,
        "Nanoseconds a lookup, over the number of routes",
    );
    let note = "curves: drawn uniformly over the whole table; squares: one path of 100,000 over and over, ours and as published by others";
    body += &text(8.0, 42.0, "start", 11, INK, note);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn square(ns: f64, colour: &str, words: &str) -> String {
    let (x, y) = (across(4), up(ns));
    let corner = (x - 3.5, y - 3.5);
    let drawn = format!(
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\" fill=\"{colour}\"/>\n",
        corner.0, corner.1
    );
    drawn + &text(x + 8.0, y + 4.0, "start", 10, colour, words)
}

fn axes() -> String {
    let mut drawn = String::new();
    let end = WIDTH - RIGHT;
    for ns in [10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0, 10_000.0] {
        let y = up(ns);
        drawn +=
            &format!("<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#e2e8f0\"/>\n");
        drawn += &text(LEFT - 8.0, y + 4.0, "end", 11, INK, &format!("{ns:.0}"));
    }
    for (at, (_, size)) in SIZES.into_iter().enumerate() {
        drawn += &text(across(at), HEIGHT - BOTTOM + 20.0, "middle", 11, INK, size);
    }
    drawn += &text(
        (LEFT + end) / 2.0,
        HEIGHT - 12.0,
        "middle",
        11,
        INK,
        "routes in the table",
    );
    drawn
}

/// The name of each curve at its end, moved apart where curves meet.
fn labels(curves: &[Curve]) -> String {
    let mut ends: Vec<(f64, &Curve)> = curves
        .iter()
        .filter_map(|curve| Some((up(curve.points.last()?.1), curve)))
        .collect();
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut drawn = String::new();
    let mut free = f64::MIN;
    for (y, curve) in ends {
        let y = y.max(free);
        free = y + 14.0;
        drawn += &text(
            WIDTH - RIGHT + 8.0,
            y + 4.0,
            "start",
            12,
            curve.colour,
            &curve.label,
        );
    }
    drawn
}

impl Curve {
    fn draw(&self) -> String {
        let points = self.points.iter().map(|(at, ns)| (across(*at), up(*ns)));
        let corners: Vec<String> = points.clone().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let mut drawn = format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>\n",
            corners.join(" "),
            self.colour,
            self.dashes
        );
        for (x, y) in points {
            drawn += &format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>\n",
                self.colour
            );
        }
        drawn
    }
}

fn across(at: usize) -> f64 {
    let step = (WIDTH - LEFT - RIGHT) / (SIZES.len() - 1) as f64;
    LEFT + step * at as f64
}

fn up(ns: f64) -> f64 {
    let share = (ns.clamp(LOWEST, HIGHEST) / LOWEST).ln() / (HIGHEST / LOWEST).ln();
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

fn text(x: f64, y: f64, anchor: &str, size: u32, colour: &str, words: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{colour}\">{words}</text>\n"
    )
}
