//! Where plugins connect to: names are looked up by the gateway's resolver, and what it says is kept for its time.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::runtime::Handle;

use crate::dns::{Records, Resolver};
use crate::lock;

/// The names that plugins have called, and what they stand for.
pub(crate) struct Hosts {
    control: Handle,
    resolver: Arc<dyn Resolver>,
    known: Mutex<HashMap<Box<str>, Known>>,
}

#[derive(Clone)]
struct Known {
    /// Addresses, with a port where a record gives one.
    places: Arc<[(IpAddr, u16)]>,
    until: Instant,
}

/// Bound: names that are remembered.
const MOST: usize = 1024;
/// Bound: how often a name is looked up at most.
const SHORTEST: Duration = Duration::from_secs(1);
/// How long the last answer is used when there is no new one, until it is tried again.
const STALE: Duration = Duration::from_secs(5);

impl Hosts {
    pub(crate) fn new(control: Handle, resolver: Arc<dyn Resolver>) -> Self {
        Self {
            control,
            resolver,
            known: Mutex::default(),
        }
    }

    /// The addresses of a name, or of an address; not none.
    pub(crate) async fn find(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let places = self.places(bare).await?;
        let own =
            |&(address, own): &(IpAddr, u16)| SocketAddr::new(address, if own == 0 { port } else { own });
        Ok(places.iter().map(own).collect())
    }

    /// A connection to one of its addresses: to any, and where that fails to the next.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut addresses = self.find(host, port).await?;
        let first = fastrand::usize(..addresses.len().max(1));
        addresses.rotate_left(first);
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // A socket without the option only answers later.
                    stream.set_nodelay(true).ok();
                    return Ok(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn places(&self, name: &str) -> io::Result<Arc<[(IpAddr, u16)]>> {
        let before = lock(&self.known).get(name).cloned();
        if let Some(known) = before.as_ref().filter(|known| Instant::now() < known.until) {
            return Ok(Arc::clone(&known.places));
        }
        // On its own runtime: a resolver may keep connections to name servers.
        let (resolver, owned) = (Arc::clone(&self.resolver), name.to_owned());
        let looking = self.control.spawn(async move { resolver.resolve(&owned).await });
        let (places, ttl) = match (looking.await.map_err(io::Error::other)?, before) {
            (Ok(answer), _) if !answer.records.is_empty() => {
                (places(&answer.records), answer.ttl.max(SHORTEST))
            }
            (_, Some(before)) => (before.places, STALE),
            (Ok(_), None) => return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            (Err(error), None) => return Err(io::Error::other(error)),
        };
        let now = Instant::now();
        let mut known = lock(&self.known);
        if known.len() >= MOST {
            known.retain(|_, known| now < known.until);
        }
        if known.len() >= MOST {
            known.clear();
        }
        let until = now.checked_add(ttl).unwrap_or(now);
        let remembered = Known {
            places: Arc::clone(&places),
            until,
        };
        known.insert(name.into(), remembered);
        Ok(places)
    }
}

fn places(records: &Records) -> Arc<[(IpAddr, u16)]> {
    match records {
        Records::Addresses(list) => list.iter().map(|address| (*address, 0)).collect(),
        Records::Services(list) => {
            let best = list.iter().map(|service| service.priority).min();
            let best = list.iter().filter(|service| Some(service.priority) == best);
            best.map(|service| (service.address, service.port)).collect()
        }
    }
}
