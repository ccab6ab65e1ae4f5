//! Counts in Redis, under the keys that Kong uses.

use gw_core::{Id, PluginUse};

use super::Quota;
use crate::cx::Facts;
use crate::limits::calendar::Usage;
use crate::limits::caller::Caller;
use crate::limits::period::Period;
use crate::limits::remote::{Remote, RemoteError};
use crate::limits::scripts::{Argument, Script};

/// The keys of a caller, one for each limited window of each quota.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<String>);

/// Costs that Redis is to be told.
#[derive(Debug)]
pub(super) struct Paid {
    keys: Vec<String>,
    amounts: Vec<u64>,
}

impl Keys {
    /// The keys of the windows that `at` lies in.
    pub(super) fn of(
        instance: Option<Id<PluginUse>>,
        facts: &Facts<'_>,
        caller: &Caller<'_>,
        quotas: &[Quota],
        at: u64,
    ) -> Self {
        let scope = instance
            .and_then(|id| facts.config.plugin(id))
            .map(|plugin| plugin.scope);
        let scope = scope.unwrap_or_default();
        let route = scope.route.map(Id::uuid).unwrap_or_default();
        let service = scope.service.map(Id::uuid).unwrap_or_default();
        let mut keys = Vec::new();
        for Quota { name, limits, .. } in quotas {
            for (period, _) in limits.iter() {
                let (begin, period) = (period.begin(at) * 1000, period.name());
                keys.push(format!(
                    "response-ratelimit:{route}:{service}:{caller}:{begin}:{name}:{period}"
                ));
            }
        }
        Self(keys)
    }

    /// What is used of each quota.
    pub(super) async fn read(
        &self,
        remote: &Remote,
        worker: usize,
        quotas: &[Quota],
    ) -> Result<Vec<Usage>, RemoteError> {
        let given = remote.run(worker, Script::Read, &self.0, &[]).await?;
        let mut given = given.into_iter();
        let mut usages = Vec::with_capacity(quotas.len());
        for quota in quotas {
            let mut usage = Usage {
                used: [0; Period::ALL.len()],
                passes: true,
            };
            for ((period, limit), used) in quota.limits.iter().zip(&mut given) {
                let used = u64::try_from(used).unwrap_or(0);
                usage.used[period as usize] = used;
                usage.passes &= used < limit;
            }
            usages.push(usage);
        }
        Ok(usages)
    }

    /// What is to be added, if anything is.
    pub(super) fn add(self, quotas: &[Quota], costs: &[u64], at: u64) -> Option<Paid> {
        let mut paid = Paid {
            keys: Vec::new(),
            amounts: Vec::new(),
        };
        let mut keys = self.0.into_iter();
        for (quota, cost) in quotas.iter().zip(costs) {
            for ((period, _), key) in quota.limits.iter().zip(&mut keys) {
                if *cost > 0 {
                    let life = period.end(period.begin(at)).saturating_sub(at) + 5;
                    paid.keys.push(key);
                    paid.amounts.extend([*cost, life]);
                }
            }
        }
        (!paid.keys.is_empty()).then_some(paid)
    }
}

impl Paid {
    /// Tells Redis.
    pub(super) async fn send(self, remote: &Remote, worker: usize) -> Result<(), RemoteError> {
        let amounts: Vec<_> = self
            .amounts
            .iter()
            .map(|amount| Argument::Number(*amount))
            .collect();
        remote
            .run(worker, Script::Add, &self.keys, &amounts)
            .await
            .map(drop)
    }
}
