//! Over a socket: the limits of a connection, and how serving ends.

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::Admin;

struct Served {
    admin: Admin,
    address: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

async fn serve() -> Served {
    let admin = Admin::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(
        admin
            .api
            .clone()
            .serve(listener, async { stopped.await.unwrap_or_default() }),
    );
    Served {
        admin,
        address,
        stop,
        server,
    }
}

impl Served {
    /// Sends bytes, and reads until the other side closes.
    async fn exchange(&self, text: &str) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        // The other side may have had enough before everything is sent.
        let _sent = socket.write_all(text.as_bytes()).await;
        let mut answer = Vec::new();
        let _ended = socket.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn requests_are_answered_and_bad_ones_refused() {
    let served = serve().await;
    let form = "name=s&host=a";
    let post = format!(
        "POST /services HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let answer = served.exchange(&post).await;
    assert!(
        answer.starts_with("HTTP/1.1 201 ") && answer.contains("\"name\":\"s\""),
        "{answer}"
    );
    let head = served
        .exchange("HEAD /services/s HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        .await;
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: ") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    let large = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(200_000));
    let answer = served.exchange(&large).await;
    assert!(
        answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(),
        "{answer}"
    );
    assert!(
        served
            .exchange("nonsense\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400 ")
    );
    let cut = "POST /services HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 99999999\r\n\r\n{";
    assert!(served.exchange(cut).await.starts_with("HTTP/1.1 413 "));
    assert_eq!(served.admin.revision(), 1);
}

#[tokio::test]
async fn a_client_that_still_sends_gets_its_answer() {
    let served = serve().await;
    for (line, announced, status) in [
        ("POST /nothing", "content-length: 9000000", "404"),
        ("PUT /services", "content-length: 9000000", "405"),
        ("POST /services", "content-length: 99000000", "413"),
        (
            "POST /services",
            "content-type: a/b\r\ncontent-type: a/b\r\ncontent-length: 9000000",
            "400",
        ),
        ("DELETE /services/x", "content-length: 9000000", "204"),
        ("GET /services", "content-length: 9000000", "200"),
        ("nonsense", "content-length: 9000000", "400"),
    ] {
        let mut socket = TcpStream::connect(served.address).await.unwrap();
        let head = format!("{line} HTTP/1.1\r\nhost: localhost\r\n{announced}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        // More than the buffers between the two hold: the other side must read on after its answer.
        for _ in 0..90 {
            let sent = socket.write_all(&[b'a'; 100_000]).await;
            sent.unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        let mut answer = Vec::new();
        socket
            .read_to_end(&mut answer)
            .await
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let answer = String::from_utf8(answer).unwrap();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {answer}"
        );
    }
    assert_eq!(served.admin.revision(), 0);
}

#[tokio::test]
async fn a_panic_ends_one_connection_and_not_the_server() {
    let served = serve().await;
    served.admin.plane.panics.store(true, Ordering::Relaxed);
    let get = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(served.exchange(get).await, "");
    served.admin.plane.panics.store(false, Ordering::Relaxed);
    assert!(served.exchange(get).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn shutting_down_ends_idle_connections_and_stops_listening() {
    let served = serve().await;
    let mut socket = TcpStream::connect(served.address).await.unwrap();
    socket
        .write_all(b"GET /status HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut start = [0; 12];
    socket.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    served.stop.send(()).unwrap();
    served.server.await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}

#[tokio::test]
async fn one_that_gives_way_says_so_on_connections_it_has_and_takes_no_others() {
    let served = serve().await;
    let get = "GET /services HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut kept = TcpStream::connect(served.address).await.unwrap();
    kept.write_all(get.as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    kept.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");

    served.admin.api.retire().await;
    kept.write_all(b"POST /consumers HTTP/1.1\r\nhost: localhost\r\ncontent-length: 12\r\n\r\nusername=ann")
        .await
        .unwrap();
    let mut rest = String::new();
    kept.read_to_string(&mut rest).await.unwrap();
    let (_, answer) = rest.split_once("HTTP/1.1 ").unwrap();
    assert!(answer.starts_with("503 "), "{answer}");
    for header in ["retry-after: 1\r\n", "connection: close\r\n"] {
        assert!(answer.contains(header), "{header}: {answer}");
    }
    // Nobody listens here any more; whoever has the same socket does.
    assert!(TcpStream::connect(served.address).await.is_err());
    served.stop.send(()).unwrap();
    served.server.await.unwrap();
}

#[tokio::test]
async fn a_loopback_address_is_called_by_its_own_names() {
    let served = serve().await;
    let ask = async |host: &str| {
        let text = format!("GET /services HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        served.exchange(&text).await
    };
    assert!(ask("127.0.0.1:8001").await.starts_with("HTTP/1.1 200 "));
    let refused = ask("evil.example").await;
    assert!(
        refused.starts_with("HTTP/1.1 403 ") && refused.contains("--admin-host"),
        "{refused}"
    );
}
