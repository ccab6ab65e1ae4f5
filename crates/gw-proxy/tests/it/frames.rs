//! HTTP/2 by hand, for clients that no library would be.

use std::net::SocketAddr;

use gw_testkit::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// One frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A frame as it is written.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("it is short");
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A request's head, compressed without Huffman's help; `get` or else `POST`.
pub(crate) fn head(get: bool, path: &str) -> Vec<u8> {
    let mut block = vec![if get { 0x82 } else { 0x83 }, 0x86];
    for (name, value) in [(0x04, path), (0x01, "a.test")] {
        block.push(name);
        block.push(u8::try_from(value.len()).expect("it is short"));
        block.extend(value.as_bytes());
    }
    block
}

/// A `GET` that is complete.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(true, path))
}

/// A `POST` whose body is to come.
pub(crate) fn post(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &head(false, path))
}

/// A connection on which both sides have said hello.
pub(crate) struct Bare {
    stream: TcpStream,
}

impl Bare {
    /// With settings of ours, each a number and its value.
    pub(crate) async fn connect(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut stream = TcpStream::connect(addr).await.expect("it listens");
        let mut payload = Vec::new();
        for (number, value) in settings {
            payload.extend(number.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        let hello = [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            &frame(SETTINGS, 0, 0, &payload),
        ]
        .concat();
        stream.write_all(&hello).await.expect("it takes it");
        Self { stream }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within("the gateway to read", self.stream.write_all(bytes.as_ref()))
            .await
            .expect("it takes it");
    }

    /// The next frame; none at the end.
    pub(crate) async fn read(&mut self) -> Option<Frame> {
        let reading = async {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.ok()?;
            let [a, b, c, kind, flags, d, e, f, g] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(Frame {
                kind,
                flags,
                stream: u32::from_be_bytes([d, e, f, g]),
                payload,
            })
        };
        within("a frame or the end", reading).await
    }

    /// The next frame of this kind; none if the connection ends before.
    pub(crate) async fn find(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.read().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Sends while it reads, until the connection ends; why it did, as far as it was told.
    pub(crate) async fn ended_by(self, bytes: &[u8]) -> Option<u32> {
        let (mut read, mut write) = self.stream.into_split();
        let mut all = Vec::new();
        let (_, _) = tokio::join!(
            async { write.write_all(bytes).await.ok() },
            within("the connection to end", read.read_to_end(&mut all))
        );
        let mut rest = &all[..];
        let mut reason = None;
        while let Some(head) = rest.get(..9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            if head[3] == GOAWAY {
                let code = rest.get(13..17).expect("a reason");
                reason = Some(u32::from_be_bytes(code.try_into().expect("four bytes")));
            }
            rest = rest.get(9 + length..).unwrap_or_default();
        }
        reason
    }
}
