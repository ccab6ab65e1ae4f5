//! The samples as a picture: memory and descriptors over time.

use std::fmt::Write as _;

use super::samples::{Sample, Samples};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 150.0;
const LEFT: f64 = 60.0;

pub(crate) fn svg(samples: &Samples) -> String {
    let total = WIDTH + LEFT + 20.0;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total}\" height=\"440\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    picture += &panel(samples, 40.0, "resident memory, MiB", "#c2410c", |sample| {
        sample.resident
    });
    picture += &panel(samples, 250.0, "descriptors", "#0369a1", |sample| {
        sample.descriptors as f64
    });
    picture += "</svg>\n";
    picture
}

fn panel(samples: &Samples, top: f64, title: &str, colour: &str, value: fn(&Sample) -> f64) -> String {
    let end = samples
        .all()
        .last()
        .map_or(1.0, |(at, _)| at.as_secs_f64())
        .max(1.0);
    let most = samples
        .all()
        .iter()
        .map(|(_, sample)| value(sample))
        .fold(1.0, f64::max);
    let (scale, bottom) = (nice(most), top + HEIGHT);
    let mut panel = String::new();
    for (share, line) in [(0.0, bottom), (0.5, bottom - HEIGHT / 2.0), (1.0, top)] {
        let right = LEFT + WIDTH;
        let _infallible = writeln!(
            panel,
            "<line x1=\"{LEFT}\" y1=\"{line}\" x2=\"{right}\" y2=\"{line}\" stroke=\"#cbd5e1\"/>\n\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.0}</text>",
            LEFT - 6.0,
            line + 4.0,
            scale * share
        );
    }
    let points: Vec<String> = samples
        .all()
        .iter()
        .map(|(at, sample)| {
            let x = LEFT + WIDTH * at.as_secs_f64() / end;
            format!("{x:.1},{:.1}", bottom - HEIGHT * value(sample) / scale)
        })
        .collect();
    let _infallible = writeln!(
        panel,
        "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"600\">{title}</text>\n\
         <polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{:.1} minutes</text>",
        top - 10.0,
        points.join(" "),
        LEFT + WIDTH,
        bottom + 18.0,
        end / 60.0
    );
    panel
}

/// The next round number.
fn nice(most: f64) -> f64 {
    let magnitude = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 2.0, 4.0, 5.0, 10.0].map(|step| step * magnitude);
    steps.into_iter().find(|step| *step >= most).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_in_a_round_number() {
        for (most, scale) in [
            (1.0, 1.0),
            (37.0, 40.0),
            (41.0, 50.0),
            (180.0, 200.0),
            (900.0, 1000.0),
        ] {
            assert!((nice(most) - scale).abs() < 1e-6, "{most}");
        }
    }

    #[test]
    fn each_panel_has_a_line() {
        let mut samples = Samples::default();
        samples.push(std::time::Duration::from_secs(1), Sample::default());
        assert_eq!(svg(&samples).matches("<polyline").count(), 2);
    }
}
