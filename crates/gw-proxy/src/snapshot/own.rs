//! Upstreams that belong to instances of plugins: compiled with them, and kept as long as there is one of their id.

use std::sync::Arc;

use gw_balancer::Checks;
use gw_core::{Id, Target, Upstream};
use gw_plugins::Instance;

use super::{Compiler, Map, Snapshot};
use crate::cell::{Cell, Place, Spec};
use crate::health;
use crate::probe::ProbeTerms;

/// The upstreams of plugins' instances, and the cells they stand for.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnUpstreams(Map<Id<Upstream>, (Arc<Upstream>, Arc<Cell>)>);

impl OwnUpstreams {
    /// An instance is gone.
    pub(super) fn drop_those_of(&mut self, instance: &Instance) {
        for own in instance.upstreams.iter() {
            self.drop_one(own.upstream.id);
        }
    }

    fn drop_one(&mut self, id: Id<Upstream>) {
        if let Some((_, cell)) = self.0.remove(&id) {
            cell.retire();
        }
    }
}

impl Snapshot {
    /// An upstream of a plugin's instance.
    pub(crate) fn own_upstream(&self, id: Id<Upstream>) -> Option<(&Arc<Upstream>, &Arc<Cell>)> {
        self.own.0.get(&id).map(|(upstream, cell)| (upstream, cell))
    }

    /// Takes the upstreams of an instance, in place of those it had `before`.
    pub(super) fn compile_own(
        &mut self,
        compiler: &Compiler<'_>,
        instance: &Instance,
        before: Option<&Instance>,
    ) {
        for gone in before.into_iter().flat_map(|before| before.upstreams.iter()) {
            let stays = instance
                .upstreams
                .iter()
                .any(|own| own.upstream.id == gone.upstream.id);
            if !stays {
                self.own.drop_one(gone.upstream.id);
            }
        }
        for own in instance.upstreams.iter() {
            let id = own.upstream.id;
            let spec = self.spec_of(compiler, &own.upstream, own.targets.iter());
            let cell = match self.own.0.get(&id) {
                // It survives: health, round-robin position and counts stay.
                Some((_, cell)) => {
                    cell.update(spec);
                    Arc::clone(cell)
                }
                None => Cell::new(compiler.names, compiler.prober, spec),
            };
            self.own.0.insert(id, (Arc::clone(&own.upstream), cell));
        }
    }

    /// What the cell of an upstream is made of.
    pub(super) fn spec_of<'t>(
        &self,
        compiler: &Compiler<'_>,
        upstream: &Upstream,
        targets: impl Iterator<Item = &'t Arc<Target>>,
    ) -> Spec {
        let targets = targets.map(|target| Place {
            address: target.address.clone(),
            weight: target.weight,
            priority: target.priority,
        });
        let checks = health::checks(compiler.health, Some(&upstream.healthchecks));
        Spec {
            label: upstream.name.clone(),
            policy: upstream.policy.clone(),
            checks: Checks {
                panic: upstream.panic.unwrap_or(checks.panic),
                slow_start: upstream.slow_start,
                max_in_flight: upstream.max_in_flight,
                ..checks
            },
            probes: Some(&upstream.healthchecks.active)
                .filter(|active| active.is_in_use())
                .map(|active| Arc::new(active.clone())),
            probe_terms: Arc::new(ProbeTerms {
                proxy_protocol: upstream.send_proxy_protocol,
                pair: upstream
                    .client_certificate
                    .and_then(|id| Some(self.config.certificate(id)?.pair.clone())),
            }),
            budget: upstream.retry_budget,
            host_header: upstream.host_header.clone(),
            srv_names: upstream.use_srv_name,
            upstream: true,
            targets: targets.collect(),
        }
    }
}
