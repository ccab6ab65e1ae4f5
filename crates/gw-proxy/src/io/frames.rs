//! Counts what a client of HTTP/2 sends besides requests, from the heads of its frames alone.
//!
//! It stands beside the HTTP/2 library, not in its way: it sees the bytes as they pass, in whatever portions, keeps
//! nothing of them but a frame's head, and allocates nothing. It depends on nothing but `std`.

use std::time::{Duration, Instant};

/// What a client of HTTP/2 may send in a second besides requests; more ends its connection with `ENHANCE_YOUR_CALM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameLimits {
    /// Streams reset: by the client, or by the gateway because of what the client sent.
    pub resets: u32,
    /// `SETTINGS` frames.
    pub settings: u32,
    /// `PING` frames, beyond those that what it is sent makes it send.
    pub pings: u32,
    /// `DATA` frames with nothing in them.
    pub empty: u32,
    /// All else that is not a request: `WINDOW_UPDATE`, `PRIORITY` and unknown frames beyond those that what it is sent makes
    /// it send, `CONTINUATION` frames and acknowledgements.
    pub others: u32,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            resets: 200,
            settings: 50,
            pings: 100,
            empty: 100,
            others: 2000,
        }
    }
}

/// What a client sent too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    Resets,
    Settings,
    Pings,
    Empty,
    Others,
}

impl Flood {
    /// The name used in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Resets => "resets",
            Self::Settings => "settings",
            Self::Pings => "pings",
            Self::Empty => "empty data frames",
            Self::Others => "control frames",
        }
    }
}

/// The frames of one connection, both ways.
#[derive(Debug)]
pub(crate) struct Frames {
    inbound: Heads,
    outbound: Heads,
    limits: FrameLimits,
    resets: Rate,
    settings: Rate,
    pings: Rate,
    empty: Rate,
    others: Rate,
    /// How many frames the client may still send because of what it was sent.
    credit: u32,
    last_stream: u32,
}

/// Bound: in frames.
const MOST_CREDIT: u32 = 100_000;

/// What a client that knows beforehand that HTTP/2 is spoken, or has agreed on it, begins with.
const PREFACE_LENGTH: u32 = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;

const ENHANCE_YOUR_CALM: u8 = 11;

impl Frames {
    pub(crate) fn new(limits: FrameLimits) -> Self {
        Self {
            inbound: Heads::after(PREFACE_LENGTH),
            outbound: Heads::after(0),
            limits,
            resets: Rate::default(),
            settings: Rate::default(),
            pings: Rate::default(),
            empty: Rate::default(),
            others: Rate::default(),
            credit: 0,
            last_stream: 0,
        }
    }

    /// Looks at what the client sent. The clock is read when a limit is reached, to see whether that took a second.
    pub(crate) fn read(&mut self, bytes: &[u8], clock: impl Fn() -> Instant) -> Result<(), Flood> {
        let mut inbound = self.inbound;
        let result = inbound.each(bytes, |head| self.came(head, &clock));
        self.inbound = inbound;
        result
    }

    fn came(&mut self, head: Head, clock: &impl Fn() -> Instant) -> Result<(), Flood> {
        let over = |rate: &mut Rate, limit, flood| match rate.is_over(limit, clock) {
            true => Err(flood),
            false => Ok(()),
        };
        match head.kind {
            DATA if head.length == 0 && head.flags & END_STREAM == 0 => {
                over(&mut self.empty, self.limits.empty, Flood::Empty)
            }
            DATA => Ok(()),
            HEADERS => {
                self.last_stream = self.last_stream.max(head.stream);
                self.earn(4);
                Ok(())
            }
            RST_STREAM => over(&mut self.resets, self.limits.resets, Flood::Resets),
            SETTINGS if head.flags & ACK == 0 => {
                over(&mut self.settings, self.limits.settings, Flood::Settings)
            }
            PING if self.spend() => Ok(()),
            PING => over(&mut self.pings, self.limits.pings, Flood::Pings),
            SETTINGS => over(&mut self.others, self.limits.others, Flood::Others),
            _ if self.spend() => Ok(()),
            _ => over(&mut self.others, self.limits.others, Flood::Others),
        }
    }

    /// Looks at what the client was sent; how many bytes of it only keep the connection in order, of frames that begin there.
    pub(crate) fn wrote(&mut self, bytes: &[u8], clock: impl Fn() -> Instant) -> (u64, Result<(), Flood>) {
        let mut outbound = self.outbound;
        let mut order = 0;
        let result = outbound.each(bytes, |head| {
            match head.kind {
                DATA => self.earn(8 + head.length / 1024),
                HEADERS => self.earn(4),
                SETTINGS | PING | GOAWAY | WINDOW_UPDATE => order += u64::from(head.length) + 9,
                RST_STREAM if is_provoked(head.code) && self.resets.is_over(self.limits.resets, &clock) => {
                    return Err(Flood::Resets);
                }
                _ => {}
            }
            Ok(())
        });
        self.outbound = outbound;
        (order, result)
    }

    fn earn(&mut self, frames: u32) {
        self.credit = self.credit.saturating_add(frames).min(MOST_CREDIT);
    }

    fn spend(&mut self) -> bool {
        let has = self.credit > 0;
        self.credit -= u32::from(has);
        has
    }

    /// The frame that ends the connection; none while another is half sent.
    pub(crate) fn farewell(&self) -> Option<[u8; 17]> {
        let [a, b, c, d] = self.last_stream.to_be_bytes();
        let frame = [
            0,
            0,
            8,
            GOAWAY,
            0,
            0,
            0,
            0,
            0,
            a,
            b,
            c,
            d,
            0,
            0,
            0,
            ENHANCE_YOUR_CALM,
        ];
        self.outbound.is_between().then_some(frame)
    }
}

/// Whether a stream is reset because of what the client sent: errors of protocol, flow control, a closed stream, a frame's
/// size, a stream too many, too much.
fn is_provoked(code: u32) -> bool {
    matches!(code, 1 | 3 | 5 | 6 | 7 | 11)
}

/// How often something happened since a moment.
#[derive(Debug, Default)]
struct Rate {
    count: u32,
    since: Option<Instant>,
}

impl Rate {
    /// Counts one; whether that is more than `limit` in a second. Less than twice as many may pass before it is noticed.
    fn is_over(&mut self, limit: u32, clock: &impl Fn() -> Instant) -> bool {
        const SECOND: Duration = Duration::from_secs(1);
        if self.count == 0 && self.since.is_none() {
            self.since = Some(clock());
        }
        self.count += 1;
        if self.count <= limit {
            return false;
        }
        let now = clock();
        let over = self
            .since
            .is_some_and(|since| now.saturating_duration_since(since) < SECOND);
        (self.count, self.since) = (1, Some(now));
        over
    }
}

/// What stands before a frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) length: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    /// Why a stream is reset; 0 of other frames.
    pub(crate) code: u32,
}

/// Finds the heads of frames in bytes that come in any portions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    /// The beginning of a head.
    part: [u8; HEAD + CODE],
    have: u8,
    /// Bytes until the next head.
    skip: u32,
}

const HEAD: usize = 9;
/// The error's code, which is all there is in the payload of a reset.
const CODE: usize = 4;

impl Heads {
    /// Those that come after so many bytes of something else.
    pub(crate) fn after(skip: u32) -> Self {
        Self {
            part: [0; HEAD + CODE],
            have: 0,
            skip,
        }
    }

    /// Whether what came last was the end of a frame.
    pub(crate) fn is_between(&self) -> bool {
        self.have == 0 && self.skip == 0
    }

    /// Calls `look` for each head that these bytes complete, until it fails; the rest is passed over then.
    pub(crate) fn each<E>(
        &mut self,
        mut bytes: &[u8],
        mut look: impl FnMut(Head) -> Result<(), E>,
    ) -> Result<(), E> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = bytes.len().min(self.skip as usize);
                self.skip -= u32::try_from(skipped).unwrap_or(u32::MAX);
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let have = usize::from(self.have);
            let wanted = self.wanted();
            let taken = bytes.len().min(wanted - have);
            let (new, rest) = bytes.split_at(taken);
            if let Some(room) = self.part.get_mut(have..have + taken) {
                room.copy_from_slice(new);
            }
            self.have += u8::try_from(taken).unwrap_or(u8::MAX);
            bytes = rest;
            if usize::from(self.have) == self.wanted() {
                let head = self.head();
                let code = u32::from(self.have) - 9;
                self.skip = head.length - code;
                self.have = 0;
                look(head)?;
            }
        }
        Ok(())
    }

    /// How many bytes a head is: of a reset, its payload too.
    fn wanted(&self) -> usize {
        let [a, b, c, kind, ..] = self.part;
        let is_reset =
            usize::from(self.have) >= HEAD && kind == RST_STREAM && u32::from_be_bytes([0, a, b, c]) >= 4;
        if is_reset { HEAD + CODE } else { HEAD }
    }

    fn head(&self) -> Head {
        let [a, b, c, kind, flags, d, e, f, g, h, i, j, k] = self.part;
        let code = u32::from_be_bytes([h, i, j, k]);
        Head {
            length: u32::from_be_bytes([0, a, b, c]),
            kind,
            flags,
            stream: u32::from_be_bytes([d & 0x7f, e, f, g]),
            code: if usize::from(self.have) > HEAD { code } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests;
