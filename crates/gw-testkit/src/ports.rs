//! Addresses where nobody listens, and where nobody answers.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

/// An address that refuses connections while this lives.
///
/// The port is bound but not listened on, so nobody else is given it meanwhile. A server can come to life there
/// ([`UpstreamBuilder::on`](crate::UpstreamBuilder::on)), and a stopped one leaves its port dead
/// ([`Upstream::stop`](crate::Upstream::stop)).
#[derive(Debug)]
pub struct DeadPort {
    addr: SocketAddr,
    _bound: Socket,
}

/// Reserves a loopback port on which nothing listens.
///
/// # Panics
///
/// If there is no free port.
pub fn dead_port() -> DeadPort {
    DeadPort::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

impl DeadPort {
    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port of the address.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    pub(crate) fn at(addr: SocketAddr) -> Self {
        let bound = bind(addr);
        let addr = bound
            .local_addr()
            .ok()
            .and_then(|addr| addr.as_socket())
            .expect("it is bound");
        Self { addr, _bound: bound }
    }

    /// Listens beside the reservation, which stays when the listener goes.
    pub(crate) fn listen(&self) -> TcpListener {
        let socket = bind(self.addr);
        socket.listen(1024).expect("a bound socket can listen");
        socket
            .set_nonblocking(true)
            .expect("a listener can be non-blocking");
        socket.into()
    }
}

/// An address where attempts to connect are neither accepted nor refused while this lives, as where a firewall drops
/// them.
#[derive(Debug)]
pub struct SilentPort {
    addr: SocketAddr,
    _full: (Socket, TcpStream),
}

/// Listens on a free loopback port with a queue that is full already.
///
/// # Panics
///
/// If there is no free port.
pub fn silent_port() -> SilentPort {
    let port = dead_port();
    let socket = bind(port.addr());
    // A queue of length 0 has room for one connection. The kernel drops what comes after it.
    socket.listen(0).expect("a bound socket can listen");
    let only = TcpStream::connect(port.addr()).expect("the queue has room for one");
    SilentPort {
        addr: port.addr(),
        _full: (socket, only),
    }
}

impl SilentPort {
    /// The address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The port of the address.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }
}

fn bind(addr: SocketAddr) -> Socket {
    let bound = || {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        // Lets reservation and listener be bound together. No other socket is given the port by chance for it.
        socket.set_reuse_port(true)?;
        socket.bind(&addr.into())?;
        Ok::<_, std::io::Error>(socket)
    };
    bound().unwrap_or_else(|error| panic!("cannot bind {addr}: {error}"))
}
