//! Counts in Redis, under the keys that Kong uses: both may count together.

use gw_core::{Id, PluginUse};

use crate::cx::Facts;
use crate::limits::calendar::{Limits, Usage};
use crate::limits::caller::Caller;
use crate::limits::period::Period;
use crate::limits::remote::{Remote, RemoteError};
use crate::limits::scripts::{Argument, Script};

/// The keys of a caller, one for each limited window.
#[derive(Debug)]
pub(super) struct Keys(pub(super) Vec<String>);

impl Keys {
    /// The keys of the windows that `at` lies in.
    pub(super) fn of(
        instance: Option<Id<PluginUse>>,
        facts: &Facts<'_>,
        caller: &Caller<'_>,
        limits: &Limits,
        at: u64,
    ) -> Self {
        let scope = instance
            .and_then(|id| facts.config.plugin(id))
            .map(|plugin| plugin.scope);
        let scope = scope.unwrap_or_default();
        let route = scope.route.map(Id::uuid).unwrap_or_default();
        let service = scope.service.map(Id::uuid).unwrap_or_default();
        let key = |(period, _): (Period, u64)| {
            let (begin, name) = (period.begin(at) * 1000, period.name());
            format!("ratelimit:{route}:{service}:{caller}:{begin}:{name}")
        };
        Self(limits.iter().map(key).collect())
    }

    /// Counts a call.
    pub(super) async fn take(
        &self,
        remote: &Remote,
        worker: usize,
        limits: &Limits,
        at: u64,
    ) -> Result<Usage, RemoteError> {
        let mut arguments = vec![Argument::Number(1)];
        for (period, limit) in limits.iter() {
            arguments.extend([Argument::Number(limit), Argument::Number(life(period, at))]);
        }
        let given = remote.run(worker, Script::Take, &self.0, &arguments).await?;
        let mut usage = Usage {
            used: [0; Period::ALL.len()],
            passes: given.last() == Some(&1),
        };
        for ((period, _), used) in limits.iter().zip(given) {
            usage.used[period as usize] = used.unsigned_abs();
        }
        Ok(usage)
    }
}

/// How long the count of the window that `at` lies in is kept: until it ends, and a little longer for clocks that lag.
pub(super) fn life(period: Period, at: u64) -> u64 {
    period.end(period.begin(at)).saturating_sub(at) + 5
}
