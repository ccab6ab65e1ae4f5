//! The results as tables of Markdown, to be read in a terminal and pasted into a document.

use std::fmt::Write as _;

use super::contender::Kind;
use super::results::{Results, Series};
use super::scenario::Scenario;

pub(crate) fn tables(results: &Results) -> String {
    let mut text = format!(
        "{}; {} rounds of {} s each; ratios are medians of what was measured within a round.\n",
        results.machine, results.rounds, results.seconds
    );
    for scenario in results.scenarios() {
        text += "\n";
        text += &scenario_table(results, scenario);
    }
    text += "\n";
    text += &profile_table(results);
    for profile in &results.profiles {
        if let Err(why) = &profile.calls {
            text += &format!(
                "\nSystem calls of {} were not counted: {why}.\n",
                profile.kind.label()
            );
        }
    }
    text
}

fn scenario_table(results: &Results, scenario: Scenario) -> String {
    let mut rows = vec![
        format!(
            "| {} | requests/s | p50 µs | p99 µs | CPU µs/request | of it user | CPU ÷ nginx, same work |",
            scenario.title()
        ),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    rows.extend(results.of(scenario).map(|series| row(results, series)));
    let mut text = rows.join("\n") + "\n";
    let ours = |series: &&Series| scenario.is_open() && matches!(series.kind, Kind::Gateway { .. });
    for series in results.of(scenario).filter(ours) {
        if let Some(added) = results.added(series) {
            text += &format!(
                "\nAdded to the p50 by {}: {:.2} ({:.2} to {:.2}) of what nginx doing the same work adds.\n",
                series.kind.label(),
                added.median,
                added.least,
                added.most
            );
        }
    }
    text
}

fn row(results: &Results, series: &Series) -> String {
    let median = |part: fn(&super::results::Sample) -> f64| series.median(part);
    let ratio = results.to_nginx(series).map_or_else(
        || "–".to_owned(),
        |ratio| format!("{:.2} ({:.2} to {:.2})", ratio.median, ratio.least, ratio.most),
    );
    let cpu = |value: f64| match value > 0.0 {
        true => format!("{value:.1}"),
        false => "–".to_owned(),
    };
    // Not every load generator tells the times of single requests.
    let time = |value: f64| match value.is_nan() {
        true => "–".to_owned(),
        false => format!("{value:.0}"),
    };
    let mut row = format!("| {} | ", series.kind.label());
    // Writing to a string does not fail.
    let _written = write!(
        row,
        "{:.0} | {} | {} | {} | {} | {ratio} |",
        median(|sample| sample.per_second),
        time(median(|sample| sample.p50)),
        time(median(|sample| sample.p99)),
        cpu(median(|sample| sample.cpu)),
        cpu(median(|sample| sample.cpu * sample.user_share)),
    );
    row
}

fn profile_table(results: &Results) -> String {
    let mut rows = vec![
        "| | start to first answer, ms | idle, PSS MiB | loaded, PSS MiB | peak, MiB | KiB/idle connection | with 100,000 routes, MiB | system calls/request |".to_owned(),
        "|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    rows.extend(results.profiles.iter().map(|profile| {
        let calls = profile
            .calls_per_request()
            .map_or_else(|| "–".to_owned(), |calls| format!("{calls:.2}"));
        format!(
            "| {}{} | {:.0} | {:.1} | {:.1} | {:.1} | {} | {} | {calls} |",
            profile.kind.label(),
            profile
                .version
                .as_ref()
                .map(|version| format!(" ({version})"))
                .unwrap_or_default(),
            profile.start(),
            profile.idle.proportional,
            profile.after.proportional,
            profile.after.peak,
            one_digit(profile.held.map(|held| held.connection)),
            one_digit(profile.routes),
        )
    }));
    rows.join("\n") + "\n"
}

fn one_digit(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::example;

    #[test]
    fn each_contender_has_its_row() {
        let text = tables(&example());
        for line in [
            "| gateway | 55556 | 900 | 2000 | 18.0 | 4.5 | 0.90 (0.90 to 0.90) |",
            "| nginx, same work | 50000 | 900 | 2000 | 20.0 | 5.0 | 1.00 (1.00 to 1.00) |",
            "| gateway (1.0) | 9 | 8.0 | 9.0 | 14.0 | 12.2 | – | 4.25 |",
            "System calls of nginx, same work were not counted: strace is not installed.",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }
}
