//! Which targets are sent requests and why: what the configuration asks for, what operators see and set.

use std::net::SocketAddr;
use std::time::{Instant, SystemTime};

use gw_balancer::health::{Checks, Condition, Panic, Passive, Reason, Threshold, Transition};
use gw_core::{Healthchecks, Id, Upstream};
use tracing::{debug, info, warn};

use crate::address::Address;
use crate::gateway::Gateway;
use crate::settings::HealthSettings;

/// The health of an upstream's targets on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamHealth {
    /// Whether requests are sent anywhere at all.
    pub available: bool,
    /// In the order of their creation.
    pub targets: Vec<TargetHealth>,
}

/// The health of a target: of each address it has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetHealth {
    /// `host:port`, as it is configured.
    pub target: Box<str>,
    /// Host name or address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// As it is configured.
    pub weight: u16,
    /// Whether the host is a name.
    pub named: bool,
    /// The type of record its addresses come from: `A`, `AAAA` or `SRV`; `unix` of a unix socket; if there are none, why.
    pub dns: Box<str>,
    /// None if its name has none that is known.
    pub addresses: Vec<AddressHealth>,
}

/// The health of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressHealth {
    /// The address.
    pub address: Address,
    /// Its share: the target's, or that of its own `SRV` record.
    pub weight: u16,
    /// Whether it is sent requests.
    pub healthy: bool,
    /// Why; none if it has always been sent requests.
    pub reason: Option<Reason>,
    /// Since when.
    pub since: Option<SystemTime>,
    /// When one request tries it, if it is out and comes back by itself.
    pub trial: Option<SystemTime>,
}

impl Gateway {
    /// The health of an upstream's targets; none if there is no such upstream.
    #[must_use]
    pub fn upstream_health(&self, id: Id<Upstream>) -> Option<UpstreamHealth> {
        Some(self.snapshot().cell(id)?.health())
    }

    /// Sets the health of a target, given as `host:port`, or of one of its addresses; false if there is none such.
    ///
    /// What is set to unhealthy is sent nothing until it is set to healthy. It holds for this node, until it ends.
    pub fn set_target_health(
        &self,
        id: Id<Upstream>,
        target: &str,
        address: Option<SocketAddr>,
        healthy: bool,
    ) -> bool {
        let snapshot = self.snapshot();
        snapshot
            .cell(id)
            .is_some_and(|cell| cell.set_health(target, address, healthy))
    }
}

/// What an upstream's targets, or a plain host's addresses, are judged by.
pub(crate) fn checks(settings: &HealthSettings, configured: Option<&Healthchecks>) -> Checks {
    let by_default = if settings.by_default {
        Passive::default()
    } else {
        Passive::Off
    };
    let passive = configured
        .map(|configured| &configured.passive)
        .filter(|counters| counters.is_in_use())
        .map_or(by_default, |counters| {
            Passive::Counters(Box::new(counters.clone()))
        });
    // What nobody checks is available.
    let threshold = configured
        .filter(|configured| configured.is_in_use())
        .map_or(Threshold::default(), |configured| configured.threshold);
    let active = configured
        .map(|configured| &configured.active)
        .filter(|active| active.is_in_use());
    Checks {
        passive,
        ejection: settings.ejection,
        threshold,
        // By Kong's fields all may be out; by ours too few left are no guide.
        panic: if configured.is_some_and(Healthchecks::is_in_use) {
            Panic::NEVER
        } else {
            Panic::default()
        },
        active: active.map(|active| Box::new(active.limits.clone())),
        // Where those that are out are not probed, no probe lets them in.
        trials_beside_probes: active.is_some_and(|active| active.unhealthy_interval.is_none()),
        ..Checks::default()
    }
}

/// Says that a target's health has changed.
pub(crate) fn log(upstream: &str, address: &str, transition: &Transition) {
    let Transition {
        healthy,
        reason,
        pause,
        ..
    } = transition;
    match (healthy, reason) {
        (true, _) => info!(upstream, address, %reason, "a target is in again"),
        (false, Reason::TrialFailed { .. }) => {
            debug!(upstream, address, %reason, ?pause, "a target stays out");
        }
        (false, Reason::Operator) => info!(upstream, address, %reason, "a target is out"),
        (false, _) => warn!(upstream, address, %reason, ?pause, "a target is out"),
    }
}

/// Turns moments into times of day.
pub(crate) struct Clock {
    now: Instant,
    wall: SystemTime,
}

impl Clock {
    pub(crate) fn read() -> Self {
        Self {
            now: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    pub(crate) fn wall(&self, moment: Instant) -> Option<SystemTime> {
        match moment.checked_duration_since(self.now) {
            Some(ahead) => self.wall.checked_add(ahead),
            None => self.wall.checked_sub(self.now.saturating_duration_since(moment)),
        }
    }

    pub(crate) fn shown(&self, address: Address, weight: u16, condition: &Condition) -> AddressHealth {
        AddressHealth {
            address,
            weight,
            healthy: condition.healthy,
            reason: condition.reason,
            since: condition.since.and_then(|since| self.wall(since)),
            trial: condition.trial.and_then(|trial| self.wall(trial)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gw_balancer::health::{Counters, StatusSet};
    use gw_core::{Active, Probe, ProbeKind};
    use http::HeaderMap;
    use http::uri::PathAndQuery;

    use super::*;

    /// Checks by which requests count, if `tcp_failures` is above 0, and with these intervals of probes in seconds.
    fn configured(tcp_failures: u8, intervals: [u64; 2]) -> Healthchecks {
        let [healthy_interval, unhealthy_interval] = intervals
            .map(|seconds| Some(Duration::from_secs(seconds)).filter(|interval| !interval.is_zero()));
        let counters = Counters {
            statuses: true,
            successes: 0,
            healthy: StatusSet::new(),
            tcp_failures,
            timeouts: 0,
            http_failures: 0,
            unhealthy: StatusSet::new(),
        };
        Healthchecks {
            threshold: Threshold::percent(40.0),
            passive: counters.clone(),
            active: Active {
                healthy_interval,
                unhealthy_interval,
                timeout: Duration::from_secs(1),
                concurrency: 10,
                probe: Probe {
                    kind: ProbeKind::Http,
                    path: PathAndQuery::from_static("/"),
                    headers: HeaderMap::new(),
                    server_name: None,
                    verify: true,
                    service: "".into(),
                },
                limits: counters,
            },
        }
    }

    #[test]
    fn kong_s_counters_where_they_count_and_ours_elsewhere() {
        const OFF: [u64; 2] = [0, 0];
        let on = HealthSettings::default();
        let off = HealthSettings {
            by_default: false,
            ..on.clone()
        };
        let (none, some) = (Threshold::default(), Threshold::percent(40.0));
        let counters = || Passive::Counters(Box::new(configured(2, OFF).passive));
        for (settings, configured, passive, threshold) in [
            (&on, None, Passive::default(), none),
            (&off, None, Passive::Off, none),
            (&on, Some(configured(0, OFF)), Passive::default(), none),
            (&off, Some(configured(0, [1, 0])), Passive::Off, some),
            (&on, Some(configured(0, [0, 1])), Passive::default(), some),
            (&on, Some(configured(2, OFF)), counters(), some),
            (&off, Some(configured(2, OFF)), counters(), some),
        ] {
            let checks = checks(settings, configured.as_ref());
            assert_eq!(
                (checks.passive, checks.threshold),
                (passive, threshold),
                "{configured:?}"
            );
            assert_eq!(checks.ejection, settings.ejection);
        }
    }

    #[test]
    fn probes_let_targets_in_where_those_that_are_out_are_probed() {
        let settings = HealthSettings::default();
        for (intervals, counted, heal) in [
            ([0, 0], false, false),
            ([1, 0], true, false),
            ([0, 1], true, true),
            ([1, 1], true, true),
        ] {
            let checks = checks(&settings, Some(&configured(0, intervals)));
            assert_eq!(
                (checks.active.is_some(), checks.probes_heal()),
                (counted, heal),
                "{intervals:?}"
            );
        }
    }

    #[test]
    fn moments_before_and_after_now_become_times() {
        let clock = Clock::read();
        let second = Duration::from_secs(1);
        assert_eq!(clock.wall(clock.now + second), Some(clock.wall + second));
        assert_eq!(clock.wall(clock.now), Some(clock.wall));
        let past = clock
            .now
            .checked_sub(second)
            .expect("the machine has been up for a second");
        assert_eq!(clock.wall(past), Some(clock.wall - second));
    }
}
