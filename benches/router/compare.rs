//! Contenders measured in turns, pass by pass: what else the machine does then falls on all of them alike.

use std::io::{self, Write};
use std::time::Duration;

use crate::case::{Case, Contender};
use crate::report::{Figure, Figures};

/// How long the passes of a case may take, if they are many enough by then.
const BUDGET: Duration = Duration::from_millis(1500);

const LEAST_ROUNDS: usize = 15;
const MOST_ROUNDS: usize = 2000;

/// Measures each case and prints it; ratios are to the first contender.
pub(crate) fn all(cases: &[Case]) -> io::Result<Figures> {
    let mut figures = Figures::default();
    let mut out = io::stdout().lock();
    for case in cases {
        let measured = measure(case.contenders());
        write!(out, "{:32}", case.name)?;
        let first = measured.first().map_or(f64::NAN, |figure| figure.ns);
        for figure in &measured {
            write!(
                out,
                "  {} {:.1} ns ({:.2})",
                figure.contender,
                figure.ns,
                figure.ns / first
            )?;
        }
        writeln!(out)?;
        figures.times.insert(case.name.clone(), measured);
    }
    Ok(figures)
}

/// The lower quartile of the passes of each: what the work costs when nothing else disturbs it.
fn measure(mut contenders: Vec<Contender>) -> Vec<Figure> {
    let once: Duration = contenders.iter_mut().map(|contender| (contender.pass)()).sum();
    let rounds = BUDGET.as_nanos() / once.as_nanos().max(1);
    let rounds = (rounds as usize).clamp(LEAST_ROUNDS, MOST_ROUNDS);
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            // Nobody is always first, nor always after the same one.
            let index = (turn + round) % contenders.len();
            times[index].push((contenders[index].pass)());
        }
    }
    let figures = contenders.iter().zip(&mut times).map(|(contender, times)| {
        times.sort();
        let quartile = times
            .get(times.len() / 4)
            .map_or(f64::NAN, |time| time.as_nanos() as f64);
        Figure {
            contender: contender.name.clone(),
            ns: quartile / contender.operations as f64,
        }
    });
    figures.collect()
}
