//! What is watched on a connection of HTTP/2: the frames both ways, and the end of a client that floods.

use std::io::IoSlice;
use std::time::Instant;

use tracing::debug;

use super::frames::{Flood, Frames};
use crate::conn::Conn;
use crate::settings::FrameLimits;

/// The frames of a connection, and what is left to say to a client that sent too many.
#[derive(Debug)]
pub(crate) struct Watch {
    frames: Frames,
    over: bool,
    /// The last frame, as far as it has not gone out.
    farewell: Vec<u8>,
}

impl Watch {
    pub(crate) fn new(limits: FrameLimits) -> Self {
        Self {
            frames: Frames::new(limits),
            over: false,
            farewell: Vec::new(),
        }
    }

    /// Whether the client has sent too much: nothing it sends is read any more, and nothing it asked for is sent.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// Looks at what the client sent.
    pub(crate) fn read(&mut self, bytes: &[u8], conn: &Conn) {
        let result = self.frames.read(bytes, Instant::now);
        self.note(result, conn);
    }

    /// Looks at what went out: the first bytes of these. How many of them only keep the connection in order.
    pub(crate) fn wrote(&mut self, bufs: &[IoSlice<'_>], mut written: usize, conn: &Conn) -> u64 {
        let mut order = 0;
        for buf in bufs {
            let bytes = buf.get(..written.min(buf.len())).unwrap_or_default();
            written -= bytes.len();
            let (more, result) = self.frames.wrote(bytes, Instant::now);
            order += more;
            self.note(result, conn);
        }
        order
    }

    fn note(&mut self, result: Result<(), Flood>, conn: &Conn) {
        let Err(flood) = result else { return };
        if self.over {
            return;
        }
        self.over = true;
        self.farewell = self.frames.farewell().map_or_else(Vec::new, Vec::from);
        conn.flooded();
        debug!(client = %conn.client, flood = flood.name(), "a client of HTTP/2 floods its connection");
    }

    /// What is still to be said to it.
    pub(crate) fn farewell(&self) -> &[u8] {
        &self.farewell
    }

    /// So much of it has been said.
    pub(crate) fn said(&mut self, bytes: usize) {
        self.farewell.drain(..bytes.min(self.farewell.len()));
    }
}
