//! What two servers could read differently: refused, with nothing for the upstream, or passed on in one form.

mod chunks; // bodies in chunks
mod heads; // request lines and headers
mod responses; // what upstreams answer
mod streams; // requests of HTTP/2
mod upgrades; // what comes behind a request for a WebSocket

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use gw_testkit::{Raw, within};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Proxy;

/// An upstream that keeps each byte it gets, and answers each message that is whole.
pub(crate) struct Recorder {
    pub(crate) addr: SocketAddr,
    bytes: Arc<Mutex<Vec<u8>>>,
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

impl Recorder {
    pub(crate) async fn start() -> Self {
        Self::answering(ANSWER).await
    }

    /// With these bytes for each message; the connection ends behind an answer that is not the usual one.
    pub(crate) async fn answering(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&bytes);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer, Arc::clone(&kept)));
            }
        });
        Self { addr, bytes }
    }

    /// What has come since this was asked before.
    pub(crate) fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &'static [u8],
    kept: Arc<Mutex<Vec<u8>>>,
) -> std::io::Result<()> {
    let mut pending = Vec::new();
    let mut room = [0; 4096];
    loop {
        let read = stream.read(&mut room).await?;
        if read == 0 {
            return Ok(());
        }
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(&room[..read]);
        pending.extend_from_slice(&room[..read]);
        while let Some(length) = message(&pending) {
            pending.drain(..length);
            stream.write_all(answer).await?;
            if answer != ANSWER {
                return stream.shutdown().await;
            }
        }
    }
}

/// How long the first message is, if it is whole.
fn message(bytes: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let lower = head.to_ascii_lowercase();
    if lower.contains("transfer-encoding: chunked") {
        let (before, trailers) = match body.strip_prefix("0\r\n") {
            Some(trailers) => ("", trailers),
            None => body.split_once("\r\n0\r\n")?,
        };
        let last = body.len() - before.len() - trailers.len();
        let end = match trailers.strip_prefix("\r\n") {
            Some(_) => 2,
            None => trailers.find("\r\n\r\n")? + 4,
        };
        return Some(head.len() + 4 + before.len() + last + end);
    }
    let length = lower.split("\r\ncontent-length: ").nth(1).map_or(0, |rest| {
        let digits = rest.split("\r\n").next().unwrap_or_default();
        digits.parse().expect("the gateway writes plain numbers")
    });
    (body.len() >= length).then_some(head.len() + 4 + length)
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// Answered with this status, then the connection is closed; nothing goes upstream.
    Refused(u16),
    /// The same, but its head and what was well of its body may have gone upstream; never its end, nor what follows.
    Cut(u16),
    /// Passed on; all of this is in what the upstream gets, and the second is not.
    Passed(&'static [&'static str], &'static str),
    /// The same, and then the connection is closed.
    Last(&'static [&'static str], &'static str),
}

const SECOND: &str = "GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// A gateway with a recorder behind `/`.
pub(crate) struct Bench {
    pub(crate) proxy: Proxy,
    pub(crate) upstream: Recorder,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::over(Recorder::start().await).await
    }

    pub(crate) async fn over(upstream: Recorder) -> Self {
        let mut proxy = Proxy::start();
        proxy.route_all(upstream.addr, json!({}));
        Self { proxy, upstream }
    }

    /// Sends each row with a second request behind it, and checks what becomes of both.
    pub(crate) async fn check(&self, rows: impl IntoIterator<Item = (&str, Vec<u8>, Fate)>) {
        let mut faults = String::new();
        for (name, row, fate) in rows {
            if let Err(fault) = self.try_row(&row, fate).await {
                faults.push_str(&format!("{name}: {fault}\n"));
            }
        }
        assert!(faults.is_empty(), "{faults}");
    }

    async fn try_row(&self, row: &[u8], fate: Fate) -> Result<(), String> {
        let mut client = Raw::connect(self.proxy.addr()).await;
        client.send([row, SECOND.as_bytes()].concat()).await;
        let mut answers = String::new();
        if matches!(fate, Fate::Passed(..)) {
            for _ in 0..2 {
                let mut answer = client.try_read_response(true).await;
                if answer.as_ref().is_ok_and(|answer| answer.status == 100) {
                    answer = client.try_read_response(true).await;
                }
                match answer {
                    Ok(answer) => answers.push_str(&format!("{}\r\n", answer.line)),
                    Err(error) => answers.push_str(&error.to_string()),
                }
            }
        } else {
            answers = String::from_utf8_lossy(&client.read_to_end().await).into_owned();
        }
        let statuses: Vec<&str> = answers
            .split("HTTP/1.")
            .skip(1)
            .map(|rest| rest.get(2..5).unwrap_or_default())
            .collect();
        // Whatever was to come has come before this is answered.
        let mut control = Raw::connect(self.proxy.addr()).await;
        control
            .send("GET /control HTTP/1.1\r\nHost: a.test\r\n\r\n")
            .await;
        assert_eq!(control.read_response().await.status, 200);
        let seen = self.upstream.take();
        let (statuses_are, seen_is, parts) = match fate {
            Fate::Refused(status) => {
                let closes = answers.to_ascii_lowercase().contains("connection: close\r\n");
                (
                    statuses == [status.to_string()] && closes,
                    seen.starts_with("GET /control "),
                    None,
                )
            }
            Fate::Cut(status) => {
                let ended = seen.contains("/second") || seen.contains("\r\n0\r\n");
                (statuses == [status.to_string()], !ended, None)
            }
            Fate::Passed(there, absent) => (
                statuses == ["200", "200"],
                seen.matches("GET /second ").count() == 1,
                Some((there, absent)),
            ),
            Fate::Last(there, absent) => (
                statuses == ["200"],
                !seen.contains("/second"),
                Some((there, absent)),
            ),
        };
        if !statuses_are || !seen_is || parts.is_some_and(|(there, absent)| !holds(&seen, there, absent)) {
            return Err(format!("{fate:?}, but answered {answers:?} and sent {seen:?}"));
        }
        Ok(())
    }
}

/// Whether all of the first and not the second is in what was seen, before the control, in whatever case.
fn holds(seen: &str, there: &[&str], absent: &str) -> bool {
    let own = seen.to_ascii_lowercase();
    there.iter().all(|part| own.contains(&part.to_ascii_lowercase()))
        && (absent.is_empty() || !own.contains(&absent.to_ascii_lowercase()))
}

#[tokio::test]
async fn what_was_refused_is_in_the_access_log() {
    let bench = Bench::start().await;
    let mut client = Raw::connect(bench.proxy.addr()).await;
    client.send("GET / HTTP/1.1\nHost: a\r\n\r\n").await;
    within("an answer", client.read_to_end()).await;
    let lines = bench.proxy.log(1).await;
    assert_eq!(
        (&lines[0]["status"], &lines[0]["failure"]),
        (&json!(400), &json!("bad_request"))
    );
}

#[tokio::test]
async fn what_came_before_is_answered_first() {
    let bench = Bench::start().await;
    let mut client = Raw::connect(bench.proxy.addr()).await;
    let bad = "POST /bad HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    client.send(format!("{SECOND}{SECOND}{bad}{SECOND}")).await;
    for status in [200, 200, 400] {
        assert_eq!(client.read_response().await.status, status);
    }
    assert_eq!(client.read_to_end().await, "");
    let seen = bench.upstream.take();
    assert_eq!(
        (seen.matches("GET /second ").count(), seen.contains("/bad")),
        (2, false),
        "{seen}"
    );
}

#[tokio::test]
async fn the_verdict_is_the_same_byte_by_byte() {
    let bench = Bench::start().await;
    let rows = [
        ("GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", 200),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\n\r\n",
            200,
        ),
    ];
    for (row, status) in rows {
        let mut client = Raw::connect(bench.proxy.addr()).await;
        for byte in row.bytes() {
            if client.try_send([byte]).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(client.read_response().await.status, status, "{row}");
    }
}
