//! What an operator reads after the start: where things are, and what to type next.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use gw_proxy::Address;

use crate::control::Place;
use crate::listen::Listen;

/// Where things are.
#[derive(Debug)]
pub(crate) struct Banner {
    pub(crate) proxies: Vec<(Listen, Address)>,
    pub(crate) admins: Vec<ShownAdmin>,
    pub(crate) statuses: Vec<Address>,
    pub(crate) place: Place,
    pub(crate) revision: u64,
    pub(crate) workers: usize,
    pub(crate) samples: Vec<SocketAddr>,
    pub(crate) has_routes: bool,
    /// The process that this one has taken over from.
    pub(crate) predecessor: Option<u32>,
}

/// An address of the Admin API.
#[derive(Debug)]
pub(crate) struct ShownAdmin {
    pub(crate) address: Address,
    pub(crate) tls: bool,
    /// It asks nobody who they are, and other machines reach it.
    pub(crate) is_open: bool,
}

impl ShownAdmin {
    /// What calls of it begin with.
    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.address {
            Address::Ip(address) => format!("{scheme}://{address}"),
            path @ Address::Unix(_) => path.to_string(),
        }
    }

    /// How curl calls it.
    fn curl(&self) -> String {
        match &self.address {
            Address::Ip(address) => {
                let scheme = if self.tls { "https" } else { "http" };
                format!("{scheme}://{}", reachable(*address))
            }
            Address::Unix(path) => format!("--unix-socket {} http://localhost", path.display()),
        }
    }
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = env!("CARGO_PKG_VERSION");
        match self.predecessor {
            None => writeln!(f, "gw-server {version} is ready")?,
            Some(before) => {
                let pid = std::process::id();
                writeln!(
                    f,
                    "gw-server {version} is ready: process {pid} has taken over from process {before}"
                )?;
            }
        }
        for (listen, proxy) in &self.proxies {
            let (scheme, workers) = (listen.scheme(), self.workers);
            match proxy {
                Address::Ip(proxy) => {
                    writeln!(f, "  proxy listening on {scheme}://{proxy}  ({workers} workers)")?;
                }
                Address::Unix(_) => {
                    writeln!(
                        f,
                        "  proxy listening on {proxy} for {scheme}  ({workers} workers)"
                    )?;
                }
            }
        }
        for admin in &self.admins {
            writeln!(f, "  admin listening on {}", admin.url())?;
        }
        for status in &self.statuses {
            writeln!(f, "  status listening on {status}")?;
        }
        match &self.place {
            Place::Store(kept) if kept.url.is_some() => {
                writeln!(f, "  store {kept} at revision {}", self.revision)?;
            }
            Place::Store(kept) => {
                let shown = std::path::absolute(&kept.data_dir).unwrap_or_else(|_| kept.data_dir.clone());
                writeln!(f, "  store in {} at revision {}", shown.display(), self.revision)?;
            }
            Place::File { path: Some(path), .. } => {
                let shown = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                writeln!(
                    f,
                    "  configuration of {}, followed when it changes",
                    shown.display()
                )?;
            }
            Place::File { path: None, .. } => {
                writeln!(f, "  no configuration yet: POST one to /config of the Admin API")?;
            }
        }
        for sample in &self.samples {
            writeln!(f, "  sample service on http://{sample}")?;
        }
        for open in self.admins.iter().filter(|admin| admin.is_open) {
            writeln!(
                f,
                "  warning: the Admin API at {} is reachable from other machines and asks nobody who they are",
                open.address
            )?;
        }
        match self.admins.first() {
            Some(admin) if self.predecessor.is_none() => self.next_steps(f, &admin.curl()),
            _ => Ok(()),
        }
    }
}

impl Banner {
    /// What to type next.
    fn next_steps(&self, f: &mut fmt::Formatter<'_>, admin: &str) -> fmt::Result {
        writeln!(f, "Next, in another terminal:")?;
        if self.has_routes || !matches!(self.place, Place::Store(_)) {
            return writeln!(f, "  curl {admin}/routes");
        }
        let upstream = self
            .samples
            .first()
            .map_or_else(|| "localhost:9001".to_owned(), ToString::to_string);
        writeln!(
            f,
            "  curl -X POST {admin}/services --data name=hello --data url=http://{upstream}"
        )?;
        writeln!(
            f,
            "  curl -X POST {admin}/services/hello/routes --data 'paths[]=/'"
        )?;
        let plain = self.proxies.iter().filter(|(listen, _)| !listen.tls);
        match plain.filter_map(|(_, proxy)| proxy.ip()).next() {
            Some(proxy) => writeln!(f, "  curl http://{}/", reachable(proxy)),
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
