//! Who may call the Admin API, from the flags; and that nobody opens it to others without saying so.

use std::io;
use std::path::{Path, PathBuf};

use gw_admin::{Guard, Listener, Tls, TlsError};
use gw_proxy::{Address, ListenSocket};

use crate::args::admin::{AdminArgs, Secret};

/// Who may call the Admin API.
#[derive(Debug)]
pub(crate) struct Access {
    token: Option<Secret>,
    tls: Option<Tls>,
    hosts: Vec<Box<str>>,
    origins: Vec<Box<str>>,
    insecure: bool,
}

/// Why the Admin API cannot be protected as it is asked, or is not asked to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// Whoever reaches the address would control the gateway.
    #[error(
        "the Admin API would listen at {address}, where other machines reach it, and asks nobody who they are. Do one of these:\n  \
         - protect it by a token: GW_ADMIN_TOKEN=… or --admin-token-file FILE; clients then send `Kong-Admin-Token: …` or \
         `Authorization: Bearer …`\n  \
         - protect it by certificates: --admin-listen '{address} ssl' --admin-tls-cert FILE --admin-tls-key FILE --admin-client-ca FILE\n  \
         - keep it on this machine: --admin-listen 127.0.0.1:8001 or --admin-listen unix:/run/gw-admin.sock\n  \
         - where only operators reach it, say in a container whose port 8001 is published on loopback: --admin-insecure or \
         GW_ADMIN_INSECURE=true; with GW_ADMIN_HOST=localhost no web page gets at it there\n\
         (--admin-listen {address})"
    )]
    Open {
        /// The address.
        address: String,
    },
    /// A file that a flag names cannot be read.
    #[error("{flag} {}", path.display())]
    File {
        /// The flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file of the token has none.
    #[error("--admin-token-file {}: {why}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Certificates or keys cannot be used.
    #[error("--admin-tls-cert, --admin-tls-key, --admin-client-ca")]
    Tls(#[source] TlsError),
    /// TLS without a certificate.
    #[error(
        "--admin-listen {address} ssl: a certificate is needed; add --admin-tls-cert FILE --admin-tls-key FILE"
    )]
    NoCertificate {
        /// The address.
        address: String,
    },
}

impl Access {
    /// Reads what the flags name.
    pub(crate) fn new(args: &AdminArgs) -> Result<Self, AccessError> {
        let token = token(args)?;
        let tls = match (&args.admin_tls_cert, &args.admin_tls_key) {
            (Some(certificate), Some(key)) => {
                let certificate = read("--admin-tls-cert", certificate)?;
                let key = read("--admin-tls-key", key)?;
                let clients = args.admin_client_ca.as_ref();
                let clients = clients.map(|path| read("--admin-client-ca", path)).transpose()?;
                let tls = Tls::new(&certificate, &key, clients.as_deref());
                Some(tls.map_err(AccessError::Tls)?)
            }
            _ => None,
        };
        Ok(Self {
            token,
            tls,
            hosts: args.admin_host.iter().map(|name| name.trim().into()).collect(),
            origins: args.admin_gui_url.iter().map(|url| url.origin.clone()).collect(),
            insecure: args.admin_insecure,
        })
    }

    /// Whether the Admin API may listen there, with TLS or without.
    pub(crate) fn check(&self, address: &Address, tls: bool) -> Result<(), AccessError> {
        let shown = || address.to_string();
        if tls && self.tls.is_none() {
            return Err(AccessError::NoCertificate { address: shown() });
        }
        if self.is_open(address, tls) && !self.insecure {
            return Err(AccessError::Open { address: shown() });
        }
        Ok(())
    }

    /// Whether anybody on another machine could call it there.
    pub(crate) fn is_open(&self, address: &Address, tls: bool) -> bool {
        let mutual = tls && self.tls.as_ref().is_some_and(Tls::is_mutual);
        !is_local(address) && self.token.is_none() && !mutual
    }

    /// Takes a socket of the Admin API into service, on the runtime this is called from.
    pub(crate) fn listener(&self, socket: ListenSocket, tls: bool) -> io::Result<Listener> {
        let address = socket.address()?;
        let mut guard = Guard::default().origins(self.origins.iter().cloned());
        if let Some(Secret(token)) = &self.token {
            guard = guard.token(token);
        }
        // What browsers of this machine could be talked into, nobody else's name gets.
        let is_tcp = address.ip().is_some();
        let names_matter = is_tcp && is_local(&address) && self.token.is_none();
        if names_matter || (is_tcp && !self.hosts.is_empty()) {
            guard = guard.hosts(self.hosts.iter().cloned());
        }
        let listener = listen(socket)?.guard(guard);
        Ok(match (&self.tls, tls) {
            (Some(tls), true) => listener.tls(tls.clone()),
            _ => listener,
        })
    }
}

/// The token that callers send, if there is one.
pub(crate) fn token(args: &AdminArgs) -> Result<Option<Secret>, AccessError> {
    match (&args.admin_token, &args.admin_token_file) {
        (Some(token), _) => Ok(Some(token.clone())),
        (None, Some(path)) => read_token(path).map(Some),
        (None, None) => Ok(None),
    }
}

/// The socket on the runtime this is called from.
pub(crate) fn listen(socket: ListenSocket) -> io::Result<Listener> {
    match socket {
        ListenSocket::Tcp(socket) => {
            socket.set_nonblocking(true)?;
            Ok(tokio::net::TcpListener::from_std(socket)?.into())
        }
        ListenSocket::Unix(socket) => {
            socket.set_nonblocking(true)?;
            Ok(tokio::net::UnixListener::from_std(socket)?.into())
        }
        other => Err(io::Error::other(format!("{other:?} is of an unknown kind"))),
    }
}

fn is_local(address: &Address) -> bool {
    address
        .ip()
        .is_none_or(|address| address.ip().to_canonical().is_loopback())
}

fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, AccessError> {
    std::fs::read(path).map_err(|source| AccessError::File {
        flag,
        path: path.to_path_buf(),
        source,
    })
}

fn read_token(path: &Path) -> Result<Secret, AccessError> {
    let bytes = read("--admin-token-file", path)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    text.trim().parse().map_err(|why| AccessError::Token {
        path: path.to_path_buf(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Args;

    fn access(flags: &[&str]) -> Result<Access, AccessError> {
        let args = Args::try_parse_from(["gw-server"].iter().chain(flags)).unwrap();
        Access::new(&args.admin)
    }

    fn may(flags: &[&str], address: &str) -> bool {
        let address = match address.strip_prefix("unix:") {
            Some(path) => Address::from(Path::new(path)),
            None => Address::Ip(address.parse().unwrap()),
        };
        access(flags).unwrap().check(&address, false).is_ok()
    }

    #[test]
    fn who_opens_it_to_others_has_to_say_so() {
        for local in ["127.0.0.1:8001", "[::1]:8001", "127.9.9.9:1", "unix:/run/gw.sock"] {
            assert!(may(&[], local), "{local}");
        }
        for open in [
            "0.0.0.0:8001",
            "[::]:8001",
            "10.0.0.1:8001",
            "[::ffff:10.0.0.1]:8001",
        ] {
            assert!(!may(&[], open), "{open}");
            assert!(may(&["--admin-insecure"], open), "{open}");
            assert!(may(&["--admin-token", "s3cret"], open), "{open}");
        }
    }

    #[test]
    fn the_error_says_what_to_do() {
        let error = access(&[]).unwrap();
        let error = error.check(&Address::Ip("0.0.0.0:8001".parse().unwrap()), false);
        let text = error.unwrap_err().to_string();
        for part in [
            "0.0.0.0:8001",
            "--admin-token-file",
            "GW_ADMIN_TOKEN",
            "Kong-Admin-Token",
            "--admin-client-ca",
            "127.0.0.1:8001",
            "unix:/run/gw-admin.sock",
            "--admin-insecure",
            "GW_ADMIN_INSECURE=true",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn files_are_read_and_what_is_wrong_with_them_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let token = file("token", "s3cret\n");
        assert!(may(&["--admin-token-file", &token], "0.0.0.0:8001"));
        let empty = file("empty", "\n");
        let error = access(&["--admin-token-file", &empty]).unwrap_err();
        assert!(
            error.to_string().contains("empty: expected visible ASCII"),
            "{error}"
        );
        let error = access(&["--admin-token-file", "/nowhere"]).unwrap_err();
        assert!(
            error.to_string().contains("--admin-token-file /nowhere"),
            "{error}"
        );
        let error = access(&["--admin-tls-cert", &token, "--admin-tls-key", &token]).unwrap_err();
        assert!(
            matches!(error, AccessError::Tls(TlsError::Certificate(_))),
            "{error:?}"
        );
        let error = access(&[])
            .unwrap()
            .check(&Address::Ip("127.0.0.1:1".parse().unwrap()), true);
        assert!(error.unwrap_err().to_string().contains("--admin-tls-cert"));
    }
}
