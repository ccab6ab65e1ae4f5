//! What was measured, kept as JSON, and written into the pages as tables.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::chart;
use crate::others::KONG;
use crate::page;
use crate::quality::Quality;
use crate::turns::Times;

/// What is known of all runs so far: a run replaces what it measured anew.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) times: Times,
    pub(crate) quality: Vec<Quality>,
    pub(crate) threads: Vec<(String, f64)>,
}

/// The pages with tables between `<!-- begin NAME -->` and `<!-- end NAME -->`.
const PAGES: [&str; 2] = ["README.md", "../docs/balancing.md"];

const RESULTS: &str = "results/balancer.json";

/// Algorithms by the names of their cases, and how they are called.
pub(crate) const ALGORITHMS: [(&str, &str); 7] = [
    ("round_robin", "round robin"),
    ("random", "random"),
    ("least_request", "least requests"),
    ("peak_ewma", "peak EWMA"),
    ("slots", "slots"),
    ("maglev", "Maglev"),
    ("ring", "ring"),
];

/// Adds the figures of a run to the record, and brings pages and pictures up to date.
pub(crate) fn record(run: &Figures) -> io::Result<()> {
    let mut figures = match fs::read_to_string(place(RESULTS)) {
        Ok(text) => {
            Figures::parse(&text).ok_or_else(|| io::Error::other(format!("{RESULTS} is not a record")))?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Figures::default(),
        Err(error) => return Err(error),
    };
    figures.times.extend(run.times.clone());
    if !run.quality.is_empty() {
        figures.quality.clone_from(&run.quality);
    }
    if !run.threads.is_empty() {
        figures.threads.clone_from(&run.threads);
    }
    fs::write(place(RESULTS), format!("{:#}\n", figures.json()))?;
    for (name, picture) in chart::all(&figures) {
        fs::write(place(&format!("results/balancer-{name}.svg")), picture)?;
    }
    for page in PAGES {
        let text = fs::read_to_string(place(page))?;
        fs::write(place(page), fill(&text, &figures))?;
    }
    Ok(())
}

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

impl Figures {
    /// How long one operation takes, in nanoseconds.
    pub(crate) fn ns(&self, case: &str, size: usize) -> Option<f64> {
        let figures = self.times.get(&format!("balancer/{case}"))?;
        Some(figures.iter().find(|(known, _)| *known == size)?.1)
    }

    pub(crate) fn quality<'f>(&'f self, table: &'f str) -> impl Iterator<Item = &'f Quality> {
        self.quality.iter().filter(move |quality| quality.table == table)
    }

    fn json(&self) -> Value {
        let quality = self.quality.iter().map(|quality| {
            let figures = [quality.most, quality.least, quality.gained, quality.excess]
                .map(|figure| (figure * 1e4).round() / 1e4);
            json!([quality.table, quality.targets, figures])
        });
        let tenth = |ns: f64| (ns * 10.0).round() / 10.0;
        let times = self.times.iter().map(|(case, figures)| {
            let figures: Vec<_> = figures.iter().map(|(size, ns)| (size, tenth(*ns))).collect();
            (case.clone(), json!(figures))
        });
        json!({
            "machine": page::machine(),
            "nanoseconds": times.collect::<serde_json::Map<_, _>>(),
            "quality: most, least, percent gained, percent moved in excess": quality.collect::<Vec<_>>(),
            "two threads to one": self.threads.iter().map(|(name, gain)| json!([name, (gain * 100.0).round() / 100.0])).collect::<Vec<_>>(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let document: Value = serde_json::from_str(text).ok()?;
        let list = |name: &str| document[name].as_array().cloned();
        let times = document["nanoseconds"]
            .as_object()?
            .iter()
            .map(|(case, figures)| {
                let figure = |pair: &Value| Some((pair[0].as_u64()? as usize, pair[1].as_f64()?));
                Some((
                    case.clone(),
                    figures.as_array()?.iter().map(figure).collect::<Option<_>>()?,
                ))
            });
        let quality = |row: &Value| {
            let figure = |at: usize| row[2][at].as_f64();
            Some(Quality {
                table: row[0].as_str()?.to_owned(),
                targets: row[1].as_u64()? as usize,
                most: figure(0)?,
                least: figure(1)?,
                gained: figure(2)?,
                excess: figure(3)?,
            })
        };
        let gain = |row: &Value| Some((row[0].as_str()?.to_owned(), row[1].as_f64()?));
        Some(Self {
            times: times.collect::<Option<_>>()?,
            quality: list("quality: most, least, percent gained, percent moved in excess")?
                .iter()
                .map(quality)
                .collect::<Option<_>>()?,
            threads: list("two threads to one")?
                .iter()
                .map(gain)
                .collect::<Option<_>>()?,
        })
    }
}

// --- Pages ---

/// The text with its tables brought up to date.
fn fill(text: &str, figures: &Figures) -> String {
    type Table = fn(&Figures) -> String;
    let tables: [(&str, Table); 7] = [
        ("balancer-machine", |_| format!("Machine: {}.\n", page::machine())),
        ("balancer-goals", goals),
        ("balancer-shares", shares),
        ("balancer-movement", movement),
        ("balancer-picks", picks),
        ("balancer-rebuilds", rebuilds),
        ("balancer-threads", threads),
    ];
    tables.into_iter().fold(text.to_owned(), |page, (name, table)| {
        page::fill(&page, name, &table(figures))
    })
}

/// A table with a head, and a row of figures for each name; what is not known is a dash.
fn table(head: &[String], rows: impl IntoIterator<Item = (String, Vec<Option<String>>)>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for (name, figures) in rows {
        let cells: Vec<String> = figures
            .into_iter()
            .map(|figure| figure.unwrap_or_else(|| "–".to_owned()))
            .collect();
        text += &format!("| {name} | {} |\n", cells.join(" | "));
    }
    text
}

const SHOWN: [usize; 9] = [3, 5, 10, 20, 50, 100, 200, 300, 1000];

fn by_targets(
    figures: &Figures,
    kong: impl Fn(usize) -> Option<String>,
    of: impl Fn(&Quality) -> String,
) -> String {
    let head: Vec<String> = std::iter::once("targets".to_owned())
        .chain(SHOWN.map(|size| size.to_string()))
        .collect();
    let tables = [
        ("slots", "slots, 65,536"),
        ("slots_10000", "slots, 16,384"),
        ("maglev", "Maglev, 65,537"),
        ("ring", "ring (nginx, Pingora, APISIX)"),
    ];
    let ours = tables.into_iter().map(|(name, label)| {
        let cell = |size| {
            figures
                .quality(name)
                .find(|quality| quality.targets == size)
                .map(&of)
        };
        (label.to_owned(), SHOWN.map(cell).to_vec())
    });
    table(
        &head,
        ours.chain([("Kong, 10,000 slots".to_owned(), SHOWN.map(kong).to_vec())]),
    )
}

fn shares(figures: &Figures) -> String {
    let kong = |size: usize| match KONG.iter().find(|(known, ..)| *known == size) {
        Some((_, most, _)) => Some(format!("{most:.3}")),
        None if size >= 63 => Some("fails".to_owned()),
        None => None,
    };
    by_targets(figures, kong, |quality| format!("{:.3}", quality.most))
}

fn movement(figures: &Figures) -> String {
    let kong = |size: usize| match KONG.iter().find(|(known, ..)| *known == size) {
        Some((_, _, moved)) => moved.map(|moved| format!("{moved:.2} %")),
        None if size >= 63 => Some("fails".to_owned()),
        None => None,
    };
    by_targets(figures, kong, |quality| format!("{:.3} %", quality.excess))
}

const SIZES: [(usize, &str); 4] = [(3, "3"), (100, "100"), (1_000, "1,000"), (10_000, "10,000")];

fn by_size(
    figures: &Figures,
    first: &str,
    rows: &[(String, String)],
    show: impl Fn(f64) -> String,
) -> String {
    let head: Vec<String> = std::iter::once(first)
        .chain(SIZES.map(|(_, label)| label))
        .map(str::to_owned)
        .collect();
    let row = |(case, label): &(String, String)| {
        let cells = SIZES.map(|(size, _)| figures.ns(case, size).map(&show));
        (label.clone(), cells.to_vec())
    };
    table(&head, rows.iter().map(row))
}

fn picks(figures: &Figures) -> String {
    let mut rows: Vec<(String, String)> = ALGORITHMS
        .map(|(case, label)| (case.to_owned(), label.to_owned()))
        .to_vec();
    for (case, label) in [
        ("slots_bounded", "slots with bounded load"),
        ("no_key", "any of the last three without a key"),
        ("ring_pingora", "Pingora's own ring, hashing the key"),
        ("round_robin_nginx_loop", "nginx's loop for round robin"),
    ] {
        rows.push((case.to_owned(), label.to_owned()));
    }
    rows.extend(ALGORITHMS.map(|(case, label)| (format!("pick/{case}"), format!("whole balancer, {label}"))));
    by_size(figures, "ns a pick, targets", &rows, |ns| {
        if ns < 100.0 {
            format!("{ns:.1}")
        } else {
            format!("{ns:.0}")
        }
    })
}

fn rebuilds(figures: &Figures) -> String {
    let rows = ALGORITHMS.map(|(case, label)| (format!("rebuild/{case}"), label.to_owned()));
    by_size(figures, "ms a table, targets", &rows, |ns| {
        format!("{:.2}", ns / 1e6)
    })
}

fn threads(figures: &Figures) -> String {
    let head = ["algorithm", "two threads to one"].map(str::to_owned);
    let row = |(name, gain): &(String, f64)| {
        let label = ALGORITHMS
            .iter()
            .find(|(case, _)| case == name)
            .map_or(name.as_str(), |(_, label)| label);
        (label.to_owned(), vec![Some(format!("{gain:.2} ×"))])
    };
    table(&head, figures.threads.iter().map(row))
}

// --- Goals ---

fn goals(figures: &Figures) -> String {
    let head = ["goal", "limit", "measured", "met"].map(str::to_owned);
    let mut rows = Vec::new();
    let mut at_most = |what: String, limit: f64, figure: Option<f64>, unit: &str| {
        let Some(figure) = figure else { return };
        let met = if figure <= limit { "yes" } else { "**no**" };
        let cells = [
            format!("≤ {limit} {unit}"),
            format!("{figure:.3} {unit}"),
            met.to_owned(),
        ];
        rows.push((what, cells.map(Some).to_vec()));
    };
    for (case, label) in ALGORITHMS {
        let ns = |size| figures.ns(case, size);
        // Up to 16 targets least requests looks at all of them.
        let sizes = SIZES
            .iter()
            .filter(|(size, _)| case != "least_request" || *size > 16);
        if case != "ring" {
            let slowest = sizes.filter_map(|(size, _)| ns(*size)).reduce(f64::max);
            at_most(format!("a pick, {label}, the slowest size"), 20.0, slowest, "ns");
        }
        // The logarithm of 10,000 is 8.4 times that of 3.
        let limit = if case == "ring" { 8.4 } else { 1.5 };
        let growth = ns(10_000).zip(ns(3)).map(|(large, small)| large / small);
        at_most(
            format!("… among 10,000 targets, to 3, {label}"),
            limit,
            growth,
            "×",
        );
    }
    let largest = |table: &str, of: fn(&Quality) -> f64, targets: usize| {
        let upto = figures
            .quality(table)
            .filter(|quality| quality.targets <= targets);
        upto.map(of).reduce(f64::max)
    };
    at_most(
        "slots, the busiest of up to 300".to_owned(),
        1.05,
        largest("slots", |q| q.most, 300),
        "of the mean",
    );
    at_most(
        "slots, moved without need, up to 300".to_owned(),
        0.1,
        largest("slots", |q| q.excess, 300),
        "%",
    );
    at_most(
        "Maglev, the busiest of up to 600".to_owned(),
        1.01,
        largest("maglev", |q| q.most, 600),
        "of the mean",
    );
    at_most(
        "ring, moved without need".to_owned(),
        0.0,
        largest("ring", |q| q.excess, 1000),
        "%",
    );
    for (case, size, limit) in [
        ("round_robin", 10_000, 5.0),
        ("maglev", 10_000, 60.0),
        ("ring", 10_000, 100.0),
        ("slots", 1_000, 50.0),
        ("slots", 10_000, 50.0),
    ] {
        let ms = figures.ns(&format!("rebuild/{case}"), size).map(|ns| ns / 1e6);
        at_most(
            format!("a balancer rebuilt, {case}, {size} targets"),
            limit,
            ms,
            "ms",
        );
    }
    for (name, gain) in figures
        .threads
        .iter()
        .filter(|(name, _)| !["round_robin", "random"].contains(&name.as_str()))
    {
        let met = if *gain >= 1.8 { "yes" } else { "**no**" };
        let cells = ["≥ 1.8 ×".to_owned(), format!("{gain:.2} ×"), met.to_owned()];
        rows.push((format!("two threads to one, {name}"), cells.map(Some).to_vec()));
    }
    table(&head, rows)
}
