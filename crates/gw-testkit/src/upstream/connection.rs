//! One connection of an upstream: read a request, record it, answer it, again.

use std::io::{ErrorKind, Result};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use tokio::net::TcpStream;

use super::reply::{End, Opening, Part, Reply};
use super::{Bodies, Shared};
use crate::wire::{Fields, Framing, Head, Wire};
use crate::{Pattern, Received};

pub(super) async fn serve(stream: TcpStream, number: usize, shared: Arc<Shared>) {
    shared.count(|counts| {
        counts.accepted += 1;
        counts.open += 1;
    });
    let mut connection = Connection {
        wire: Wire::new(stream),
        number,
        open: Open(shared),
    };
    if !connection.open.0.options.close_on_accept
        && let Err(error) = connection.run().await
        && error.kind() == ErrorKind::InvalidData
    {
        connection.shared().count(|counts| counts.malformed += 1);
        // The sender may be gone already; then nobody misses the answer.
        let _sent = connection
            .wire
            .write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            .await;
    }
}

struct Connection {
    // Before `open`: the socket is closed by the time it is counted as closed.
    wire: Wire,
    number: usize,
    open: Open,
}

/// Counts the connection as open while it lives, however it ends.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.count(|counts| counts.open -= 1);
    }
}

/// The other side has closed: there is nobody to answer.
struct Gone;

impl Connection {
    fn shared(&self) -> &Shared {
        &self.open.0
    }

    async fn run(&mut self) -> Result<()> {
        self.wire.stream().set_nodelay(true)?;
        while let Some(head) = self.wire.head().await? {
            self.shared().count(|counts| counts.heads += 1);
            let last = head.connection_has("close") || head.line.ends_with("HTTP/1.0");
            let request = self.receive(head).await?;
            let reply = (self.shared().handler)(&request);
            let complete = request.complete || self.shared().options.bodies == Bodies::Ignore;
            let unread = complete && !request.complete;
            self.shared().record(request.clone());
            if !complete {
                return Ok(());
            }
            match self.send(&request, &reply, last).await? {
                End::KeepAlive if unread => return self.linger().await,
                End::KeepAlive => {}
                End::Close | End::HangUp => return Ok(()),
                End::Reset => return self.wire.stream().set_zero_linger(),
                End::HalfClose => return self.linger().await,
            }
        }
        Ok(())
    }

    /// Ends our side and reads the other one to its end.
    async fn linger(&mut self) -> Result<()> {
        self.wire.shutdown().await?;
        self.wire.rest(&mut drop).await
    }

    async fn receive(&mut self, head: Head) -> Result<Received> {
        let framing = head.framing()?.unwrap_or(Framing::Length(0));
        let expects = head
            .values("expect")
            .any(|v| v.eq_ignore_ascii_case("100-continue"));
        let mut request = request(head, self.number)?;
        if framing == Framing::Length(0) {
            request.complete = true;
            return Ok(request);
        }
        if self.shared().options.bodies == Bodies::Ignore {
            return Ok(request);
        }
        if let Some(gate) = self.shared().options.gate.clone() {
            gate.wait().await;
        }
        if expects {
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let (shared, mut pattern, mut kept) = (Arc::clone(&self.open.0), Pattern::new(), BytesMut::new());
        let mut sink = |piece: Bytes| {
            request.body_is_pattern &= pattern.matches(&piece);
            if shared.options.bodies == Bodies::Keep {
                kept.extend_from_slice(&piece);
            }
            shared.count(|counts| counts.body_bytes += piece.len() as u64);
        };
        match self.wire.body(framing, &mut sink).await {
            Ok(trailers) => {
                request.trailers = trailers;
                request.complete = true;
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(error),
            Err(_) => {}
        }
        request.body_len = pattern.offset();
        request.body = kept.freeze();
        Ok(request)
    }

    /// Sends the reply and says how the connection ends.
    async fn send(&mut self, request: &Received, reply: &Reply, last: bool) -> Result<End> {
        if let Some(gate) = &reply.hold
            && self.wait(gate.wait()).await.is_err()
        {
            return Ok(End::HangUp);
        }
        let (head, framed, mut end) = opening(request, reply, last);
        self.write(&head).await?;
        if head_only(request, reply) {
            return Ok(end);
        }
        let mut pattern = Pattern::new();
        for part in &reply.parts {
            match part {
                Part::Bytes(bytes) => self.piece(bytes, framed).await?,
                Part::Generated(len) => self.generate(*len, &mut pattern, framed).await?,
                Part::Endless => self.generate(u64::MAX, &mut pattern, framed).await?,
                Part::Wait(gate) => {
                    if self.wait(gate.wait()).await.is_err() {
                        return Ok(End::HangUp);
                    }
                }
                Part::Pause(time) => {
                    let over = tokio::time::sleep_until(tokio::time::Instant::now() + *time);
                    if self.wait(over).await.is_err() {
                        return Ok(End::HangUp);
                    }
                }
            }
        }
        if framed && matches!(end, End::KeepAlive | End::Close) {
            self.write(b"0\r\n\r\n").await?;
        }
        if end == End::KeepAlive && last {
            end = End::Close;
        }
        Ok(end)
    }

    async fn generate(&mut self, len: u64, pattern: &mut Pattern, framed: bool) -> Result<()> {
        let stop = pattern.offset().saturating_add(len);
        while pattern.offset() < stop {
            let piece = pattern.take(stop - pattern.offset());
            self.piece(&piece, framed).await?;
        }
        Ok(())
    }

    async fn piece(&mut self, bytes: &[u8], framed: bool) -> Result<()> {
        if !framed {
            return self.write(bytes).await;
        }
        if bytes.is_empty() {
            return Ok(()); // an empty chunk would be the last one
        }
        self.write(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        self.write(bytes).await?;
        self.write(b"\r\n").await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.wire.write(bytes).await?;
        self.shared()
            .count(|counts| counts.sent_bytes += bytes.len() as u64);
        Ok(())
    }

    async fn wait(&mut self, event: impl Future<Output = ()>) -> std::result::Result<(), Gone> {
        tokio::select! {
            () = event => Ok(()),
            () = self.wire.closed() => Err(Gone),
        }
    }
}

fn request(head: Head, connection: usize) -> Result<Received> {
    let mut words = head.line.split(' ');
    let (Some(method), Some(target), Some(version @ ("HTTP/1.1" | "HTTP/1.0")), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(ErrorKind::InvalidData.into());
    };
    Ok(Received {
        method: method.to_owned(),
        target: target.to_owned(),
        version: version.to_owned(),
        headers: head.fields,
        body: Bytes::new(),
        body_len: 0,
        body_is_pattern: true,
        trailers: Fields::new(),
        complete: false,
        connection,
    })
}

/// The bytes before the body, whether the body goes in chunks, and the end as far as the framing decides it.
fn opening(request: &Received, reply: &Reply, last: bool) -> (Vec<u8>, bool, End) {
    let (status, headers) = match &reply.opening {
        Opening::Raw(bytes) => return (bytes.to_vec(), false, reply.end),
        Opening::Head { status, headers } => (*status, headers),
    };
    let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Unknown");
    let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
    let mut add = |name: &str, value: &str| head.extend([name, ": ", value, "\r\n"]);
    for (name, value) in headers {
        add(name, value);
    }
    let mut end = reply.end;
    let old = request.version == "HTTP/1.0";
    let bodiless = matches!(status, 100..=199 | 204 | 304);
    let mut framed = false;
    if !given("content-length") && !given("transfer-encoding") && !bodiless {
        match reply.declared_length.or_else(|| reply.length()) {
            Some(length) if !reply.chunked => add("content-length", &length.to_string()),
            // An old client knows no chunks: for it the body ends with the connection.
            _ if old => end = if end == End::KeepAlive { End::Close } else { end },
            _ => {
                framed = true;
                add("transfer-encoding", "chunked");
            }
        }
    }
    if (end == End::Close || (last && end == End::KeepAlive)) && !given("connection") {
        add("connection", "close");
    }
    head.push_str("\r\n");
    (head.into_bytes(), framed, end)
}

fn head_only(request: &Received, reply: &Reply) -> bool {
    let Opening::Head { status, .. } = &reply.opening else {
        return false;
    };
    request.method == "HEAD" || matches!(status, 100..=199 | 204 | 304)
}
