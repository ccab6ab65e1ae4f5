//! What the router is to reach, and whether the figures say so.

use crate::report::{Figures, line};

/// The case that does the same as what others have published figures of.
pub(crate) const PUBLISHED_CASE: &str = "router/published";

/// What others have published, by whom and for what, with the contender here that does the same. Each was measured on another
/// machine than ours. lua-resty-radixtree: its README (2.3 GHz i9); Kong: pull requests of atc-router.
pub(crate) const PUBLISHED: [(&str, &str, f64); 9] = [
    ("lua-resty-radixtree, exact path", "exact path", 95.0),
    ("lua-resty-radixtree, parameter", "parameter", 314.0),
    ("lua-resty-radixtree, prefix", "prefix", 427.0),
    ("lua-resty-radixtree, 1,000 hosts on one path", "hosts", 6_020.0),
    (
        "lua-resty-radixtree, 1,000 wildcard hosts on one path",
        "wildcard hosts",
        9_600.0,
    ),
    (
        "Kong, expressions, the first in the list",
        "prefixes, first",
        249.0,
    ),
    (
        "Kong, expressions, the last in the list",
        "prefixes, last",
        33_600_000.0,
    ),
    (
        "Kong, expressions with a prefilter, the first",
        "prefixes, first",
        338.0,
    ),
    (
        "Kong, expressions with a prefilter, the tenth",
        "prefixes, tenth",
        409.0,
    ),
];

/// The real tables that were measured, the one of matchit's own bench first.
pub(crate) fn tables(figures: &Figures) -> Vec<&str> {
    let names = figures
        .times
        .keys()
        .filter_map(|case| case.strip_prefix("router/read/"));
    let mut names: Vec<&str> = names.collect();
    names.sort_by_key(|name| !name.starts_with("matchit"));
    names
}

/// How much longer one contender takes than another of the same case.
pub(crate) fn ratio(figures: &Figures, case: &str, one: &str, other: &str) -> Option<f64> {
    Some(figures.ns(case, one)? / figures.ns(case, other)?)
}

/// How much more instructions a lookup takes among 1,000,000 routes than among 100.
pub(crate) fn growth(figures: &Figures, name: &str) -> Option<f64> {
    Some(figures.counted(name, 1_000_000)? / figures.counted(name, 100)?)
}

/// A goal that holds when a figure is at most its limit.
struct Goal {
    what: String,
    unit: Unit,
    limit: f64,
    figure: Option<f64>,
}

/// The goals, with what was measured.
pub(crate) fn table(figures: &Figures) -> String {
    let mut text = String::from("| goal | at most | measured | met |\n|---|---|---|---|\n");
    let goals = [
        real_tables(figures),
        lookups(figures),
        changes(figures),
        counts(figures),
    ];
    for goal in goals.into_iter().flatten() {
        let Some(figure) = goal.figure else { continue };
        let met = if figure <= goal.limit { "yes" } else { "**no**" };
        line(
            &mut text,
            &[
                goal.what,
                goal.unit.show(goal.limit),
                goal.unit.show(figure),
                met.to_owned(),
            ],
        );
    }
    text
}

/// Each real table beside the fastest rival that can do it.
fn real_tables(figures: &Figures) -> Vec<Goal> {
    let goal = |table: &str| {
        let case = format!("router/find/{table}");
        let rivals = ["matchit", "path-tree", "wayfind"];
        let figure = rivals
            .iter()
            .filter_map(|rival| ratio(figures, &case, "gw", rival))
            .reduce(f64::max);
        Goal::ratio(format!("all paths of {table}, to the fastest rival"), 1.1, figure)
    };
    tables(figures).into_iter().map(goal).collect()
}

fn lookups(figures: &Figures) -> Vec<Goal> {
    let of = |case: &str, one: &str, other: &str| ratio(figures, case, one, other);
    let ns = |name: &str| figures.ns("router/find/conditions", name);
    let more = ns("all").zip(ns("bare")).map(|(all, bare)| all - bare);
    let mut goals = vec![
        Goal::new(
            "host, method and two conditions on each route, beyond the path alone",
            Unit::Ns,
            100.0,
            more,
        ),
        Goal::ratio(
            "100 hot routes among 100,000, to those alone",
            1.5,
            of("router/scale/hot", "among 100k", "alone"),
        ),
    ];
    for size in ["10k", "100k", "1M"] {
        let figure = of(
            "router/scale/param",
            &format!("gw, {size}"),
            &format!("matchit, {size}"),
        );
        goals.push(Goal::ratio(
            format!("all over {size} routes, to matchit"),
            0.5,
            figure,
        ));
    }
    for profile in ["path first", "host first", "Kong"] {
        let what = format!("10,000 hosts on `/*`, to one ({profile})");
        let figure = of(
            "router/find/hosts",
            &format!("{profile}, 10k"),
            &format!("{profile}, 1"),
        );
        goals.push(Goal::ratio(what, 2.5, figure));
    }
    for kind in ["header", "query"] {
        let what = format!("1,000 routes on one path that differ by a {kind} value, to one");
        let figure = of(
            "router/find/one_path",
            &format!("{kind}, 1k"),
            &format!("{kind}, 1"),
        );
        goals.push(Goal::ratio(what, 2.5, figure));
    }
    goals
}

fn changes(figures: &Figures) -> Vec<Goal> {
    let mut goals = Vec::new();
    for (kind, name) in [
        ("insert_remove", "insertion or removal"),
        ("replace", "replacement"),
    ] {
        for (place, words) in [("", "anywhere"), ("_hot", "at a hundred places")] {
            let case = format!("router/change/{kind}{place}");
            let us = figures.ns(&case, "100k").map(|ns| ns / 1e3);
            goals.push(Goal::new(
                format!("{name} {words} among 100,000, published"),
                Unit::Us,
                20.0,
                us,
            ));
            goals.push(Goal::ratio(
                "the same, to one among 100",
                1.5,
                ratio(figures, &case, "100k", "100"),
            ));
        }
    }
    let ms = figures.ns("router/build/100k", "gw").map(|ns| ns / 1e6);
    goals.push(Goal::new(
        "building 100,000 routes from texts",
        Unit::Ms,
        150.0,
        ms,
    ));
    goals
}

fn counts(figures: &Figures) -> Vec<Goal> {
    let mut goals = Vec::new();
    for name in figures.instructions.keys() {
        if let Some(shape) = name.strip_prefix("gw/") {
            let what = format!("instructions of a lookup among 1,000,000, to 100 ({shape})");
            goals.push(Goal::ratio(what, 1.3, growth(figures, name)));
        }
    }
    for (shape, bytes) in &figures.bytes {
        let what = format!("memory of a route beyond its own text ({shape})");
        let ours = bytes
            .iter()
            .find(|(name, _)| name == "gw")
            .map(|(_, bytes)| *bytes);
        goals.push(Goal::new(what, Unit::Bytes, 300.0, ours));
    }
    goals
}

#[derive(Clone, Copy)]
enum Unit {
    Times,
    Ns,
    Us,
    Ms,
    Bytes,
}

impl Goal {
    fn new(what: impl Into<String>, unit: Unit, limit: f64, figure: Option<f64>) -> Self {
        Self {
            what: what.into(),
            unit,
            limit,
            figure,
        }
    }

    fn ratio(what: impl Into<String>, limit: f64, figure: Option<f64>) -> Self {
        Self::new(what, Unit::Times, limit, figure)
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Times => format!("{value:.2} ×"),
            Self::Ns => format!("{value:.0} ns"),
            Self::Us => format!("{value:.1} µs"),
            Self::Ms => format!("{value:.0} ms"),
            Self::Bytes => format!("{value:.0} bytes"),
        }
    }
}
