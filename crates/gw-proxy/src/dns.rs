//! Names to addresses, off the request path: what a resolver is, and what it says.

mod conf;
mod files;
mod hosts;
mod known;
mod lookup;
mod names;
mod resolver;
mod server;
mod system;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

pub(crate) use known::Found;
pub use names::KnownName;
pub(crate) use names::{Name, Names};
pub use resolver::{DnsOptions, DnsResolver, RecordType};
pub use system::SystemResolver;

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Finds what a name stands for.
pub trait Resolver: fmt::Debug + Send + Sync + 'static {
    /// What `name` stands for, and how long that holds.
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>>;

    /// A number that changes when what it goes by has changed, a file for instance: then all names are looked up
    /// again. It is asked once a second.
    fn version(&self) -> u64 {
        0
    }
}

/// What a [`Resolver`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the name stands for.
    pub records: Records,
    /// After this the name is looked up again.
    pub ttl: Duration,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// Addresses: IPv4, or IPv6 where there is no IPv4. Each has the port and the full weight of the target that names
    /// them.
    Addresses(Vec<IpAddr>),
    /// Services (`SRV` records): addresses with ports and weights of their own.
    Services(Vec<Service>),
}

/// One address of an `SRV` record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Those with the lowest number get the requests, the others take over when too many of these are out.
    pub priority: u16,
    /// Where it is.
    pub address: IpAddr,
    /// Its port; 0 is the port of the target.
    pub port: u16,
    /// Its share of the requests; 0 counts as 1.
    pub weight: u16,
    /// The name that the record gives for the address.
    pub host: Box<str>,
}

/// Why nothing was found for a name.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The name has no address.
    #[error("the name `{name}` has no address; check its spelling and its records")]
    NotFound {
        /// The name.
        name: Box<str>,
    },
    /// The look-up itself failed.
    #[error("the name `{name}` could not be looked up; check the name servers")]
    Failed {
        /// The name.
        name: Box<str>,
        /// What happened.
        source: io::Error,
    },
}

impl Answer {
    /// These addresses, for as long.
    #[must_use]
    pub fn addresses(addresses: Vec<IpAddr>, ttl: Duration) -> Self {
        Self {
            records: Records::Addresses(addresses),
            ttl,
        }
    }
}

impl Records {
    /// The type of record they come from: `A`, `AAAA` or `SRV`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Services(_) => "SRV",
            Self::Addresses(list) if list.iter().any(IpAddr::is_ipv6) => "AAAA",
            Self::Addresses(_) => "A",
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Addresses(list) => list.is_empty(),
            Self::Services(list) => list.is_empty(),
        }
    }

    /// The same in order and without repetition, so that servers that turn their answers round change nothing.
    pub(crate) fn in_order(self) -> Self {
        match self {
            Self::Addresses(mut list) => {
                list.sort_unstable();
                list.dedup();
                Self::Addresses(list)
            }
            Self::Services(mut list) => {
                let place = |one: &Service| (one.address, one.port);
                list.sort_by(|a, b| {
                    (place(a), a.priority, a.weight, &a.host).cmp(&(place(b), b.priority, b.weight, &b.host))
                });
                // Of records about one place those of the lowest number count, together.
                list.dedup_by(|next, kept| {
                    let same = place(next) == place(kept);
                    if same && next.priority == kept.priority {
                        kept.weight = kept.weight.max(1).saturating_add(next.weight.max(1));
                    }
                    same
                });
                list.sort_by_key(|one| (one.priority, place(one)));
                Self::Services(list)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(priority: u16, address: &str, port: u16, weight: u16) -> Service {
        Service {
            priority,
            address: address.parse().unwrap(),
            port,
            weight,
            host: "h".into(),
        }
    }

    #[test]
    fn an_answer_that_was_turned_round_is_the_same() {
        let parse = |list: &[&str]| Records::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect());
        let ordered = parse(&["10.0.0.1", "10.0.0.2"]);
        for turned in [
            &["10.0.0.2", "10.0.0.1"][..],
            &["10.0.0.1", "10.0.0.2", "10.0.0.1"],
        ] {
            assert_eq!(parse(turned).in_order(), ordered);
        }
        let (one, two) = (service(1, "10.0.0.9", 80, 5), service(2, "10.0.0.1", 80, 5));
        let ordered = Records::Services(vec![one.clone(), two.clone()]);
        assert_eq!(Records::Services(vec![two, one]).in_order(), ordered);
    }

    #[test]
    fn records_about_one_place_are_one() {
        let records = Records::Services(vec![
            service(1, "10.0.0.1", 80, 0),
            service(1, "10.0.0.1", 81, 7),
            service(2, "10.0.0.1", 80, 100),
            service(1, "10.0.0.1", 80, 3),
            service(1, "10.0.0.2", 80, u16::MAX),
            service(1, "10.0.0.2", 80, 9),
        ]);
        let expected = vec![
            service(1, "10.0.0.1", 80, 4),
            service(1, "10.0.0.1", 81, 7),
            service(1, "10.0.0.2", 80, u16::MAX),
        ];
        assert_eq!(records.in_order(), Records::Services(expected));
    }

    #[test]
    fn records_are_called_by_their_type() {
        let parse = |ip: &str| Records::Addresses(vec![ip.parse().unwrap()]);
        assert_eq!(parse("10.0.0.1").kind(), "A");
        assert_eq!(parse("::1").kind(), "AAAA");
        assert_eq!(Records::Services(vec![service(1, "::1", 80, 1)]).kind(), "SRV");
    }
}
