//! Picks a request's targets, never one twice.

use std::sync::Arc;
use std::time::Instant;

use gw_balancer::{Handle, Refusal, Rng, Tried};

use crate::attempt::{Try, TryOutcome};
use crate::cell::{Member, Members};
use crate::failure::Failure;
use crate::plan::ServicePlan;

/// Picks targets for one request, never one twice.
pub(crate) struct Picker<'s> {
    service: &'s ServicePlan,
    /// What the request sticks to.
    key: Option<u64>,
    tried: Tried,
    /// Of the members that `tried` has indices into.
    generation: u64,
    /// Whether it can be sent again if it fails.
    repeatable: bool,
    /// How many further tries the budget gets back if one is answered.
    owed: u16,
    rng: Rng,
}

/// A target, and the count of its requests in flight that this one is in.
pub(crate) struct Picked {
    pub(crate) target: Arc<Member>,
    pub(crate) handle: Handle,
    /// When it was picked.
    pub(crate) at: Instant,
}

impl<'s> Picker<'s> {
    pub(crate) fn new(service: &'s ServicePlan, key: Option<u64>, repeatable: bool) -> Self {
        Self {
            service,
            key,
            repeatable,
            tried: Tried::new(),
            generation: 0,
            owed: 0,
            rng: Rng::seeded(fastrand::u64(..)),
        }
    }

    /// The first target. Waits for a name that has never been answered, as long as connecting may take.
    pub(crate) async fn first(&mut self, now: Instant) -> Result<Picked, Failure> {
        {
            let members = self.service.cell.members();
            members.budget.request(now);
            if let Some(picked) = self.pick(&members, &[], now)? {
                return Ok(picked);
            }
        }
        Box::pin(self.wait()).await
    }

    /// The first target, once there is one.
    async fn wait(&mut self) -> Result<Picked, Failure> {
        let deadline = tokio::time::Instant::now() + self.service.service.timeouts.connect;
        loop {
            let changed = self.service.cell.changed().notified();
            tokio::pin!(changed);
            // Enabled before looking again, so that a change in between is not missed.
            changed.as_mut().enable();
            if let Some(picked) = self.pick(&self.service.cell.members(), &[], Instant::now())? {
                return Ok(picked);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(Failure::NameResolution);
            }
        }
    }

    /// Another target, if there is one that these tries have not been at and the upstream's budget allows the try.
    pub(crate) fn another(&mut self, tries: &[Try], now: Instant) -> Option<Picked> {
        let members = self.service.cell.members();
        let picked = self.pick(&members, tries, now).ok().flatten()?;
        let last = tries.last().map(|last| last.outcome);
        if !members.budget.try_retry(now) {
            return None;
        }
        self.owed += u16::from(matches!(
            last,
            Some(TryOutcome::ConnectFailed | TryOutcome::Broken)
        ));
        Some(picked)
    }

    /// The request is answered: what followed on nothing but a dead connection was no further load.
    pub(crate) fn answered(&self, now: Instant) {
        for _ in 0..self.owed {
            self.service.cell.members().budget.refund(now);
        }
    }

    /// A target; none if one may come up.
    fn pick(&mut self, members: &Members, tries: &[Try], now: Instant) -> Result<Option<Picked>, Failure> {
        if members.generation != self.generation {
            self.generation = members.generation;
            self.tried = members.tried(tries);
        }
        let (balancer, tried, rng) = (&members.balancer, &self.tried, &mut self.rng);
        let handle = if self.repeatable {
            balancer.pick(self.key, tried, now, rng)
        } else {
            balancer.pick_unrepeatable(self.key, tried, now, rng)
        };
        let Some(handle) = handle else {
            return match members.balancer.refusal(&self.tried) {
                Refusal::Full => Err(Failure::UpstreamBusy),
                _ if members.pending => Ok(None),
                _ => Err(members.failure()),
            };
        };
        let target = handle.target();
        self.tried.insert(target);
        let target = members.member(target).cloned().ok_or(Failure::Internal)?;
        Ok(Some(Picked {
            target,
            handle,
            at: now,
        }))
    }
}
