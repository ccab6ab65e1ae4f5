//! A cell's targets at one moment: one member for each address of each of their names.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use gw_balancer::{Balancer, Budget, Target, TargetIdx, Tried};
use gw_core::TargetAddress;
use http::HeaderValue;

use super::{Place, Spec};
use crate::address::Address;
use crate::addresses::Tenure;
use crate::attempt::Try;
use crate::dns::{Found, Name, Records};
use crate::failure::Failure;

/// A cell's targets at one moment: one member per address.
#[derive(Debug)]
pub(crate) struct Members {
    pub(crate) balancer: Balancer,
    /// What all requests to them may be repeated by.
    pub(crate) budget: Arc<Budget>,
    /// By [`TargetIdx`] of the balancer.
    pub(super) list: Arc<[Arc<Member>]>,
    /// Counts up with each change: indices are only good for one generation.
    pub(crate) generation: u64,
    /// Whether a name has never been answered, so that waiting may help.
    pub(crate) pending: bool,
    pub(super) upstream: bool,
}

/// One address requests can go to.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) address: Address,
    /// How long connections to it are good.
    pub(crate) tenure: Tenure,
    /// `Host` for requests to it.
    hosts: Hosts,
    /// What the access log calls it.
    pub(crate) label: Box<str>,
    /// Which of the configured targets it is an address of.
    pub(crate) place: usize,
}

/// A member without its tenure, and its target in the balancer.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) address: Address,
    pub(super) target: Target,
    hosts: Hosts,
    place: usize,
}

/// A host as it stands in `Host`, where the port is left out if it is the protocol's own.
#[derive(Clone, Debug)]
struct Hosts {
    plain: HeaderValue,
    secure: HeaderValue,
}

impl Members {
    pub(crate) fn member(&self, target: TargetIdx) -> Option<&Arc<Member>> {
        self.list.get(target.index())
    }

    /// All members, with their indices.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TargetIdx, &Arc<Member>)> {
        (0..).map(TargetIdx).zip(&*self.list)
    }

    /// The members that are addresses of one configured target.
    pub(super) fn of(&self, place: usize) -> impl Iterator<Item = (TargetIdx, &Arc<Member>)> {
        self.iter().filter(move |(_, member)| member.place == place)
    }

    /// Which of these targets have been tried, after the list has changed in between.
    pub(crate) fn tried(&self, tries: &[Try]) -> Tried {
        let mut tried = Tried::new();
        for (place, member) in self.iter() {
            if tries.iter().any(|attempt| attempt.target.label == member.label) {
                tried.insert(place);
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
    #[cfg(test)]
    pub(crate) fn plain(address: SocketAddr, label: &str) -> Self {
        Self {
            address: address.into(),
            tenure: Tenure::default(),
            hosts: hosts("h", address.port()),
            label: label.into(),
            place: 0,
        }
    }

    /// `Host` for requests to it, with TLS or without.
    pub(crate) fn host(&self, secure: bool) -> &HeaderValue {
        if secure {
            &self.hosts.secure
        } else {
            &self.hosts.plain
        }
    }
}

impl Draft {
    pub(super) fn member(self, tenure: Tenure) -> Member {
        Member {
            address: self.address,
            tenure,
            hosts: self.hosts,
            label: self.target.name,
            place: self.place,
        }
    }
}

/// One draft for each address of each target, and whether a name has never been answered.
pub(super) fn drafts(spec: &Spec, names: &[Option<Arc<Name>>]) -> (Vec<Draft>, bool) {
    let (mut drafts, mut pending) = (Vec::new(), false);
    for (index, (place, name)) in spec.targets.iter().zip(names).enumerate() {
        let address = &place.address;
        if let Some(path) = address.socket() {
            drafts.push(local(spec, index, place, path));
            continue;
        }
        let found = match (name, address.host.parse::<IpAddr>()) {
            (Some(name), _) => name.found(),
            (None, Ok(ip)) => {
                let socket = SocketAddr::new(ip, address.port);
                let label = address.to_string();
                drafts.push(draft(spec, index, place, socket, label, place.weight));
                continue;
            }
            (None, Err(_)) => Found::Nothing,
        };
        match found {
            Found::Pending => pending = true,
            Found::Nothing => {}
            Found::Records(Records::Addresses(ips)) => drafts.extend(ips.into_iter().map(|ip| {
                let socket = SocketAddr::new(ip, address.port);
                draft(
                    spec,
                    index,
                    place,
                    socket,
                    format!("{address}@{ip}"),
                    place.weight,
                )
            })),
            Found::Records(Records::Services(services)) => {
                let (mut rank, mut last) = (0, services.first().map(|first| first.priority));
                for service in services {
                    // The lowest number is on a par with the other targets, whatever it is.
                    rank += u32::from(last.replace(service.priority) != Some(service.priority));
                    let port = if service.port == 0 {
                        address.port
                    } else {
                        service.port
                    };
                    let weight = if place.weight == 0 {
                        0
                    } else {
                        service.weight.max(1)
                    };
                    let socket = SocketAddr::new(service.address, port);
                    let mut draft = draft(spec, index, place, socket, format!("{address}@{socket}"), weight);
                    draft.target.priority = draft.target.priority.saturating_add(rank);
                    if spec.srv_names && spec.host_header.is_none() {
                        draft.hosts = hosts(&service.host, port);
                    }
                    drafts.push(draft);
                }
            }
        }
    }
    (drafts, pending)
}

fn draft(spec: &Spec, index: usize, place: &Place, socket: SocketAddr, label: String, weight: u16) -> Draft {
    let TargetAddress { host, .. } = &place.address;
    Draft {
        address: socket.into(),
        target: Target::new(label, weight).priority(place.priority),
        hosts: match &spec.host_header {
            Some(host) if host.contains(':') => fixed(host), // it names its port
            Some(host) => hosts(host, socket.port()),
            None => hosts(host, socket.port()),
        },
        place: index,
    }
}

/// A target on this machine. What it is called by in `Host` is nginx's name for those.
fn local(spec: &Spec, index: usize, place: &Place, path: &Path) -> Draft {
    let label = place.address.to_string();
    Draft {
        address: path.into(),
        target: Target::new(label, place.weight).priority(place.priority),
        hosts: fixed(spec.host_header.as_deref().unwrap_or("localhost")),
        place: index,
    }
}

/// A host whose port is not looked at.
fn fixed(host: &str) -> Hosts {
    let host = header_value(host.to_owned());
    Hosts {
        plain: host.clone(),
        secure: host,
    }
}

fn hosts(host: &str, port: u16) -> Hosts {
    Hosts {
        plain: host_value(host, port, 80),
        secure: host_value(host, port, 443),
    }
}

fn host_value(host: &str, port: u16, own: u16) -> HeaderValue {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let text = if port == own {
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
