//! What is counted, in the text form of Prometheus.
//!
//! Plugins count into what workers do not share; whoever asks for the numbers adds them up, and holds no request up.

mod exposition;
pub(crate) mod series;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::queue::Queues;
use crate::registry::Registry;

pub use exposition::{Exposition, Family, FamilyKind};

use series::Traffic;

const PLUGIN_RUNS: Family = Family::counter("gw_plugin_runs_total", "Requests a plugin ran for");
const PLUGIN_ANSWERS: Family = Family::counter(
    "gw_plugin_answers_total",
    "Requests a plugin answered in the upstream's place",
);
const PLUGIN_PANICS: Family =
    Family::counter("gw_plugin_panics_total", "Requests a plugin failed on by a panic");
const PLUGIN_SECONDS: Family = Family::counter(
    "gw_plugin_seconds_total",
    "Seconds that requests spent in a plugin, of those whose time was taken (a sample)",
);
const PLUGIN_TIMED: Family = Family::counter(
    "gw_plugin_timed_total",
    "Requests whose time in a plugin was taken, the others of the sample",
);
const LOG_ENTRIES: Family = Family::counter(
    "gw_log_entries_total",
    "Log entries handed over (sent), given up after all tries (failed), or let go by a full queue (dropped)",
);
const LOG_WAITING: Family = Family::gauge(
    "gw_log_entries_waiting",
    "Log entries that wait in a plugin's queues",
);

/// What the instances of `prometheus` share.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) traffic: Traffic,
    /// Instances that ask for the health of targets.
    pub(crate) health: Arc<AtomicUsize>,
}

/// Writes what the plugins of `registry` have counted: their runs, what went through their log queues, and the traffic that
/// `prometheus` has seen. To be called where it holds nobody up.
pub fn write(registry: &Registry, to: &mut Exposition) {
    registry.env().shared().get::<Metrics>().traffic.write(to);
    let counted: Vec<_> = registry
        .iter()
        .map(|plugin| (plugin.name, plugin.stats.counted()))
        .collect();
    let mut family = |family: &Family, value: &dyn Fn(&crate::Counted) -> f64| {
        to.family(family);
        for (name, counted) in counted.iter().filter(|(_, counted)| counted.runs > 0) {
            to.sample(family.name, &[("plugin", name)], value(counted));
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53 are exact")]
    {
        family(&PLUGIN_RUNS, &|counted| counted.runs as f64);
        family(&PLUGIN_ANSWERS, &|counted| counted.answers as f64);
        family(&PLUGIN_PANICS, &|counted| counted.panics as f64);
        family(&PLUGIN_SECONDS, &|counted| counted.time.as_secs_f64());
        family(&PLUGIN_TIMED, &|counted| counted.timed as f64);
    }
    let queues = registry.env().shared().get::<Queues>();
    to.family(&LOG_ENTRIES);
    for (plugin, totals) in queues.all_totals() {
        for (result, count) in [
            ("sent", &totals.sent),
            ("failed", &totals.failed),
            ("dropped", &totals.dropped),
        ] {
            let labels = [("plugin", plugin), ("result", result)];
            to.sample(LOG_ENTRIES.name, &labels, count.load(Relaxed));
        }
    }
    to.family(&LOG_WAITING);
    for (plugin, count) in queues.waiting() {
        to.sample(LOG_WAITING.name, &[("plugin", plugin)], count);
    }
}

/// Whether an instance of `prometheus` asks for the health of targets, which the data plane knows.
#[must_use]
pub fn wants_target_health(registry: &Registry) -> bool {
    registry.env().shared().get::<Metrics>().health.load(Relaxed) > 0
}
