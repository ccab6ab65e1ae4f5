//! The system's own resolver, for embedders who want what `getaddrinfo` says.

use std::net::IpAddr;
use std::time::Duration;

use super::{Answer, BoxFuture, ResolveError, Resolver};

/// The system's resolver (`getaddrinfo`), on the blocking threads of the runtime it is asked from. It knows no `SRV`
/// records.
#[derive(Clone, Debug)]
pub struct SystemResolver {
    /// The system tells no time to live: names are looked up again after this.
    pub ttl: Duration,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(5),
        }
    }
}

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name, 0)).await;
            let found = found.map_err(|source| ResolveError::Failed {
                name: name.into(),
                source,
            })?;
            let all: Vec<IpAddr> = found.map(|address| address.ip()).collect();
            let v4: Vec<IpAddr> = all.iter().copied().filter(IpAddr::is_ipv4).collect();
            let addresses = if v4.is_empty() { all } else { v4 };
            if addresses.is_empty() {
                return Err(ResolveError::NotFound { name: name.into() });
            }
            Ok(Answer::addresses(addresses, self.ttl))
        })
    }
}
