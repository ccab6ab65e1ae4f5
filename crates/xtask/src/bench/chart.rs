//! The results as a picture: CPU per request, in units of nginx doing the same work.

use super::results::Results;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 220.0;
const RIGHT: f64 = 70.0;
const BAR: f64 = 16.0;
const GAP: f64 = 5.0;
const GROUP: f64 = 34.0;
const TOP: f64 = 56.0;
const OURS: &str = "#c2410c";
const THEIRS: &str = "#94a3b8";

pub(crate) fn svg(results: &Results) -> String {
    let bars: Vec<(String, Vec<Bar>)> = results
        .scenarios()
        .map(|scenario| {
            let bars = results.of(scenario).filter_map(|series| {
                let ratio = results.to_nginx(series)?.median;
                Some(Bar {
                    label: series.kind.label().to_owned(),
                    ratio,
                    ours: matches!(series.kind, super::contender::Kind::Gateway { .. }),
                })
            });
            (scenario.title(), bars.collect())
        })
        .collect();
    let longest = bars
        .iter()
        .flat_map(|(_, bars)| bars)
        .map(|bar| bar.ratio)
        .fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest;
    let (mut body, mut y) = (String::new(), TOP);
    for (title, bars) in &bars {
        body += &text(8.0, y + 12.0, "start", "600", title);
        y += 20.0;
        for bar in bars {
            body += &bar.draw(y, scale);
            y += BAR + GAP;
        }
        y += GROUP - 20.0;
    }
    let one = LEFT + scale;
    let heading = text(
        8.0,
        22.0,
        "start",
        "700",
        "CPU per request; nginx doing the same work = 1",
    );
    let note = text(
        8.0,
        40.0,
        "start",
        "400",
        &format!("less is better; medians of {} interleaved rounds", results.rounds),
    );
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{heading}{note}{body}\
         <line x1=\"{one:.1}\" y1=\"{TOP}\" x2=\"{one:.1}\" y2=\"{y:.0}\" stroke=\"#334155\" stroke-dasharray=\"3 3\"/>\n</svg>\n"
    )
}

struct Bar {
    label: String,
    ratio: f64,
    ours: bool,
}

impl Bar {
    fn draw(&self, y: f64, scale: f64) -> String {
        let (width, colour) = (self.ratio * scale, if self.ours { OURS } else { THEIRS });
        let label = text(LEFT - 8.0, y + 12.0, "end", "400", &self.label);
        let value = text(
            LEFT + width + 6.0,
            y + 12.0,
            "start",
            "400",
            &format!("{:.2}", self.ratio),
        );
        format!(
            "{label}<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n{value}"
        )
    }
}

fn text(x: f64, y: f64, anchor: &str, weight: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" font-weight=\"{weight}\" fill=\"#0f172a\">{words}</text>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::tests::example;

    #[test]
    fn each_contender_has_its_bar_and_the_longest_fits() {
        let picture = svg(&example());
        assert_eq!(picture.matches("<rect x=").count(), 4, "{picture}");
        assert!(picture.contains(&format!("width=\"{:.1}\"", WIDTH - LEFT - RIGHT)));
        for value in [">0.90<", ">1.00<", ">1.20<"] {
            assert!(picture.contains(value), "{value} is not in {picture}");
        }
        assert_eq!(
            picture.matches("<text").count(),
            picture.matches("</text>").count()
        );
    }
}
