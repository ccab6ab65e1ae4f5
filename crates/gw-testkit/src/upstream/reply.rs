//! What an upstream answers: a head, then parts of a body, then what happens to the connection.

use std::time::Duration;

use bytes::Bytes;

use crate::Gate;

/// An answer, honest or not.
#[derive(Clone, Debug)]
#[must_use]
pub struct Reply {
    pub(super) opening: Opening,
    pub(super) hold: Option<Gate>,
    pub(super) parts: Vec<Part>,
    pub(super) chunked: bool,
    pub(super) declared_length: Option<u64>,
    pub(super) end: End,
}

/// What becomes of the connection after the answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// It stays open for the next request, unless the request or the framing forbids it.
    #[default]
    KeepAlive,
    /// It is closed, and the answer said so (`Connection: close`).
    Close,
    /// It is closed without notice.
    HangUp,
    /// It is reset.
    Reset,
    /// Our side is ended without notice; the other side is read until it ends.
    HalfClose,
}

#[derive(Clone, Debug)]
pub(super) enum Opening {
    Head {
        status: u16,
        headers: Vec<(String, String)>,
    },
    Raw(Bytes),
}

#[derive(Clone, Debug)]
pub(super) enum Part {
    Bytes(Bytes),
    /// So many bytes of [`Pattern`](crate::Pattern).
    Generated(u64),
    /// [`Pattern`](crate::Pattern) without end.
    Endless,
    Wait(Gate),
    /// Nothing for so long.
    Pause(Duration),
}

impl Reply {
    /// An answer with this status and, as yet, no body.
    pub fn status(status: u16) -> Self {
        Self::opening(Opening::Head {
            status,
            headers: Vec::new(),
        })
    }

    /// 200 with a text.
    pub fn ok(text: impl Into<String>) -> Self {
        Self::status(200)
            .header("content-type", "text/plain; charset=utf-8")
            .body(text.into())
    }

    /// 200 with a JSON document.
    pub fn json(document: &serde_json::Value) -> Self {
        Self::status(200)
            .header("content-type", "application/json")
            .body(document.to_string())
    }

    /// These bytes in place of a head: interim responses, broken status lines, nothing at all. Parts follow unframed.
    pub fn raw(bytes: impl Into<Bytes>) -> Self {
        Self::opening(Opening::Raw(bytes.into()))
    }

    fn opening(opening: Opening) -> Self {
        Self {
            opening,
            hold: None,
            parts: Vec::new(),
            chunked: false,
            declared_length: None,
            end: End::KeepAlive,
        }
    }

    /// Adds a header field, spelt and placed as given. A field that frames the body replaces the kit's own.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Opening::Head { headers, .. } = &mut self.opening {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Adds these bytes to the body.
    pub fn body(self, bytes: impl Into<Bytes>) -> Self {
        self.part(Part::Bytes(bytes.into()))
    }

    /// Adds `len` bytes of [`Pattern`](crate::Pattern) to the body, made as they are sent.
    pub fn generated(self, len: u64) -> Self {
        self.part(Part::Generated(len))
    }

    /// Adds [`Pattern`](crate::Pattern) without end, in chunks, until the other side goes away.
    pub fn endless(self) -> Self {
        self.part(Part::Endless).chunked()
    }

    /// Stops here, between head and body or between two parts, until the gate opens or the other side goes away.
    pub fn wait(self, gate: &Gate) -> Self {
        self.part(Part::Wait(gate.clone()))
    }

    /// Stops here for so long, or until the other side goes away.
    pub fn pause(self, time: Duration) -> Self {
        self.part(Part::Pause(time))
    }

    /// Adds these bytes to the body, one at a time, with a pause before each.
    pub fn drip(self, bytes: impl Into<Bytes>, pause: Duration) -> Self {
        let bytes = bytes.into();
        (0..bytes.len()).fold(self, |reply, at| reply.pause(pause).body(bytes.slice(at..=at)))
    }

    /// Sends nothing, not even the head, until the gate opens or the other side goes away.
    pub fn hold(mut self, gate: &Gate) -> Self {
        self.hold = Some(gate.clone());
        self
    }

    /// Sends the body in chunks instead of declaring its length.
    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Declares this length whatever the body has. One that is too large is never delivered: the connection closes
    /// without notice after the body, unless another end was asked for.
    pub fn declared_length(mut self, length: u64) -> Self {
        self.declared_length = Some(length);
        if self.end == End::KeepAlive {
            self.end(End::HangUp)
        } else {
            self
        }
    }

    /// What becomes of the connection afterwards.
    pub fn end(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    /// The length of the body, if it has one.
    pub(super) fn length(&self) -> Option<u64> {
        let len = |part: &Part| match part {
            Part::Bytes(bytes) => Some(bytes.len() as u64),
            Part::Generated(len) => Some(*len),
            Part::Endless => None,
            Part::Wait(_) | Part::Pause(_) => Some(0),
        };
        self.parts.iter().map(len).sum()
    }
}
