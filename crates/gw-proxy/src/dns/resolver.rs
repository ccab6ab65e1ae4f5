//! The gateway's own resolver: hosts file, search domains, name servers, by the files the system goes by.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use std::{fmt, io};

use hickory_resolver::proto::rr::{Name, RecordType as Type};

use super::files::{Contents, Files};
use super::lookup::lookup;
use super::server::Unanswered;
use super::{Answer, BoxFuture, ResolveError, Resolver};
use crate::lock;

/// Asks name servers, by `hickory-resolver`; knows the hosts file, and follows both files when they change.
///
/// Nothing is cached: whoever asks is told what a server says now, with the time to live it says.
pub struct DnsResolver {
    files: Mutex<Files>,
    order: Vec<Type>,
}

/// What a [`DnsResolver`] goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsOptions {
    /// Name servers, in the order they are asked; if there are none, those of `resolv_conf`.
    pub servers: Vec<SocketAddr>,
    /// The types of record a name is looked up by, the first that it has counts. A name like `_http._tcp.example.com`
    /// is looked up as [`Srv`](RecordType::Srv) before that.
    pub order: Vec<RecordType>,
    /// Names that no server is asked about.
    pub hosts_file: Option<PathBuf>,
    /// Name servers, search domains and options, as the system has them.
    pub resolv_conf: PathBuf,
}

/// A type of record that names are looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordType {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services: names with ports, weights and priorities.
    Srv,
}

/// How long what needs no server holds: when it changes, names are looked up again.
const LASTING: Duration = Duration::from_secs(300);

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            order: vec![RecordType::A, RecordType::Aaaa, RecordType::Srv],
            hosts_file: Some(PathBuf::from("/etc/hosts")),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

impl DnsResolver {
    /// A resolver that goes by these.
    ///
    /// # Errors
    /// The name servers cannot be set up.
    pub fn new(options: DnsOptions) -> io::Result<Self> {
        let DnsOptions {
            servers,
            order,
            hosts_file,
            resolv_conf,
        } = options;
        Ok(Self {
            files: Mutex::new(Files::open(hosts_file, resolv_conf, servers)?),
            order: order.into_iter().map(Type::from).collect(),
        })
    }

    fn contents(&self) -> (Contents, u64) {
        lock(&self.files).contents()
    }

    fn order(&self, name: &str) -> Vec<Type> {
        let mut order = self.order.clone();
        if is_service(name) {
            order.retain(|&kind| kind != Type::SRV);
            order.insert(0, Type::SRV);
        }
        order
    }

    async fn find(&self, name: &str) -> Result<Answer, ResolveError> {
        let (Contents { hosts, conf, servers }, _) = self.contents();
        if let Some(addresses) = hosts.find(name) {
            return Ok(Answer::addresses(addresses, LASTING));
        }
        if is_local(name) {
            // No server is told of it, and none may say otherwise.
            return Ok(Answer::addresses(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], LASTING));
        }
        let order = self.order(name);
        let failed = |source| ResolveError::Failed {
            name: name.into(),
            source,
        };
        let mut refused = None;
        for candidate in conf.candidates(name) {
            let Ok(full) = Name::from_ascii(&candidate) else {
                continue; // too long with this domain
            };
            match lookup(&servers, &full, &order).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                // As the system does: the servers of one domain must not take the names of others with them.
                Err(Unanswered::Refused(error)) => refused = refused.or(Some(error)),
                Err(Unanswered::Silent(error)) => return Err(failed(error)),
            }
        }
        match refused {
            // None of the others may stand in for a name of which nobody knows whether it exists.
            Some(error) => Err(failed(error)),
            None => Err(ResolveError::NotFound { name: name.into() }),
        }
    }
}

impl Resolver for DnsResolver {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        Box::pin(self.find(name))
    }

    fn version(&self) -> u64 {
        self.contents().1
    }
}

impl fmt::Debug for DnsResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsResolver")
            .field("servers", &self.contents().0.servers)
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

impl From<RecordType> for Type {
    fn from(kind: RecordType) -> Self {
        match kind {
            RecordType::A => Self::A,
            RecordType::Aaaa => Self::AAAA,
            RecordType::Srv => Self::SRV,
        }
    }
}

/// Whether a name asks for a service: `_http._tcp.example.com`, or `_web._tag.service.consul`.
fn is_service(name: &str) -> bool {
    name.split('.')
        .take(2)
        .filter(|label| label.starts_with('_'))
        .count()
        == 2
}

/// Whether a name is this machine's, as RFC 6761 has it.
fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_ask_for_a_service_say_so() {
        for (name, expected) in [
            ("_http._tcp.app.test", true),
            ("_web._canary.service.consul", true),
            ("_http.app.test", false),
            ("http._tcp.app.test", false),
            ("app.test", false),
            ("", false),
        ] {
            assert_eq!(is_service(name), expected, "{name}");
        }
    }

    #[test]
    fn this_machine_has_a_name_of_its_own() {
        for (name, expected) in [
            ("localhost", true),
            ("LocalHost.", true),
            ("app.localhost", true),
            ("notlocalhost", false),
            ("localhost.test", false),
        ] {
            assert_eq!(is_local(name), expected, "{name}");
        }
    }
}
