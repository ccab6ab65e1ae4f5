//! Services of every name at one port, with and without TLS.

use std::net::SocketAddr;
use std::thread::JoinHandle;

use gw_testkit::{Authority, Received, Reply, TlsFront, Upstream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// What a connection begins with that is TLS.
const HANDSHAKE: u8 = 0x16;

/// A port where whoever speaks TLS is answered in TLS, and whoever does not is not.
pub(super) struct Samples {
    upstream: Upstream,
    _front: TlsFront,
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Samples {
    pub(super) fn start() -> Self {
        let upstream = Upstream::start(|request| {
            Reply::json(&serde_json::json!({ "method": request.method, "target": request.target }))
        });
        let front = TlsFront::start(
            Authority::new().identity(&["sample.test"]),
            &["http/1.1"],
            upstream.addr(),
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (stop, stopped) = oneshot::channel();
        let (plain, tls) = (upstream.addr(), front.addr());
        let thread = std::thread::spawn(move || serve(listener, plain, tls, stopped));
        Self {
            upstream,
            _front: front,
            port,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The requests so far, oldest first.
    pub(super) fn requests(&self) -> Vec<Received> {
        self.upstream.requests()
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ended = thread.join();
        }
    }
}

fn serve(
    listener: std::net::TcpListener,
    plain: SocketAddr,
    tls: SocketAddr,
    stopped: oneshot::Receiver<()>,
) {
    listener
        .set_nonblocking(true)
        .expect("a socket can be non-blocking");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).expect("the listener is non-blocking");
        let accept = async {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(pass(stream, plain, tls));
                }
            }
        };
        tokio::select! {
            _ = stopped => {}
            () = accept => {}
        }
    });
}

async fn pass(mut client: TcpStream, plain: SocketAddr, tls: SocketAddr) {
    let mut first = [0];
    let Ok(1) = client.peek(&mut first).await else {
        return;
    };
    let to = if first[0] == HANDSHAKE { tls } else { plain };
    if let Ok(mut server) = TcpStream::connect(to).await {
        // It ends when either goes away.
        let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    }
}
