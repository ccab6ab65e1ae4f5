//! The sockets this process listens at: its own, or opened by another process and handed over.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use gw_proxy::{Address, BindError, ListenSocket};
use tracing::{info, warn};

use crate::error::StartError;

/// Who may connect to a unix socket that operators use.
pub(crate) const OWNER_ONLY: u32 = 0o600;

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Proxy,
    Admin,
    Status,
}

/// A socket as the flags want it.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) role: Role,
    /// As it is written.
    pub(crate) spec: String,
    pub(crate) address: Address,
    /// Who may connect to a path; none = as the process's mask has it.
    pub(crate) mode: Option<u32>,
    pub(crate) flag: &'static str,
}

/// A socket that another process has opened.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) socket: ListenSocket,
    /// What the one who hands it over calls it; role and spec, if that was this program.
    pub(crate) name: Box<str>,
    /// Whoever has made it removes its file.
    pub(crate) is_foreign: bool,
    pub(crate) from: Giver,
}

/// Who has opened a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Giver {
    /// The process that this one takes over from.
    Predecessor,
    /// systemd, or what speaks its protocol.
    ServiceManager,
}

/// A socket this process listens at.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) role: Role,
    pub(crate) spec: String,
    pub(crate) socket: ListenSocket,
    pub(crate) is_foreign: bool,
}

/// The file of a unix socket that goes with this.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Role {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Admin => "admin",
            Self::Status => "status",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Self::Proxy => "clients",
            Self::Admin => "the Admin API",
            Self::Status => "the Status API",
        }
    }
}

impl Wanted {
    /// What it is called when it is handed over.
    pub(crate) fn name(&self) -> String {
        name(self.role, &self.spec)
    }
}

impl Open {
    pub(crate) fn name(&self) -> String {
        name(self.role, &self.spec)
    }

    /// Another descriptor of the same socket.
    pub(crate) fn socket(&self) -> Result<ListenSocket, StartError> {
        self.socket.try_clone().map_err(|source| StartError::System {
            what: "another descriptor of a socket",
            source,
        })
    }

    /// Its file, if it is this process's to remove.
    pub(crate) fn file(&self) -> Option<SocketFile> {
        let Address::Unix(path) = self.socket.address().ok()? else {
            return None;
        };
        // Note: one that is made only to be dropped would remove the file.
        if self.is_foreign {
            return None;
        }
        let identity = identity(&path)?;
        let path = path.to_path_buf();
        Some(SocketFile { path, identity })
    }
}

fn name(role: Role, spec: &str) -> String {
    format!("{} {spec}", role.as_str())
}

/// Opens what is wanted, in order: what has been inherited is taken, the rest bound.
pub(crate) fn open(wanted: Vec<Wanted>, inherited: Vec<Inherited>) -> Result<Vec<Open>, StartError> {
    let mut offered: Vec<Option<Inherited>> = inherited.into_iter().map(Some).collect();
    let mut taken: Vec<Option<Inherited>> = wanted.iter().map(|_| None).collect();
    // The surest first: one that is meant for an address must not go to another for its name alone.
    for fits in [by_name_of_ours, by_address, by_role] {
        for (wanted, taken) in wanted.iter().zip(&mut taken) {
            if taken.is_none() {
                let fitting = offered
                    .iter_mut()
                    .find(|offer| offer.as_ref().is_some_and(|offer| fits(wanted, offer)));
                *taken = fitting.and_then(Option::take);
            }
        }
    }
    for left in offered.into_iter().flatten() {
        let name = left.name;
        match left.from {
            // A newer release may want fewer.
            Giver::Predecessor => warn!(
                name = &*name,
                "a socket of the process before is not wanted any more"
            ),
            Giver::ServiceManager => {
                return Err(StartError::Unclaimed {
                    name,
                    address: left.socket.address().map(|at| at.to_string()).unwrap_or_default(),
                });
            }
        }
    }
    let opened = wanted.into_iter().zip(taken).map(|(wanted, taken)| match taken {
        Some(taken) => Ok(take(wanted, taken)),
        None => bind(wanted),
    });
    opened.collect()
}

fn by_name_of_ours(wanted: &Wanted, offer: &Inherited) -> bool {
    offer.from == Giver::Predecessor && *offer.name == wanted.name()
}

fn by_address(wanted: &Wanted, offer: &Inherited) -> bool {
    let Ok(address) = offer.socket.address() else {
        return false;
    };
    if offer.from != Giver::ServiceManager {
        return false;
    }
    match (&address, &wanted.address) {
        // systemd listens on `[::]`, for both families, where only a port is said.
        (Address::Ip(is), Address::Ip(wanted)) => {
            let all = is.ip().is_unspecified() && wanted.ip().is_unspecified();
            is.port() == wanted.port() && (all || is.ip() == wanted.ip())
        }
        (is, wanted) => is == wanted,
    }
}

fn by_role(wanted: &Wanted, offer: &Inherited) -> bool {
    offer.from == Giver::ServiceManager && *offer.name == *wanted.role.as_str()
}

fn take(wanted: Wanted, taken: Inherited) -> Open {
    let address = taken
        .socket
        .address()
        .map(|at| at.to_string())
        .unwrap_or_default();
    info!(
        role = wanted.role.as_str(),
        address, "listening at a socket that was handed over"
    );
    Open {
        role: wanted.role,
        spec: wanted.spec,
        socket: taken.socket,
        is_foreign: taken.is_foreign,
    }
}

fn bind(wanted: Wanted) -> Result<Open, StartError> {
    let bound = match &wanted.address {
        Address::Ip(address) => TcpListener::bind(address)
            .map(ListenSocket::from)
            .map_err(BindError::from),
        Address::Unix(path) => ListenSocket::bind_unix(path, wanted.mode),
    };
    let socket = bound.map_err(|source| StartError::Listen {
        address: wanted.address.to_string(),
        what: wanted.role.what(),
        flag: wanted.flag,
        source,
    })?;
    Ok(Open {
        role: wanted.role,
        spec: wanted.spec,
        socket,
        is_foreign: false,
    })
}

/// The sockets that systemd has opened for this process (`LISTEN_FDS`).
///
/// Called before any thread is started: it changes the environment.
pub(crate) fn activated() -> io::Result<Vec<Inherited>> {
    // Without it, or with another's, they are not for this process.
    let pid = std::env::var("LISTEN_PID").ok();
    if pid.and_then(|pid| pid.parse().ok()) != Some(std::process::id()) {
        return Ok(Vec::new());
    }
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut descriptors = listenfd::ListenFd::from_env();
    let mut inherited = Vec::new();
    for index in 0..descriptors.len() {
        let socket = match descriptors.take_tcp_listener(index) {
            Ok(socket) => socket.map(ListenSocket::from),
            Err(_) => descriptors.take_unix_listener(index)?.map(ListenSocket::from),
        };
        let name = names.next().unwrap_or_default();
        if let Some(socket) = socket {
            inherited.push(Inherited {
                socket,
                name: name.into(),
                is_foreign: true,
                from: Giver::ServiceManager,
            });
        }
    }
    Ok(inherited)
}

impl SocketFile {
    /// Leaves the file to another process.
    pub(crate) fn leave(mut self) {
        self.identity = (0, 0);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) != Some(self.identity) {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "a socket's file is left behind");
        }
    }
}

/// Device and inode.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(role: Role, address: &str) -> Wanted {
        let address = match address.strip_prefix("unix:") {
            Some(path) => Address::from(Path::new(path)),
            None => Address::Ip(address.parse().unwrap()),
        };
        Wanted {
            role,
            spec: address.to_string(),
            address,
            mode: (role != Role::Proxy).then_some(OWNER_ONLY),
            flag: "--flag",
        }
    }

    fn offer(from: Giver, name: &str, address: &str) -> Inherited {
        Inherited {
            socket: TcpListener::bind(address).unwrap().into(),
            name: name.into(),
            is_foreign: from == Giver::ServiceManager,
            from,
        }
    }

    fn at(socket: &ListenSocket) -> String {
        socket.address().unwrap().to_string()
    }

    #[test]
    fn a_socket_goes_to_its_address_and_then_to_its_name() {
        let proxy = offer(Giver::ServiceManager, "", "127.0.0.1:0");
        let admin = offer(Giver::ServiceManager, "admin", "127.0.0.1:0");
        let addresses = [at(&proxy.socket), at(&admin.socket)];
        let opened = open(
            vec![
                wanted(Role::Admin, "127.0.0.1:8001"),
                wanted(Role::Proxy, &addresses[0]),
                wanted(Role::Proxy, "127.0.0.1:0"),
            ],
            vec![proxy, admin],
        );
        let opened = opened.unwrap();
        assert_eq!(at(&opened[0].socket), addresses[1]);
        assert_eq!(at(&opened[1].socket), addresses[0]);
        assert!(opened[0].is_foreign && opened[1].is_foreign && !opened[2].is_foreign);
    }

    #[test]
    fn a_wildcard_of_both_families_is_one_of_either() {
        let all = offer(Giver::ServiceManager, "gw.socket", "[::]:0");
        let port = all.socket.address().unwrap().ip().unwrap().port();
        let opened = open(vec![wanted(Role::Proxy, &format!("0.0.0.0:{port}"))], vec![all]);
        assert!(opened.unwrap()[0].is_foreign);
    }

    #[test]
    fn nobody_s_socket_is_an_error_if_a_service_manager_has_opened_it() {
        let refused = open(
            Vec::new(),
            vec![offer(Giver::ServiceManager, "extra", "127.0.0.1:0")],
        );
        let error = refused.unwrap_err().to_string();
        assert!(
            error.contains("extra") && error.contains("FileDescriptorName"),
            "{error}"
        );
        let kept = open(
            Vec::new(),
            vec![offer(Giver::Predecessor, "proxy x", "127.0.0.1:0")],
        );
        assert!(kept.unwrap().is_empty());
    }

    #[test]
    fn what_a_predecessor_hands_over_is_known_by_what_was_asked_for() {
        let was = offer(Giver::Predecessor, "proxy 127.0.0.1:0", "127.0.0.1:0");
        let address = at(&was.socket);
        let opened = open(vec![wanted(Role::Proxy, "127.0.0.1:0")], vec![was]).unwrap();
        assert_eq!(at(&opened[0].socket), address);
    }

    #[test]
    fn a_file_goes_unless_it_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let wanted = || wanted(Role::Admin, &format!("unix:{}", path.display()));
        let opened = open(vec![wanted()], Vec::new()).unwrap().remove(0);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, OWNER_ONLY);
        opened.file().unwrap().leave();
        assert!(path.exists());
        drop(opened.file());
        assert!(!path.exists());
    }
}
