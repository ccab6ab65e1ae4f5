//! Traffic by service, route and consumer: counted by each worker for itself, added up when somebody asks.

mod values;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use gw_core::{Consumer, Route, Service};

use crate::cx::LogParts;
use crate::metrics::{Exposition, Family};

use values::{LATENCIES, Values};

/// How many parts the counters are in, so that workers do not wait for each other.
const SHARDS: usize = 64;
/// Bound: series of one shard; with more it is added up before anybody asks.
const SHARD_SERIES: usize = 8192;
/// Bound: services, routes and consumers that are told apart, all together. What is beyond is counted as [`OVERFLOW`].
const MOST: usize = 10_000;
/// The name of services and routes that are not told apart any more.
const OVERFLOW: &str = "__overflow__";

const REQUESTS: Family = Family::counter(
    "kong_http_requests_total",
    "HTTP status codes per consumer/service/route in Kong",
);
const BANDWIDTH: Family = Family::counter(
    "kong_bandwidth_bytes",
    "Total bandwidth (ingress/egress) throughput in bytes",
);
const ERRORS: Family = Family::counter(
    "kong_nginx_metric_errors_total",
    "Requests counted in the overflow series, because there were too many others",
);

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Which {
    pub(crate) consumers: bool,
    pub(crate) statuses: bool,
    pub(crate) latencies: bool,
    pub(crate) bandwidth: bool,
}

/// Traffic by service, route and consumer.
pub(crate) struct Traffic {
    shards: Box<[Shard]>,
    sums: Mutex<Sums>,
    most: usize,
    shard_most: usize,
}

/// One worker's series. What they are of is kept with them, so that no other can come to have its address.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<Addresses, Series, RandomState>>);

/// Of what a series is, by where that is in memory: found without a comparison of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Addresses([usize; 3]);

struct Series {
    route: Option<Arc<Route>>,
    service: Option<Arc<Service>>,
    consumer: Option<Arc<Consumer>>,
    values: Values,
}

#[derive(Default)]
struct Sums {
    series: BTreeMap<Labels, Values>,
    /// Requests that are in the overflow series.
    overflowed: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    service: Box<str>,
    route: Box<str>,
    consumer: Box<str>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self::bounded(MOST, SHARD_SERIES)
    }
}

impl Traffic {
    fn bounded(most: usize, shard_most: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            sums: Mutex::default(),
            most,
            shard_most,
        }
    }

    /// Counts an exchange.
    pub(crate) fn count(&self, parts: &LogParts<'_>, which: Which) {
        let facts = &parts.facts;
        let consumer = parts.identity.consumer.as_ref().filter(|_| which.consumers);
        let key = Addresses([address(facts.route), address(facts.service), address(consumer)]);
        let mut shard = lock(&self.shards[facts.worker % SHARDS].0);
        let series = shard.entry(key).or_insert_with(|| Series {
            route: facts.route.cloned(),
            service: facts.service.cloned(),
            consumer: consumer.cloned(),
            values: Values::default(),
        });
        series.values.count(parts, which);
        if shard.len() > self.shard_most {
            let full = std::mem::take(&mut *shard);
            drop(shard);
            self.add(&mut lock(&self.sums), full);
        }
    }

    /// Adds everything up, and writes it.
    pub(crate) fn write(&self, to: &mut Exposition) {
        let mut sums = lock(&self.sums);
        for shard in &self.shards {
            let series = std::mem::take(&mut *lock(&shard.0));
            self.add(&mut sums, series);
        }
        to.family(&REQUESTS);
        for (labels, values) in &sums.series {
            for count in values.statuses() {
                let code = count.code.to_string();
                let labels = [
                    ("service", &*labels.service),
                    ("route", &labels.route),
                    ("code", &code),
                    ("source", count.source()),
                    ("workspace", "default"),
                    ("consumer", &labels.consumer),
                ];
                to.sample(REQUESTS.name, &labels, count.requests);
            }
        }
        to.family(&BANDWIDTH);
        for (labels, values) in &sums.series {
            for (direction, bytes) in values.bandwidth() {
                let labels = [
                    ("service", &*labels.service),
                    ("route", &labels.route),
                    ("direction", direction),
                    ("workspace", "default"),
                    ("consumer", &labels.consumer),
                ];
                to.sample(BANDWIDTH.name, &labels, bytes);
            }
        }
        // Kong does not tell latencies apart by consumer.
        let mut by_route: BTreeMap<(&str, &str), Values> = BTreeMap::new();
        for (labels, values) in &sums.series {
            by_route
                .entry((&labels.service, &labels.route))
                .or_default()
                .add_latencies(values);
        }
        for (position, family) in LATENCIES.iter().enumerate() {
            to.family(&family.0);
            for ((service, route), values) in &by_route {
                values.write_latency(position, (service, route), to);
            }
        }
        to.family(&ERRORS);
        to.sample(ERRORS.name, &[], sums.overflowed);
    }

    fn add(&self, sums: &mut Sums, series: HashMap<Addresses, Series, RandomState>) {
        for series in series.into_values() {
            let mut labels = series.labels();
            if sums.series.len() >= self.most && !sums.series.contains_key(&labels) {
                sums.overflowed += series.values.requests();
                labels = Labels {
                    service: OVERFLOW.into(),
                    route: OVERFLOW.into(),
                    consumer: "".into(),
                };
            }
            sums.series.entry(labels).or_default().add(&series.values);
        }
    }
}

impl Series {
    fn labels(&self) -> Labels {
        let service = self.service.as_deref();
        let service = service.map(|service| {
            service
                .name
                .clone()
                .unwrap_or_else(|| service.target.host.clone())
        });
        let route = self.route.as_deref();
        let route = route.map(|route| route.name.clone().unwrap_or_else(|| route.id.to_string().into()));
        let consumer = self.consumer.as_deref();
        let consumer = consumer.map(|consumer| {
            let name = consumer.username.clone().or_else(|| consumer.custom_id.clone());
            name.unwrap_or_else(|| consumer.id.to_string().into())
        });
        Labels {
            service: service.unwrap_or_default(),
            route: route.unwrap_or_default(),
            consumer: consumer.unwrap_or_default(),
        }
    }
}

fn address<T>(of: Option<&Arc<T>>) -> usize {
    of.map_or(0, |of| Arc::as_ptr(of).addr())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
