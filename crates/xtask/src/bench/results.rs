//! What was measured, and what follows from it: medians, and ratios taken within a round.

use serde_json::{Value, json};

use super::contender::{Contender, Kind};
use super::idle::Held;
use super::scenario::Scenario;
use super::syscalls::Calls;
use crate::usage::Memory;

/// One measurement: a contender in a scenario in a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) round: usize,
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Microseconds on a processor per request, of all processes of the proxy.
    pub(crate) cpu: f64,
    pub(crate) user_share: f64,
}

/// All measurements of a contender in a scenario.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) scenario: Scenario,
    pub(crate) kind: Kind,
    pub(crate) samples: Vec<Sample>,
}

/// What is known of a contender apart from the rounds.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) kind: Kind,
    pub(crate) version: Option<String>,
    /// Milliseconds from the start to the first answer.
    pub(crate) starts: Vec<f64>,
    pub(crate) idle: Memory,
    /// After the last round.
    pub(crate) after: Memory,
    pub(crate) calls: Result<Calls, String>,
    /// What idle connections take.
    pub(crate) held: Option<Held>,
    /// MiB with 100,000 routes; known of ours.
    pub(crate) routes: Option<f64>,
}

/// A whole run.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) machine: String,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) series: Vec<Series>,
    pub(crate) profiles: Vec<Profile>,
}

impl Series {
    pub(crate) fn median(&self, part: impl Fn(&Sample) -> f64) -> f64 {
        median(self.samples.iter().map(part).collect())
    }

    /// The median, least and greatest of what this one has per what the other has in the same round.
    pub(crate) fn ratio(&self, other: &Self, part: impl Fn(&Sample) -> f64) -> Option<Ratio> {
        let pairs = self.samples.iter().filter_map(|mine| {
            let theirs = other.samples.iter().find(|theirs| theirs.round == mine.round)?;
            Some(part(mine) / part(theirs))
        });
        let ratios: Vec<f64> = pairs.filter(|ratio| ratio.is_finite()).collect();
        let least = ratios.iter().copied().reduce(f64::min)?;
        let most = ratios.iter().copied().reduce(f64::max)?;
        Some(Ratio {
            median: median(ratios),
            least,
            most,
        })
    }
}

/// A ratio over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Profile {
    pub(crate) fn of(contender: &Contender, calls: Result<Calls, String>) -> Self {
        let tree = contender.tree();
        Self {
            kind: contender.kind.clone(),
            version: contender.kind.version(),
            starts: contender
                .starts
                .iter()
                .map(|start| start.as_secs_f64() * 1000.0)
                .collect(),
            idle: contender.idle,
            after: tree.map(|tree| tree.memory()).unwrap_or_default(),
            calls,
            held: None,
            routes: None,
        }
    }

    pub(crate) fn start(&self) -> f64 {
        median(self.starts.clone())
    }

    pub(crate) fn calls_per_request(&self) -> Option<f64> {
        self.calls.as_ref().ok().map(|calls| calls.values().sum())
    }
}

impl Results {
    /// The series of a scenario, in the order of the contenders.
    pub(crate) fn of(&self, scenario: Scenario) -> impl Iterator<Item = &Series> {
        self.series
            .iter()
            .filter(move |series| series.scenario == scenario)
    }

    /// Scenarios that were measured, in order.
    pub(crate) fn scenarios(&self) -> impl Iterator<Item = Scenario> {
        let measured = |scenario: &Scenario| self.of(*scenario).next().is_some();
        Scenario::ALL.into_iter().filter(measured)
    }

    /// CPU per request, in units of nginx doing the same work.
    pub(crate) fn to_nginx(&self, series: &Series) -> Option<Ratio> {
        let nginx = self
            .of(series.scenario)
            .find(|other| other.kind == Kind::NginxSameWork)?;
        (series.kind != Kind::Direct)
            .then(|| series.ratio(nginx, |sample| sample.cpu))
            .flatten()
    }

    /// What it adds to the median time of an answer, in units of what nginx doing the same work adds.
    pub(crate) fn added(&self, series: &Series) -> Option<Ratio> {
        let of = |kind: Kind| self.of(series.scenario).find(move |other| other.kind == kind);
        let (nginx, direct) = (of(Kind::NginxSameWork)?, of(Kind::Direct)?);
        let beyond = |series: &Series| Series {
            scenario: series.scenario,
            kind: series.kind.clone(),
            samples: series
                .samples
                .iter()
                .filter_map(|sample| {
                    let bare = direct.samples.iter().find(|bare| bare.round == sample.round)?;
                    Some(Sample {
                        p50: sample.p50 - bare.p50,
                        ..*sample
                    })
                })
                .collect(),
        };
        (series.kind != Kind::Direct)
            .then(|| beyond(series).ratio(&beyond(nginx), |sample| sample.p50))
            .flatten()
    }

    pub(crate) fn json(&self) -> Value {
        let scenarios = self.scenarios().map(|scenario| {
            let contenders: Vec<Value> = self.of(scenario).map(|series| self.series_json(series)).collect();
            json!({ "name": scenario.name(), "title": scenario.title(), "contenders": contenders })
        });
        json!({
            "machine": self.machine,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "connections": super::load::CONNECTIONS,
            "scenarios": scenarios.collect::<Vec<_>>(),
            "contenders": self.profiles.iter().map(profile_json).collect::<Vec<_>>(),
        })
    }

    fn series_json(&self, series: &Series) -> Value {
        let samples = series.samples.iter().map(|sample| {
            json!({
                "round": sample.round,
                "per_second": rounded(sample.per_second),
                "p50_us": rounded(sample.p50),
                "p99_us": rounded(sample.p99),
                "cpu_us": rounded(sample.cpu),
                "user_us": rounded(sample.cpu * sample.user_share),
            })
        });
        let ratio = self.to_nginx(series).map(|ratio| {
            json!({ "median": rounded(ratio.median), "least": rounded(ratio.least), "most": rounded(ratio.most) })
        });
        json!({
            "name": series.kind.label(),
            "cpu_to_nginx_same_work": ratio,
            "added_p50_to_nginx_same_work": self.added(series).map(|added| rounded(added.median)),
            "per_second": rounded(series.median(|sample| sample.per_second)),
            "p50_us": rounded(series.median(|sample| sample.p50)),
            "p99_us": rounded(series.median(|sample| sample.p99)),
            "cpu_us": rounded(series.median(|sample| sample.cpu)),
            "samples": samples.collect::<Vec<_>>(),
        })
    }
}

fn profile_json(profile: &Profile) -> Value {
    let calls = match &profile.calls {
        Ok(calls) => json!(
            calls
                .iter()
                .map(|(name, calls)| (name.clone(), json!(rounded(*calls))))
                .collect::<serde_json::Map<_, _>>()
        ),
        Err(_) => Value::Null,
    };
    json!({
        "name": profile.kind.label(),
        "version": profile.version,
        "start_ms": profile.starts.iter().map(|start| rounded(*start)).collect::<Vec<_>>(),
        "idle_pss_mib": rounded(profile.idle.proportional),
        "loaded_pss_mib": rounded(profile.after.proportional),
        "peak_mib": rounded(profile.after.peak),
        "idle_connection_kib": profile.held.map(|held| rounded(held.connection)),
        "routes_100k_mib": profile.routes.map(rounded),
        "calls_per_request": profile.calls_per_request().map(rounded),
        "calls": calls,
    })
}

/// Three digits are all that is known.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(below), Some(above)) if values.len().is_multiple_of(2) => (below + above) / 2.0,
        (_, Some(value)) => *value,
        _ => f64::NAN,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A run in which the machine slows down by half after its first round.
    pub(crate) fn example() -> Results {
        let series = |scenario, kind: Kind, factor: f64| Series {
            scenario,
            kind,
            samples: [10.0, 20.0, 20.0]
                .iter()
                .enumerate()
                .map(|(round, cpu)| Sample {
                    round,
                    per_second: 1e6 / cpu / factor,
                    p50: 900.0,
                    p99: 2000.0,
                    cpu: cpu * factor,
                    user_share: 0.25,
                })
                .collect(),
        };
        let gateway = || Kind::Gateway {
            label: "gateway".to_owned(),
            bin: "gw-server".into(),
        };
        let profile = |kind: Kind, calls| Profile {
            kind,
            version: Some("1.0".to_owned()),
            starts: vec![9.0, 30.0, 8.0],
            idle: Memory {
                proportional: 8.0,
                peak: 12.0,
            },
            after: Memory {
                proportional: 9.0,
                peak: 14.0,
            },
            calls,
            held: Some(Held { connection: 12.25 }),
            routes: None,
        };
        let calls = Calls::from([("read".to_owned(), 2.0), ("writev".to_owned(), 2.25)]);
        Results {
            machine: "2 cores".to_owned(),
            rounds: 3,
            seconds: 1.0,
            series: vec![
                series(Scenario::Small, gateway(), 0.9),
                series(Scenario::Small, Kind::NginxSameWork, 1.0),
                series(Scenario::Open, gateway(), 1.2),
                series(Scenario::Open, Kind::NginxSameWork, 1.0),
            ],
            profiles: vec![
                profile(gateway(), Ok(calls)),
                profile(Kind::NginxSameWork, Err("strace is not installed".to_owned())),
            ],
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let results = example();
        let ratios: Vec<_> = results
            .of(Scenario::Small)
            .filter_map(|series| results.to_nginx(series))
            .collect();
        assert!((ratios[0].most - 0.9).abs() < 1e-9, "{ratios:?}");
        assert!((ratios[0].least - 0.9).abs() < 1e-9, "{ratios:?}");
        assert_eq!(ratios[1].median, 1.0);
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two_middle_ones() {
        assert_eq!(median(vec![5.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(vec![5.0, 1.0, 3.0, 4.0]), 3.5);
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn the_document_has_every_measurement_and_no_path() {
        let document = example().json();
        assert_eq!(
            document["scenarios"][0]["contenders"][0]["samples"]
                .as_array()
                .map(Vec::len),
            Some(3)
        );
        assert_eq!(document["contenders"][0]["calls_per_request"], 4.25);
        assert_eq!(document["contenders"][1]["calls"], Value::Null);
        assert!(!document.to_string().contains("/gw-server"));
    }
}
