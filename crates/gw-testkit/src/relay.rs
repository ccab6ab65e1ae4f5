//! A TCP relay that stands between a client and a server and passes bytes on, or not, as a test wants.

mod link;

use std::fmt;
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::deadline::{ShownBy, within};
use crate::{DeadPort, dead_port};

/// A relay in a thread of its own, on a free loopback port. Dropping it closes the listener and every connection.
///
/// It passes everything on until it is told otherwise. What it is told holds for connections that are open as well as
/// for those to come.
#[derive(Debug)]
pub struct Relay {
    // Taken by `stop` only.
    port: Option<DeadPort>,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The direction in which bytes pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// What becomes of bytes on their way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// They are passed on at once.
    #[default]
    Pass,
    /// They are passed on so much later, as over a long line.
    Delay(Duration),
    /// So many of them are passed on in a second.
    Rate(u32),
    /// They are held back, and so is the end of the connection, as by a line that is down. Nothing is lost: with another
    /// fault they go on.
    Hold,
    /// The receiver is told in good order that no more will come; what does come is read and dropped.
    HalfClose,
    /// The connection is reset on both sides.
    Cut,
}

/// What has passed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passed {
    /// Connections accepted.
    pub accepted: usize,
    /// Connections open now.
    pub open: usize,
    /// Bytes from clients to the server.
    pub up: u64,
    /// Bytes from the server to clients.
    pub down: u64,
}

impl Relay {
    /// A relay in front of the server at `target`. It need not run yet: a connection that it refuses is reset.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn to(target: SocketAddr) -> Self {
        let port = dead_port();
        let listener = port.listen();
        let shared = Arc::new(Shared {
            target,
            orders: watch::Sender::default(),
            passed: watch::Sender::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("relay-{}", port.port()))
            .spawn(move || serve(listener, &serving, stopped))
            .expect("a thread can be started");
        Self {
            port: Some(port),
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.as_ref().expect("taken by `stop` only").addr()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.addr().port()
    }

    /// The address of a path behind it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    /// What becomes of bytes on this way from now on.
    pub fn set(&self, way: Way, fault: Fault) {
        self.set_after(way, 0, fault);
    }

    /// What becomes of bytes on this way once so many have passed on their connection; until then they pass at once.
    pub fn set_after(&self, way: Way, bytes: u64, fault: Fault) {
        self.shared.orders.send_modify(|orders| {
            let rule = Rule { after: bytes, fault };
            match way {
                Way::Up => orders.up = rule,
                Way::Down => orders.down = rule,
            }
        });
    }

    /// Resets all connections that are open now; those to come are not touched.
    pub fn cut(&self) {
        self.shared.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        *self.shared.passed.borrow()
    }

    /// Waits until what has passed is as `reached` wants it.
    ///
    /// # Panics
    ///
    /// If that does not happen in time; the message has `what` and what has passed.
    pub async fn wait_until(&self, what: &str, reached: impl FnMut(&Passed) -> bool) -> Passed {
        let mut passed = self.shared.passed.subscribe();
        let seen = passed.clone();
        let state = ShownBy(move |f: &mut fmt::Formatter<'_>| {
            write!(f, "{what}; the relay has seen {:?}", *seen.borrow())
        });
        *within(state, passed.wait_for(reached))
            .await
            .expect("the sender is in `self`, so it is alive")
    }

    /// Stops it: nothing listens and no connection is open once this returns. The port stays reserved.
    ///
    /// # Panics
    ///
    /// As its thread did, if it did.
    pub fn stop(mut self) -> DeadPort {
        self.port.take().expect("taken here only")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the relay's thread panicked");
        }
    }
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    orders: watch::Sender<Orders>,
    passed: watch::Sender<Passed>,
}

/// What the test wants.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    up: Rule,
    down: Rule,
    /// How often all connections were cut.
    cuts: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Rule {
    after: u64,
    fault: Fault,
}

impl Orders {
    fn rule(&self, way: Way) -> Rule {
        match way {
            Way::Up => self.up,
            Way::Down => self.down,
        }
    }
}

fn serve(listener: std::net::TcpListener, shared: &Arc<Shared>, stopped: oneshot::Receiver<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
        tokio::select! {
            _ = stopped => {}
            () = accept(&listener, shared) => {}
        }
        // As an upstream does: a process that is just being started may have a copy of the listener.
        let _stopped = SockRef::from(&listener).shutdown(Shutdown::Both);
    });
    // Dropping the runtime drops every connection with its task.
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        // Before it counts as open: a cut from then on is meant for it, even if it is still connecting.
        let orders = shared.orders.subscribe();
        let cuts = orders.borrow().cuts;
        let open = Open::new(Arc::clone(shared));
        tokio::spawn(async move {
            match TcpStream::connect(open.0.target).await {
                Ok(target) => link::run(client, target, (orders, cuts), &open.0).await,
                Err(_) => link::reset(&client),
            }
        });
    }
}

/// Counts the connection as open while it lives, however it ends.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.passed.send_modify(|passed| {
            passed.accepted += 1;
            passed.open += 1;
        });
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.passed.send_modify(|passed| passed.open -= 1);
    }
}
