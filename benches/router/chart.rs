//! The curves: what a lookup costs as the table grows, ours and matchit's, and what others have published.

use crate::report::Figures;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 52.0;
const OURS: &str = "#c2410c";
const THEIRS: &str = "#475569";
const OTHERS: &str = "#0e7490";

const SIZES: [(usize, &str); 6] = [
    (10, "10"),
    (100, "100"),
    (1_000, "1k"),
    (10_000, "10k"),
    (100_000, "100k"),
    (1_000_000, "1M"),
];

/// Published for 100,000 routes, each on another machine than ours.
const PUBLISHED: [(&str, f64); 3] = [
    ("lua-resty-radixtree, exact", 95.0),
    ("lua-resty-radixtree, parameter", 314.0),
    ("Kong, prefiltered, 10th route", 409.0),
];

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
    let values = curves.iter().flat_map(|curve| &curve.points).map(|(_, ns)| *ns);
    let highest = values.chain(PUBLISHED.map(|(_, ns)| ns)).fold(100.0, f64::max);
    let top = (highest / 100.0).ceil() * 100.0;
    let mut body = axes(top);
    for curve in &curves {
        body += &curve.draw(top);
    }
    body += &labels(&curves, top);
    for (words, ns) in PUBLISHED {
        let (x, y) = (across(4), up(ns, top));
        body += &format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\" fill=\"{OTHERS}\"/>\n",
            x - 3.5,
            y - 3.5
        );
        body += &text(x - 8.0, y + 4.0, "end", 10, OTHERS, words);
    }
    body += &text(
        8.0,
        22.0,
        "start",
        14,
        "#0f172a",
        "Nanoseconds a lookup, drawn uniformly over the whole table",
    );
    let note = "squares: published by others for 100,000 routes, on their machines; Kong without prefilter: 33,600,000 ns for the last";
    body += &text(8.0, 42.0, "start", 11, "#0f172a", note);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

fn axes(top: f64) -> String {
    let mut drawn = String::new();
    let end = WIDTH - RIGHT;
    for step in 0..=(top / 100.0) as usize {
        let ns = step as f64 * 100.0;
        let y = up(ns, top);
        drawn +=
            &format!("<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\" stroke=\"#e2e8f0\"/>\n");
        drawn += &text(LEFT - 8.0, y + 4.0, "end", 11, "#0f172a", &format!("{ns:.0}"));
    }
    for (at, (_, size)) in SIZES.into_iter().enumerate() {
        drawn += &text(across(at), HEIGHT - BOTTOM + 20.0, "middle", 11, "#0f172a", size);
    }
    drawn += &text(
        (LEFT + end) / 2.0,
        HEIGHT - 12.0,
        "middle",
        11,
        "#0f172a",
        "routes in the table",
    );
    drawn
}

/// The name of each curve at its end, moved apart where curves meet.
fn labels(curves: &[Curve], top: f64) -> String {
    let mut ends: Vec<(f64, &Curve)> = curves
        .iter()
        .filter_map(|curve| Some((up(curve.points.last()?.1, top), curve)))
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
    fn draw(&self, top: f64) -> String {
        let points = self.points.iter().map(|(at, ns)| (across(*at), up(*ns, top)));
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

fn up(ns: f64, top: f64) -> f64 {
    HEIGHT - BOTTOM - ns / top * (HEIGHT - TOP - BOTTOM)
}

fn text(x: f64, y: f64, anchor: &str, size: u32, colour: &str, words: &str) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-size=\"{size}\" fill=\"{colour}\">{words}</text>\n"
    )
}
