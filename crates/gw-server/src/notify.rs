//! What a service manager is told, where there is one: systemd's protocol, over the socket in `NOTIFY_SOCKET`.

use std::fmt::{self, Display};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// What there is to tell.
#[derive(Debug)]
pub(crate) enum State<'a> {
    /// Clients are served.
    Ready,
    /// Another process is about to take over.
    Reloading,
    /// It comes to an end.
    Stopping,
    /// The process that the service is from now on.
    MainPid(u32),
    /// For people.
    Status(&'a str),
}

/// Tells the service manager, if there is one. Where it does not listen, nothing is lost but that.
pub(crate) fn notify(states: &[State<'_>]) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(socket.as_bytes(), states) {
        warn!(%error, "the service manager is not to be told anything");
    }
}

fn send(socket: &[u8], states: &[State<'_>]) -> io::Result<()> {
    let address = match socket.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(socket))?,
    };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}

impl Display for State<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("READY=1"),
            Self::Reloading => {
                let now = clock_gettime(ClockId::Monotonic);
                let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
                write!(f, "RELOADING=1\nMONOTONIC_USEC={micros}")
            }
            Self::Stopping => f.write_str("STOPPING=1"),
            Self::MainPid(pid) => write!(f, "MAINPID={pid}"),
            Self::Status(text) => write!(f, "STATUS={}", text.replace('\n', " ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn it_is_told_in_one_message_by_path_or_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let states = [State::MainPid(7), State::Ready, State::Status("two\nlines")];
        send(path.as_os_str().as_bytes(), &states).unwrap();
        assert_eq!(received(&socket), "MAINPID=7\nREADY=1\nSTATUS=two lines\n");

        let name = format!("gw-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        send(format!("@{name}").as_bytes(), &[State::Reloading]).unwrap();
        let text = received(&socket);
        let micros = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(micros.trim().parse::<u64>().unwrap() > 0);
        assert!(send(b"/nowhere/at/all", &[State::Stopping]).is_err());
    }
}
