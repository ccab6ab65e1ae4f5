//! The numbers of one series.

use std::time::Duration;

use smallvec::SmallVec;

use super::Which;
use crate::cx::{LogParts, Source};
use crate::metrics::{Exposition, Family};

/// Kong's bounds of its own latency, in milliseconds.
const KONG_BOUNDS: [u16; 17] = [
    1, 2, 5, 7, 10, 15, 20, 30, 50, 75, 100, 200, 500, 750, 1000, 3000, 6000,
];
/// Kong's bounds of the others.
const OTHER_BOUNDS: [u16; 13] = [
    25, 50, 80, 100, 250, 400, 700, 1000, 2000, 5000, 10_000, 30_000, 60_000,
];
/// Bounds of the longer list, and one for what is beyond.
const COUNTS: usize = KONG_BOUNDS.len() + 1;

/// The latencies, with their bounds.
pub(super) const LATENCIES: [(Family, &[u16]); 3] = [
    (
        Family::histogram(
            "kong_kong_latency_ms",
            "Latency added by Kong and enabled plugins for each service/route in Kong",
        ),
        &KONG_BOUNDS,
    ),
    (
        Family::histogram(
            "kong_upstream_latency_ms",
            "Latency added by upstream response for each service/route in Kong",
        ),
        &OTHER_BOUNDS,
    ),
    (
        Family::histogram(
            "kong_request_latency_ms",
            "Total latency incurred during requests for each service/route in Kong",
        ),
        &OTHER_BOUNDS,
    ),
];

/// The numbers of one series.
#[derive(Clone, Default)]
pub(super) struct Values {
    statuses: SmallVec<[StatusCount; 4]>,
    ingress: u64,
    egress: u64,
    /// In the order of [`LATENCIES`].
    latencies: [Histogram; 3],
}

/// Requests that ended alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusCount {
    pub(super) code: u16,
    upstream: bool,
    pub(super) requests: u64,
}

#[derive(Clone, Copy, Default)]
struct Histogram {
    /// By bound, not added up.
    counts: [u64; COUNTS],
    /// In milliseconds.
    sum: f64,
}

impl Values {
    pub(super) fn count(&mut self, parts: &LogParts<'_>, which: Which) {
        if which.statuses {
            self.add_status(StatusCount {
                code: parts.status.as_u16(),
                upstream: parts.source == Source::Upstream,
                requests: 1,
            });
        }
        if which.bandwidth {
            self.ingress += parts.request_bytes;
            self.egress += parts.response_bytes;
        }
        if which.latencies {
            self.latencies[0].observe(&KONG_BOUNDS, parts.gateway);
            if let Some(upstream) = parts.upstream {
                self.latencies[1].observe(&OTHER_BOUNDS, upstream);
            }
            self.latencies[2].observe(&OTHER_BOUNDS, parts.total);
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for status in &other.statuses {
            self.add_status(*status);
        }
        self.ingress += other.ingress;
        self.egress += other.egress;
        self.add_latencies(other);
    }

    pub(super) fn add_latencies(&mut self, other: &Self) {
        for (sum, other) in self.latencies.iter_mut().zip(&other.latencies) {
            for (count, other) in sum.counts.iter_mut().zip(&other.counts) {
                *count += other;
            }
            sum.sum += other.sum;
        }
    }

    /// Requests by how they ended.
    pub(super) fn statuses(&self) -> &[StatusCount] {
        &self.statuses
    }

    /// How many requests there were, as far as it is known.
    pub(super) fn requests(&self) -> u64 {
        let timed = self.latencies[2].counts.iter().sum();
        self.statuses
            .iter()
            .map(|status| status.requests)
            .sum::<u64>()
            .max(timed)
    }

    /// Bytes by direction, where there were any.
    pub(super) fn bandwidth(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let both = [("ingress", self.ingress), ("egress", self.egress)];
        both.into_iter().filter(|(_, bytes)| *bytes > 0)
    }

    /// Writes the latency at this place of [`LATENCIES`], if there was any.
    pub(super) fn write_latency(&self, position: usize, (service, route): (&str, &str), to: &mut Exposition) {
        let (Family { name, .. }, bounds) = LATENCIES[position];
        let Histogram { counts, sum } = &self.latencies[position];
        let all: u64 = counts.iter().sum();
        if all == 0 {
            return;
        }
        let same = [("service", service), ("route", route), ("workspace", "default")];
        let [a, b, c] = same;
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(counts) {
            below += count;
            to.sample(&bucket, &[a, b, c, ("le", &bound.to_string())], below);
        }
        to.sample(&bucket, &[a, b, c, ("le", "+Inf")], all);
        to.sample(&format!("{name}_sum"), &same, sum);
        to.sample(&format!("{name}_count"), &same, all);
    }

    fn add_status(&mut self, status: StatusCount) {
        let same = |known: &&mut StatusCount| known.code == status.code && known.upstream == status.upstream;
        match self.statuses.iter_mut().find(same) {
            Some(known) => known.requests += status.requests,
            None => self.statuses.push(status),
        }
    }
}

impl StatusCount {
    /// Who made the response.
    pub(super) fn source(&self) -> &'static str {
        if self.upstream { "service" } else { "kong" }
    }
}

impl Histogram {
    fn observe(&mut self, bounds: &[u16], took: Duration) {
        let millis = took.as_secs_f64() * 1000.0;
        let place = bounds.iter().position(|bound| millis <= f64::from(*bound));
        self.counts[place.unwrap_or(bounds.len())] += 1;
        self.sum += millis;
    }
}
