//! `prometheus`: counts requests, bytes and latencies by service and route.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::cx::LogCx;
use crate::env::BuildEnv;
use crate::metrics::Metrics;
use crate::metrics::series::Which;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};

pub(crate) struct Prometheus {
    metrics: Arc<Metrics>,
    which: Which,
    /// Held for as long as the health of targets is asked for.
    _health: Option<Asks>,
}

/// Counts an instance for as long as it is there.
struct Asks(Arc<AtomicUsize>);

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    per_consumer: bool,
    status_code_metrics: bool,
    latency_metrics: bool,
    bandwidth_metrics: bool,
    upstream_health_metrics: bool,
}

impl Definition for Prometheus {
    const NAME: &'static str = "prometheus";
    const PRIORITY: i32 = 13;
    const PHASES: Phases = Phases::of(&[Phase::Log]);
    const SCHEMA: &'static str = include_str!("prometheus.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let metrics = env.shared().get::<Metrics>();
        let asks = config.upstream_health_metrics && env.instance().is_some();
        Ok(Self {
            _health: asks.then(|| Asks::new(&metrics.health)),
            metrics,
            which: Which {
                consumers: config.per_consumer,
                statuses: config.status_code_metrics,
                latencies: config.latency_metrics,
                bandwidth: config.bandwidth_metrics,
            },
        })
    }
}

impl Plugin for Prometheus {
    type State = ();

    fn log(&self, cx: &mut LogCx<'_>) {
        self.metrics.traffic.count(&cx.parts, self.which);
    }
}

impl Asks {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
