//! What an operator reads after the start: where things are, and what to type next.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::listen::Listen;

/// Where things are.
#[derive(Debug)]
pub(crate) struct Banner {
    pub(crate) proxies: Vec<(Listen, SocketAddr)>,
    pub(crate) admin: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) revision: u64,
    pub(crate) workers: usize,
    pub(crate) samples: Vec<SocketAddr>,
    pub(crate) has_routes: bool,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gw-server {} is ready", env!("CARGO_PKG_VERSION"))?;
        for (listen, proxy) in &self.proxies {
            let (scheme, workers) = (listen.scheme(), self.workers);
            writeln!(f, "  proxy listening on {scheme}://{proxy}  ({workers} workers)")?;
        }
        writeln!(f, "  admin listening on http://{}", self.admin)?;
        writeln!(
            f,
            "  store in {} at revision {}",
            self.data_dir.display(),
            self.revision
        )?;
        for sample in &self.samples {
            writeln!(f, "  sample service on http://{sample}")?;
        }
        if !self.admin.ip().is_loopback() {
            writeln!(
                f,
                "  warning: the Admin API is reachable from other machines and asks nobody who they are"
            )?;
        }
        writeln!(f, "Next, in another terminal:")?;
        if self.has_routes {
            return writeln!(f, "  curl http://{}/routes", self.admin);
        }
        let upstream = self
            .samples
            .first()
            .map_or_else(|| "localhost:9001".to_owned(), ToString::to_string);
        writeln!(
            f,
            "  curl -X POST http://{}/services --data name=hello --data url=http://{upstream}",
            self.admin
        )?;
        writeln!(
            f,
            "  curl -X POST http://{}/services/hello/routes --data 'paths[]=/'",
            self.admin
        )?;
        match self.proxies.iter().find(|(listen, _)| !listen.tls) {
            Some((_, proxy)) => writeln!(f, "  curl http://{}/", reachable(*proxy)),
            None => Ok(()),
        }
    }
}

/// An address a local client can connect to, where the listening one is a wildcard.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
