//! The targets behind one host or upstream, resolved and balanced: what survives snapshots.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use arc_swap::{ArcSwap, Guard};
use gw_balancer::health::Transition;
use gw_balancer::{Balancer, Checks, Policy, Target, TargetIdx, Tried};
use gw_core::TargetAddress;
use http::HeaderValue;
use tokio::sync::Notify;

use crate::attempt::Try;
use crate::dns::{Found, Name, Names};
use crate::failure::Failure;
use crate::health::{self, Clock, TargetHealth, UpstreamHealth};
use crate::lock;

/// What a cell is made of: configuration, nothing resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// What logs call it.
    pub(crate) label: Box<str>,
    pub(crate) policy: Policy,
    pub(crate) checks: Checks,
    /// `Host` for all targets; none = each target's own.
    pub(crate) host_header: Option<Box<str>>,
    /// Whether it is an upstream with targets of its own, or just the host of a service.
    pub(crate) upstream: bool,
    /// Addresses and weights.
    pub(crate) targets: Vec<(TargetAddress, u16)>,
}

/// The targets behind one host or upstream. Requests load its members; the control side changes them.
pub(crate) struct Cell {
    members: ArcSwap<Members>,
    changed: Notify,
    names: Arc<Names>,
    state: Mutex<State>,
    me: Weak<Self>,
}

struct State {
    spec: Spec,
    /// One for each target; none where the host is an address.
    names: Vec<Option<Arc<Name>>>,
}

/// A cell's targets at one moment: one member per address.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) balancer: Balancer,
    /// By [`TargetIdx`] of the balancer.
    list: Arc<[Arc<Member>]>,
    /// Counts up with each change: indices are only good for one generation.
    pub(crate) generation: u64,
    /// Whether a name has never been answered, so that waiting may help.
    pub(crate) pending: bool,
    upstream: bool,
}

/// One address requests can go to.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    /// `Host` for requests to it.
    pub(crate) host: HeaderValue,
    /// What the access log calls it.
    pub(crate) label: Box<str>,
    /// Which of the configured targets it is an address of.
    pub(crate) place: usize,
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cell")
            .field("members", &self.members.load())
            .finish_non_exhaustive()
    }
}

impl Cell {
    pub(crate) fn new(names: &Arc<Names>, spec: Spec) -> Arc<Self> {
        let cell = Arc::new_cyclic(|me| Self {
            members: ArcSwap::from_pointee(Members {
                balancer: Balancer::new(&spec.policy, &spec.checks, &[]),
                list: Arc::default(),
                generation: 0,
                pending: true,
                upstream: spec.upstream,
            }),
            changed: Notify::new(),
            names: Arc::clone(names),
            state: Mutex::new(State {
                spec: Spec {
                    targets: Vec::new(),
                    ..spec.clone()
                },
                names: Vec::new(),
            }),
            me: me.clone(),
        });
        cell.update(spec);
        cell
    }

    /// Takes other targets, or another policy. Names that stay are not looked up anew.
    pub(crate) fn update(&self, spec: Spec) {
        let mut state = lock(&self.state);
        let watch = |(address, _): &(TargetAddress, u16)| match address.host.parse::<IpAddr>() {
            Ok(_) => None,
            Err(_) => Some(self.names.watch(&address.host, self.me.clone())),
        };
        // The old names are let go only afterwards, so that one that stays is found.
        let names = spec.targets.iter().map(watch).collect();
        *state = State { spec, names };
        self.build(&state);
    }

    /// A name has new addresses.
    pub(crate) fn rebuild(&self) {
        let state = lock(&self.state);
        self.build(&state);
    }

    /// Invariant: called with the lock held, so that members are never replaced by older ones.
    fn build(&self, state: &State) {
        let mut pending = false;
        let (mut targets, mut list) = (Vec::new(), Vec::new());
        let configured = state.spec.targets.iter().zip(&state.names);
        for (place, ((address, weight), name)) in configured.enumerate() {
            let found = match (name, address.host.parse()) {
                (None, Ok(ip)) => Found::Addresses(vec![ip]),
                (Some(name), _) => name.found(),
                (None, Err(_)) => Found::Nothing,
            };
            pending |= found == Found::Pending;
            let Found::Addresses(ips) = found else { continue };
            for ip in ips {
                let socket = SocketAddr::new(ip, address.port);
                let member = Member::new(address, socket, place, &state.spec);
                targets.push(Target::new(member.label.clone(), *weight));
                list.push(Arc::new(member));
            }
        }
        let before = self.members.load();
        let Spec { policy, checks, .. } = &state.spec;
        let (balancer, released) = before.balancer.rebuild(policy, checks, &targets, Instant::now());
        let list: Arc<[Arc<Member>]> = list.into();
        note(&state.spec, &list, &released);
        self.members.store(Arc::new(Members {
            balancer,
            list,
            generation: before.generation + 1,
            pending,
            upstream: state.spec.upstream,
        }));
        self.changed.notify_waiters();
    }

    /// Lets a change of a member's health take effect: the members stay as they are, with their indices.
    pub(crate) fn heed(&self, member: &Member, transition: &Transition) {
        let state = lock(&self.state);
        health::log(&state.spec.label, &member.label, transition);
        self.refresh();
    }

    /// Invariant: called with the lock held.
    fn refresh(&self) {
        let before = self.members.load();
        self.members.store(Arc::new(Members {
            balancer: before.balancer.refresh(),
            list: Arc::clone(&before.list),
            ..**before
        }));
    }

    /// How its targets are.
    pub(crate) fn health(&self) -> UpstreamHealth {
        let state = lock(&self.state);
        let (members, clock) = (self.members.load(), Clock::read());
        let target = |(place, (address, weight)): (usize, &(TargetAddress, u16))| {
            let addresses = members.of(place).filter_map(|(target, member)| {
                let condition = members.balancer.condition(target)?;
                Some(clock.shown(member.address, &condition))
            });
            TargetHealth {
                target: address.to_string().into(),
                host: address.host.clone(),
                port: address.port,
                weight: *weight,
                named: state.names.get(place).is_some_and(Option::is_some),
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
        let state = lock(&self.state);
        let members = self.members.load_full();
        let named = |(known, _): &(TargetAddress, u16)| known.to_string() == target;
        let Some(place) = state.spec.targets.iter().position(named) else {
            return false;
        };
        let (mut found, now) = (false, Instant::now());
        for (target, member) in members.of(place) {
            if address.is_none_or(|address| address == member.address) {
                let changed = members.balancer.set_health(target, healthy, now);
                note(&state.spec, &members.list, &changed);
                found = true;
            }
        }
        self.refresh();
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

impl Members {
    pub(crate) fn member(&self, target: TargetIdx) -> Option<&Arc<Member>> {
        self.list.get(target.index())
    }

    /// The members that are addresses of one configured target.
    fn of(&self, place: usize) -> impl Iterator<Item = (TargetIdx, &Arc<Member>)> {
        let members = (0..).map(TargetIdx).zip(&*self.list);
        members.filter(move |(_, member)| member.place == place)
    }

    /// Which of these targets have been tried, after the list has changed in between.
    pub(crate) fn tried(&self, tries: &[Try]) -> Tried {
        let mut tried = Tried::new();
        for (place, member) in (0..).zip(&*self.list) {
            if tries.iter().any(|attempt| attempt.target.label == member.label) {
                tried.insert(TargetIdx(place));
            }
        }
        tried
    }

    /// Why nothing could be picked.
    pub(crate) fn failure(&self) -> Failure {
        if self.upstream {
            Failure::NoPeer
        } else {
            Failure::NameResolution
        }
    }
}

impl Member {
    fn new(target: &TargetAddress, address: SocketAddr, place: usize, spec: &Spec) -> Self {
        let resolved = target.host.parse::<IpAddr>().is_err();
        let label = if resolved {
            format!("{target}@{}", address.ip())
        } else {
            target.to_string()
        };
        let host = match &spec.host_header {
            Some(host) if host.contains(':') => header_value(host.to_string()), // it names its port
            Some(host) => host_value(host, address.port()),
            None => host_value(&target.host, target.port),
        };
        Self {
            address,
            host,
            label: label.into(),
            place,
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

/// A `Host` header: the port is left out where it is the protocol's own.
fn host_value(host: &str, port: u16) -> HeaderValue {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let text = if port == 80 {
        host
    } else {
        format!("{host}:{port}")
    };
    header_value(text)
}

/// A host has been checked when it was parsed; what no header can hold would only be an IDN written raw.
fn header_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}
