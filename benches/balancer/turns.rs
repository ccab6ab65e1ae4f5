//! The sizes of a case measured in turns, pass by pass: what else the machine does then falls on all of them alike.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::case::{Case, Contender};

/// How long the passes of a case may take, if they are many enough by then.
const BUDGET: Duration = Duration::from_millis(1500);

const LEAST_ROUNDS: usize = 9;
const MOST_ROUNDS: usize = 2000;

/// Nanoseconds of an operation, by case and size.
pub(crate) type Times = BTreeMap<String, Vec<(usize, f64)>>;

pub(crate) fn all(cases: &[Case]) -> Times {
    cases
        .iter()
        .map(|case| (case.name.clone(), measure(case.contenders())))
        .collect()
}

/// The lower quartile of the passes of each: what the work costs when nothing else disturbs it.
fn measure(mut contenders: Vec<Contender>) -> Vec<(usize, f64)> {
    let once: Duration = contenders.iter_mut().map(|contender| (contender.pass)()).sum();
    let rounds = BUDGET.as_nanos() / once.as_nanos().max(1);
    let rounds = (rounds as usize).clamp(LEAST_ROUNDS, MOST_ROUNDS);
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            let index = (turn + round) % contenders.len();
            times[index].push((contenders[index].pass)());
        }
    }
    let figure = |(contender, times): (&Contender, &mut Vec<Duration>)| {
        times.sort();
        let quartile = times
            .get(times.len() / 4)
            .map_or(f64::NAN, |time| time.as_nanos() as f64);
        (contender.size, quartile / contender.operations as f64)
    };
    contenders.iter().zip(&mut times).map(figure).collect()
}
