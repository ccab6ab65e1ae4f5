//! What a cell has to do with probes: who is to be probed, and what came of it.

use std::sync::Arc;
use std::time::Instant;

use gw_balancer::TargetIdx;
use tracing::info;

use super::{Cell, Member, Members};
use crate::lock;
use crate::probe::{Found, Probed, Wanted};

impl Cell {
    /// Who is to be probed, and how; none if nobody is.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let state = lock(&self.state);
        let active = Arc::clone(state.spec.probes.as_ref()?);
        let members = self.members.load();
        let targets = members.iter().filter_map(|(target, member)| {
            let condition = members.balancer.condition(target)?;
            let weight = members.balancer.targets().get(target.index())?.weight.0;
            // What is sent nothing whatever a probe finds needs none.
            (weight > 0 && !condition.held).then(|| Probed {
                target,
                member: Arc::clone(member),
                healthy: condition.healthy,
            })
        });
        Some(Wanted {
            label: Arc::from(&*state.spec.label),
            active,
            terms: Arc::clone(&state.spec.probe_terms),
            targets: targets.collect(),
        })
    }

    /// Takes in what a probe has found at a member, which had this index when the probe began.
    pub(crate) fn probed(&self, target: TargetIdx, member: &Member, found: &Found) {
        let members = self.members.load();
        let Some(target) = members.find(target, member) else {
            return; // it has left meanwhile
        };
        let Some(transition) = members
            .balancer
            .probed(target, found.finding.into(), Instant::now())
        else {
            return;
        };
        self.heed(member, &transition);
        if let Some(cause) = &found.cause {
            info!(target = %member.label, cause, "what the last probe met with");
        }
    }
}

impl Members {
    /// Where a member is now that was at this index before.
    fn find(&self, before: TargetIdx, member: &Member) -> Option<TargetIdx> {
        let same = |known: &Arc<Member>| known.label == member.label;
        if self.member(before).is_some_and(same) {
            return Some(before);
        }
        self.iter()
            .find(|(_, known)| same(known))
            .map(|(target, _)| target)
    }
}
