//! The targets behind one host or upstream, resolved and balanced: what survives snapshots.

mod members;
mod probed;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use gw_balancer::health::Transition;
use gw_balancer::{Balancer, Budget, BudgetPolicy, Checks, Policy, TargetIdx};
use gw_core::{Active, TargetAddress};
use tokio::sync::Notify;

use self::members::drafts;
pub(crate) use self::members::{Member, Members};
use crate::address::Address;
use crate::addresses::Tenure;
use crate::dns::{Name, Names};
use crate::health::{self, Clock, TargetHealth, UpstreamHealth};
use crate::lock;
use crate::probe::{Line, ProbeTerms, Prober};

/// What a cell is made of: configuration, nothing resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// What logs call it.
    pub(crate) label: Box<str>,
    pub(crate) policy: Policy,
    pub(crate) checks: Checks,
    /// How its targets are probed; none = they are not.
    pub(crate) probes: Option<Arc<Active>>,
    /// What connections of probes are opened with.
    pub(crate) probe_terms: Arc<ProbeTerms>,
    /// How much further tries may add to its load.
    pub(crate) budget: BudgetPolicy,
    /// `Host` for all targets; none = each target's own.
    pub(crate) host_header: Option<Box<str>>,
    /// Whether a target found by an `SRV` record is called as the record calls it.
    pub(crate) srv_names: bool,
    /// Whether it is an upstream with targets of its own, or just the host of a service.
    pub(crate) upstream: bool,
    pub(crate) targets: Vec<Place>,
}

/// A target as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) address: TargetAddress,
    pub(crate) weight: u16,
    pub(crate) priority: u32,
}

/// The targets behind one host or upstream. Requests load its members; the control side changes them.
pub(crate) struct Cell {
    members: ArcSwap<Members>,
    changed: Notify,
    names: Arc<Names>,
    prober: Line,
    state: Mutex<State>,
    me: Weak<Self>,
}

struct State {
    spec: Spec,
    /// One for each target; none where the host is an address.
    names: Vec<Option<Arc<Name>>>,
    /// Of the members' addresses.
    tenures: HashMap<Address, Tenure>,
    /// When time alone changes the table next, as far as somebody waits for it.
    alarm: Option<Instant>,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell")
            .field("members", &self.members.load())
            .finish_non_exhaustive()
    }
}

impl Cell {
    pub(crate) fn new(names: &Arc<Names>, prober: &Prober, spec: Spec) -> Arc<Self> {
        let cell = Arc::new_cyclic(|me| Self {
            members: ArcSwap::from_pointee(Members {
                balancer: Balancer::new(&spec.policy, &spec.checks, &[]),
                budget: Arc::new(Budget::new(spec.budget)),
                list: Arc::default(),
                generation: 0,
                pending: true,
                upstream: spec.upstream,
            }),
            changed: Notify::new(),
            names: Arc::clone(names),
            prober: prober.line(),
            state: Mutex::new(State {
                spec: Spec {
                    targets: Vec::new(),
                    ..spec.clone()
                },
                names: Vec::new(),
                tenures: HashMap::new(),
                alarm: None,
            }),
            me: me.clone(),
        });
        cell.update(spec);
        cell
    }

    /// Takes other targets, or another policy. Names that stay are not looked up anew.
    pub(crate) fn update(&self, spec: Spec) {
        let mut state = lock(&self.state);
        let watch = |place: &Place| match place.address.host.parse::<IpAddr>() {
            Ok(_) => None,
            Err(_) if place.address.socket().is_some() => None,
            Err(_) => Some(self.names.watch(&place.address.host, self.me.clone())),
        };
        // The old names are let go only afterwards, so that one that stays is found.
        let names = spec.targets.iter().map(watch).collect();
        state.spec = spec;
        state.names = names;
        self.build(&mut state);
    }

    /// No configuration has it any more. Requests that began with it may still finish.
    pub(crate) fn retire(&self) {
        lock(&self.state).spec.probes = None;
        self.prober.changed(&self.me, false);
    }

    /// A name has new addresses.
    pub(crate) fn rebuild(&self) {
        self.build(&mut lock(&self.state));
    }

    /// Invariant: called with the lock held, so that members are never replaced by older ones.
    fn build(&self, state: &mut State) {
        let (drafts, pending) = drafts(&state.spec, &state.names);
        let targets: Vec<_> = drafts.iter().map(|draft| draft.target.clone()).collect();
        let before = self.members.load();
        let Spec {
            policy,
            checks,
            budget,
            ..
        } = &state.spec;
        let (balancer, released) = before.balancer.rebuild(policy, checks, &targets, Instant::now());
        let budget = match before.budget.policy() == budget {
            true => Arc::clone(&before.budget),
            false => Arc::new(before.budget.rebuild(*budget)),
        };
        let mut left = std::mem::take(&mut state.tenures);
        let members = drafts.into_iter().map(|draft| {
            let address = &draft.address;
            let enter = || {
                left.remove(address)
                    .unwrap_or_else(|| self.names.addresses.enter(address))
            };
            let tenure = state.tenures.entry(address.clone()).or_insert_with(enter).clone();
            Arc::new(draft.member(tenure))
        });
        let list: Arc<[Arc<Member>]> = members.collect();
        note(&state.spec, &list, &released);
        self.publish(
            state,
            Members {
                balancer,
                budget,
                list,
                generation: before.generation + 1,
                pending,
                upstream: state.spec.upstream,
            },
        );
        self.changed.notify_waiters();
        // Only now: nothing picks them any more.
        for address in left.keys() {
            self.names.addresses.leave(address);
        }
    }

    /// Lets a change of a member's health take effect: the members stay as they are, with their indices.
    pub(crate) fn heed(&self, member: &Member, transition: &Transition) {
        let mut state = lock(&self.state);
        health::log(&state.spec.label, &member.label, transition);
        self.refresh(&mut state);
    }

    /// Invariant: called with the lock held.
    fn refresh(&self, state: &mut State) {
        let before = self.members.load();
        self.publish(
            state,
            Members {
                balancer: before.balancer.refresh(Instant::now()),
                budget: Arc::clone(&before.budget),
                list: Arc::clone(&before.list),
                ..**before
            },
        );
    }

    /// Invariant: called with the lock held.
    fn publish(&self, state: &mut State, members: Members) {
        let next = members.balancer.next_change();
        self.members.store(Arc::new(members));
        self.prober.changed(&self.me, state.spec.probes.is_some());
        if let Some(at) = next
            && state.alarm.is_none_or(|alarm| at < alarm)
        {
            state.alarm = Some(at);
            let me = self.me.clone();
            self.names.control.spawn(async move {
                tokio::time::sleep_until(at.into()).await;
                if let Some(cell) = me.upgrade() {
                    cell.wake(at);
                }
            });
        }
    }

    /// The time has come for which somebody waited, unless an earlier one has come before.
    fn wake(&self, at: Instant) {
        let mut state = lock(&self.state);
        if state.alarm == Some(at) {
            state.alarm = None;
            self.refresh(&mut state);
        }
    }

    /// How its targets are.
    pub(crate) fn health(&self) -> UpstreamHealth {
        let state = lock(&self.state);
        let (members, clock) = (self.members.load(), Clock::read());
        let target = |(index, place): (usize, &Place)| {
            let addresses = members.of(index).filter_map(|(target, member)| {
                let condition = members.balancer.condition(target)?;
                let weight = members.balancer.targets().get(target.index())?.weight.0;
                Some(clock.shown(member.address.clone(), weight, &condition))
            });
            TargetHealth {
                target: place.address.to_string().into(),
                host: place.address.host.clone(),
                port: place.address.port,
                weight: place.weight,
                named: state.names.get(index).is_some_and(Option::is_some),
                dns: match state.names.get(index).and_then(Option::as_deref) {
                    Some(name) => name.dns(),
                    None if place.address.socket().is_some() => "unix".into(),
                    None if place.address.host.contains(':') => "AAAA".into(),
                    None => "A".into(),
                },
                addresses: addresses.collect(),
            }
        };
        UpstreamHealth {
            available: members.balancer.is_available(),
            targets: state.spec.targets.iter().enumerate().map(target).collect(),
        }
    }

    /// Sets the health of a target, or of one of its addresses; false if there is none such.
    pub(crate) fn set_health(&self, target: &str, address: Option<SocketAddr>, healthy: bool) -> bool {
        let mut state = lock(&self.state);
        let members = self.members.load_full();
        let named = |known: &Place| known.address.to_string() == target;
        let Some(place) = state.spec.targets.iter().position(named) else {
            return false;
        };
        let (mut found, now) = (false, Instant::now());
        for (target, member) in members.of(place) {
            if address.is_none_or(|address| member.address == address) {
                let changed = members.balancer.set_health(target, healthy, now);
                note(&state.spec, &members.list, &changed);
                found = true;
            }
        }
        self.refresh(&mut state);
        found
    }

    pub(crate) fn members(&self) -> Guard<Arc<Members>> {
        self.members.load()
    }

    /// Wakes whoever waits for the members to change.
    pub(crate) fn changed(&self) -> &Notify {
        &self.changed
    }

    pub(crate) fn spec(&self) -> Spec {
        lock(&self.state).spec.clone()
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let state = self
            .state
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for address in std::mem::take(&mut state.tenures).keys() {
            self.names.addresses.leave(address);
        }
    }
}

/// Says whose health has changed.
fn note(spec: &Spec, members: &[Arc<Member>], changed: &[(TargetIdx, Transition)]) {
    for (target, transition) in changed {
        if let Some(member) = members.get(target.index()) {
            health::log(&spec.label, &member.label, transition);
        }
    }
}

#[cfg(test)]
mod tests;
