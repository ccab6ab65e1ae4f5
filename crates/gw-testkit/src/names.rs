//! A name server whose answers change while it runs.

mod zone;

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};

use self::zone::Zone;
use crate::deadline::within;
use crate::{DeadPort, dead_port};

/// An authoritative name server over UDP and TCP on a free loopback port, in a thread of its own. It knows the names it
/// is told and denies all others; what it is told holds from the next question on.
///
/// ```
/// let names = gw_testkit::NameServer::start();
/// names.set("app.test", 30, &["A 127.0.0.1", "A 127.0.0.2"]);
/// names.set("_http._tcp.app.test", 5, &["SRV 1 10 8080 app.test"]);
/// names.set("www.test", 5, &["CNAME app.test"]);
/// ```
#[derive(Debug)]
pub struct NameServer {
    port: DeadPort,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How a name server fails to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It says that it has failed (`SERVFAIL`).
    ServFail,
    /// It says nothing.
    Silence,
}

#[derive(Debug, Default)]
struct Shared {
    zone: Mutex<Zone>,
    /// How often each question has come: `A app.test`.
    asked: watch::Sender<HashMap<String, usize>>,
}

/// Bound: of an answer over UDP. A longer one is asked for again over TCP.
const DATAGRAM: usize = 512;

impl NameServer {
    /// Starts one that knows nothing.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start() -> Self {
        let (port, socket) = place();
        let listener = port.listen();
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let serving = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(format!("names-{}", port.port()))
            .spawn(move || serve(socket, listener, &serving, stopped))
            .expect("a thread can be started");
        Self {
            port,
            shared,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Where it is asked.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Lays down what a name has, in place of all it had: `A 127.0.0.1`, `AAAA ::1`, `CNAME other.test`,
    /// `SRV priority weight port host`. Without records the name exists and has nothing.
    ///
    /// # Panics
    ///
    /// If a record is none of these.
    pub fn set(&self, name: &str, ttl: u32, records: &[&str]) {
        self.zone(|zone| zone.set(name, ttl, records));
    }

    /// Lays down what all names have that nothing else was said of, as [`set`](Self::set) does for one.
    ///
    /// # Panics
    ///
    /// If a record is none of those.
    pub fn set_all(&self, ttl: u32, records: &[&str]) {
        self.zone(|zone| zone.set_all(ttl, records));
    }

    /// The name does not exist any more.
    pub fn remove(&self, name: &str) {
        self.zone(|zone| zone.remove(name));
    }

    /// Questions about this name are not answered properly, until it is [`set`](Self::set) or
    /// [`remove`](Self::remove)d.
    pub fn fail(&self, name: &str, trouble: Trouble) {
        self.zone(|zone| zone.fail(name, trouble));
    }

    /// How often a question has come: `A app.test`.
    pub fn asked(&self, question: &str) -> usize {
        self.shared
            .asked
            .borrow()
            .get(question)
            .copied()
            .unwrap_or_default()
    }

    /// Waits until a question has come so often.
    ///
    /// # Panics
    ///
    /// If that does not happen in time.
    pub async fn wait_asked(&self, question: &str, times: usize) {
        let mut asked = self.shared.asked.subscribe();
        let enough = asked.wait_for(|asked| asked.get(question).is_some_and(|&count| count >= times));
        let waited = within(format_args!("{times} times `{question}`"), enough).await;
        drop(waited.expect("the sender is in `self`, so it is alive"));
    }

    fn zone<T>(&self, change: impl FnOnce(&mut Zone) -> T) -> T {
        change(&mut self.shared.zone.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the name server's thread panicked");
        }
    }
}

impl Shared {
    /// The answer to a message, if there is to be one.
    fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let question = zone::Question::parse(message)?;
        // Answered first, so that who waits for the question to be counted knows that what it changes comes later.
        let answer = self
            .zone
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .answer(&question);
        self.asked
            .send_modify(|asked| *asked.entry(question.to_string()).or_default() += 1);
        answer
    }
}

/// A port that is free for TCP and UDP.
fn place() -> (DeadPort, UdpSocket) {
    // Bound: a port that is free for TCP is nearly always free for UDP.
    for _ in 0..100 {
        let port = dead_port();
        if let Ok(socket) = UdpSocket::bind(port.addr()) {
            socket
                .set_nonblocking(true)
                .expect("a socket can be non-blocking");
            return (port, socket);
        }
    }
    panic!("no port is free for TCP and UDP");
}

fn serve(
    socket: UdpSocket,
    listener: std::net::TcpListener,
    shared: &Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let socket = tokio::net::UdpSocket::from_std(socket).expect("the socket is non-blocking");
        let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is non-blocking");
        tokio::select! {
            _ = stopped => {}
            () = datagrams(&socket, shared) => {}
            () = streams(&listener, shared) => {}
        }
    });
}

async fn datagrams(socket: &tokio::net::UdpSocket, shared: &Shared) {
    let mut buffer = [0; 4096];
    loop {
        // Errors are about answers that nobody took.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        if let Some(mut answer) = buffer.get(..length).and_then(|message| shared.answer(message)) {
            if answer.len() > DATAGRAM {
                answer = zone::truncated(&answer);
            }
            let _taken = socket.send_to(&answer, from).await;
        }
    }
}

async fn streams(listener: &tokio::net::TcpListener, shared: &Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            // It ends when the client goes away.
            let _gone = conversation(stream, &shared).await;
        });
    }
}

async fn conversation(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut message = vec![0; length.into()];
        stream.read_exact(&mut message).await?;
        if let Some(answer) = shared.answer(&message) {
            let length = u16::try_from(answer.len()).expect("no test has so many records");
            stream.write_all(&length.to_be_bytes()).await?;
            stream.write_all(&answer).await?;
        }
    }
}
