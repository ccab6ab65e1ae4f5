//! What was measured, kept as JSON, and written into the pages as tables.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::chart;
use crate::goals;
use crate::page;

/// Instructions of a lookup by router and shape (`gw/param`), then by size of the table.
pub(crate) type Instructions = BTreeMap<String, Vec<(usize, f64)>>;

/// What is known of all runs so far: a run replaces what it measured anew.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// By case.
    pub(crate) times: BTreeMap<String, Vec<Figure>>,
    pub(crate) instructions: Instructions,
    /// Bytes of a route beyond its own text, by shape and router.
    pub(crate) bytes: BTreeMap<String, Vec<(String, f64)>>,
}

/// How long one operation of a contender takes.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) contender: String,
    pub(crate) ns: f64,
}

/// The pages with tables between `<!-- begin NAME -->` and `<!-- end NAME -->`.
const PAGES: [&str; 2] = ["README.md", "../docs/router.md"];

const RESULTS: &str = "results/router.json";
const PICTURE: &str = "results/router.svg";

/// Adds the figures of a run to the record, and brings the pages up to date.
pub(crate) fn record(run: Figures) -> io::Result<()> {
    let mut figures = match fs::read_to_string(place(RESULTS)) {
        Ok(text) => {
            Figures::parse(&text).ok_or_else(|| io::Error::other(format!("{RESULTS} is not a record")))?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Figures::default(),
        Err(error) => return Err(error),
    };
    figures.times.extend(run.times);
    figures.instructions.extend(run.instructions);
    figures.bytes.extend(run.bytes);
    fs::write(place(RESULTS), format!("{:#}\n", figures.json()))?;
    fs::write(place(PICTURE), chart::svg(&figures))?;
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
    /// How long one operation takes.
    pub(crate) fn ns(&self, case: &str, contender: &str) -> Option<f64> {
        let figures = self.times.get(case)?;
        Some(figures.iter().find(|figure| figure.contender == contender)?.ns)
    }

    /// How many instructions a lookup takes in a table of this size.
    pub(crate) fn counted(&self, name: &str, size: usize) -> Option<f64> {
        let counts = self.instructions.get(name)?;
        Some(counts.iter().find(|(known, _)| *known == size)?.1)
    }

    fn json(&self) -> Value {
        let times = self.times.iter().map(|(case, figures)| {
            let figures = figures
                .iter()
                .map(|figure| (figure.contender.clone(), rounded(figure.ns)));
            (
                case.clone(),
                Value::Array(figures.map(|(name, value)| json!([name, value])).collect()),
            )
        });
        let instructions = self
            .instructions
            .iter()
            .map(|(shape, counts)| (shape.clone(), json!(counts)));
        let bytes = self
            .bytes
            .iter()
            .map(|(shape, bytes)| (shape.clone(), json!(bytes)));
        json!({
            "machine": page::machine(),
            "nanoseconds": times.collect::<Map<_, _>>(),
            "instructions": instructions.collect::<Map<_, _>>(),
            "bytes": bytes.collect::<Map<_, _>>(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let document: Value = serde_json::from_str(text).ok()?;
        let times = document["nanoseconds"]
            .as_object()?
            .iter()
            .map(|(case, figures)| {
                let figures = pairs(figures)?.map(|(name, ns)| {
                    let contender = name.as_str()?.to_owned();
                    Some(Figure { contender, ns })
                });
                Some((case.clone(), figures.collect::<Option<Vec<_>>>()?))
            });
        let instructions = document["instructions"]
            .as_object()?
            .iter()
            .map(|(shape, counts)| {
                let counts = pairs(counts)?.map(|(size, count)| Some((size.as_u64()? as usize, count)));
                Some((shape.clone(), counts.collect::<Option<Vec<_>>>()?))
            });
        let bytes = document["bytes"].as_object()?.iter().map(|(shape, bytes)| {
            let bytes = pairs(bytes)?.map(|(name, count)| Some((name.as_str()?.to_owned(), count)));
            Some((shape.clone(), bytes.collect::<Option<Vec<_>>>()?))
        });
        Some(Self {
            times: times.collect::<Option<_>>()?,
            instructions: instructions.collect::<Option<_>>()?,
            bytes: bytes.collect::<Option<_>>()?,
        })
    }
}

fn pairs(list: &Value) -> Option<impl Iterator<Item = (&Value, f64)>> {
    let pairs = list.as_array()?.iter();
    Some(pairs.filter_map(|pair| Some((&pair[0], pair[1].as_f64()?))))
}

/// Four digits are more than is known.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

// --- Pages ---

/// The text with its tables brought up to date.
fn fill(text: &str, figures: &Figures) -> String {
    type Table = fn(&Figures) -> String;
    let tables: [(&str, Table); 7] = [
        ("machine", |_| format!("Machine: {}.\n", page::machine())),
        ("goals", goals::table),
        ("tables", routes),
        ("scale", scale),
        ("published", published),
        ("counts", counts),
        ("others", others),
    ];
    tables.into_iter().fold(text.to_owned(), |page, (name, table)| {
        page::fill(&page, name, &table(figures))
    })
}

/// Nanoseconds of a lookup in real tables.
fn routes(figures: &Figures) -> String {
    let rivals = ["matchit", "path-tree", "wayfind"];
    let mut text = String::from(
        "| table | gw | matchit | path-tree | wayfind | gw ÷ matchit | reading all parameters: gw | matchit | gw ÷ matchit |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    for table in goals::tables(figures) {
        let cell = |kind: &str, name: &str| number(figures.ns(&format!("router/{kind}/{table}"), name), 1);
        let to_matchit = |kind: &str| {
            number(
                goals::ratio(figures, &format!("router/{kind}/{table}"), "gw", "matchit"),
                2,
            )
        };
        let found = rivals.map(|rival| cell("find", rival)).join(" | ");
        line(
            &mut text,
            &[
                table.to_owned(),
                cell("find", "gw"),
                found,
                to_matchit("find"),
                cell("read", "gw"),
                cell("read", "matchit"),
                to_matchit("read"),
            ],
        );
    }
    text
}

/// Nanoseconds of a lookup anywhere in tables of growing size.
fn scale(figures: &Figures) -> String {
    let columns = [
        ("literal", "gw"),
        ("literal", "matchit"),
        ("literal", "radix_trie"),
        ("param", "gw"),
        ("param", "matchit"),
        ("even", "gw"),
        ("even", "matchit"),
        ("host", "gw"),
        ("host_first", "gw"),
        ("worst", "gw"),
        ("worst", "matchit"),
        ("miss", "gw"),
        ("miss", "matchit"),
    ];
    let heads = columns.map(|(shape, name)| format!("{shape}: {name}"));
    let mut text = format!(
        "| routes | {} |\n|---{}|\n",
        heads.join(" | "),
        "|---".repeat(columns.len())
    );
    for size in ["10", "100", "1k", "10k", "100k", "1M"] {
        let cells = columns.map(|(shape, name)| {
            number(
                figures.ns(&format!("router/scale/{shape}"), &format!("{name}, {size}")),
                0,
            )
        });
        line(&mut text, &[size.to_owned(), cells.join(" | ")]);
    }
    text
}

/// What others have published, and the same here.
fn published(figures: &Figures) -> String {
    let mut text = String::from("| published | ns a lookup | the same with gw, here |\n|---|---|---|\n");
    for (what, contender, ns) in goals::PUBLISHED {
        let here = figures.ns(goals::PUBLISHED_CASE, contender);
        line(
            &mut text,
            &[what.to_owned(), number(Some(ns), 0), number(here, 0)],
        );
    }
    text
}

/// Instructions of a lookup, and bytes of a route.
fn counts(figures: &Figures) -> String {
    let mut sizes: Vec<usize> = figures
        .instructions
        .values()
        .flatten()
        .map(|(size, _)| *size)
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    let heads: Vec<String> = sizes.iter().map(usize::to_string).collect();
    let mut text = format!(
        "| instructions a lookup, routes: | {} | 1,000,000 ÷ 100 |\n|---{}|---|\n",
        heads.join(" | "),
        "|---".repeat(sizes.len())
    );
    for shape in figures.instructions.keys() {
        let cells: Vec<String> = sizes
            .iter()
            .map(|size| number(figures.counted(shape, *size), 0))
            .collect();
        line(
            &mut text,
            &[
                shape.clone(),
                cells.join(" | "),
                number(goals::growth(figures, shape), 2),
            ],
        );
    }
    text.push_str("\n| bytes a route, its own text apart | gw | matchit |\n|---|---|---|\n");
    for (shape, bytes) in &figures.bytes {
        let cell = |name: &str| {
            number(
                bytes
                    .iter()
                    .find(|(known, _)| known == name)
                    .map(|(_, bytes)| *bytes),
                0,
            )
        };
        line(&mut text, &[shape.clone(), cell("gw"), cell("matchit")]);
    }
    text
}

/// Everything else, in nanoseconds.
fn others(figures: &Figures) -> String {
    let mut text = String::from("| case | ns an operation |\n|---|---|\n");
    let shown_elsewhere = |case: &str| {
        let growing = case.starts_with("router/scale/") && case != "router/scale/hot";
        let table = case.rsplit('/').next().unwrap_or(case);
        growing
            || case == goals::PUBLISHED_CASE
            || figures.times.contains_key(&format!("router/read/{table}"))
    };
    for (case, measured) in figures.times.iter().filter(|(case, _)| !shown_elsewhere(case)) {
        let cells = measured
            .iter()
            .map(|figure| format!("{}: {:.0}", figure.contender, figure.ns));
        line(&mut text, &[case.clone(), cells.collect::<Vec<_>>().join("; ")]);
    }
    text
}

pub(crate) fn line(text: &mut String, cells: &[String]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes it");
}

/// A number, or a dash where there is none.
pub(crate) fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}
