//! The body of an answer, as it comes over the connection of its exchange.

use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};

use super::{ROOM, Unanswered, Wire};

/// How much of an answer's body is left, and how it is framed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Nothing is left.
    Done,
    /// So many bytes.
    Length(u64),
    Chunked(Chunk),
    /// Until the connection ends.
    ToEnd,
}

/// Where in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// A chunk's size comes next.
    Size,
    /// So many of its bytes are left.
    Data(u64),
    /// The line that ends it.
    End,
    Trailers,
}

/// Bound: the line that tells a chunk's size, in bytes.
const LONGEST_LINE: usize = 4 << 10;
/// Bound: all trailers, in bytes.
const LONGEST_TRAILERS: usize = 16 << 10;
/// Bound: how many trailers.
const MOST_TRAILERS: usize = 64;
/// Bound: what is read at once.
const AT_ONCE: u64 = 64 << 10;

type Polled = Poll<Option<Result<Frame<Bytes>, Unanswered>>>;

impl Reader {
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    pub(crate) fn is_done(&self) -> bool {
        *self == Self::Done
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Done => SizeHint::with_exact(0),
            Self::Length(left) => SizeHint::with_exact(*left),
            Self::Chunked(_) | Self::ToEnd => SizeHint::new(),
        }
    }

    /// All of the body, if that is there already.
    pub(crate) fn take_whole(&mut self, wire: &mut Wire) -> Option<Bytes> {
        match *self {
            Self::Length(left) if wire.read.len() as u64 >= left => {
                *self = Self::Done;
                let bytes = wire.read.split_to(usize::try_from(left).ok()?).freeze();
                wire.settle();
                Some(bytes)
            }
            _ => None,
        }
    }

    /// The next piece.
    pub(crate) fn poll_frame(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Polled {
        loop {
            match self.step(&mut wire.read) {
                Ok(Step::Piece(bytes)) => {
                    if self.is_done() {
                        wire.settle();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Ok(Step::Trailers(trailers)) => {
                    wire.settle();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Ok(Step::Nothing) => return Poll::Ready(None),
                Ok(Step::More) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            let room = match self {
                Self::Length(left) | Self::Chunked(Chunk::Data(left)) => AT_ONCE.min(*left),
                _ => AT_ONCE.min(4 * ROOM as u64),
            };
            let room = usize::try_from(room).unwrap_or(ROOM);
            // An upstream that answers while it reads may wait for the rest of the request.
            let sending = !wire.unwritable && wire.poll_send(cx).is_pending();
            let Poll::Ready(count) = wire.poll_fill(cx, room) else {
                let limit = if sending {
                    wire.limits.write
                } else {
                    wire.limits.read
                };
                ready!(wire.stall.poll(cx, limit));
                wire.late = true;
                return Poll::Ready(Some(Err(Unanswered::Late)));
            };
            wire.stall.end();
            match count {
                Ok(0) if *self == Self::ToEnd => {
                    *self = Self::Done;
                    wire.settle();
                    return Poll::Ready(None);
                }
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(Unanswered::Broken))),
                Ok(_) => {}
            }
        }
    }

    /// Goes on as far as what has been read allows.
    fn step(&mut self, read: &mut BytesMut) -> Result<Step, Unanswered> {
        match self {
            Self::Done => Ok(Step::Nothing),
            _ if read.is_empty() => Ok(Step::More),
            Self::ToEnd => Ok(Step::Piece(read.split().freeze())),
            Self::Length(left) => {
                let bytes = take(read, left);
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Step::Piece(bytes))
            }
            Self::Chunked(chunk) => {
                let step = chunk.step(read)?;
                if matches!(step, Step::Trailers(_)) {
                    *self = Self::Done;
                }
                Ok(step)
            }
        }
    }
}

enum Step {
    Piece(Bytes),
    /// The end, of a chunked body.
    Trailers(Option<HeaderMap>),
    /// The end was reached before.
    Nothing,
    /// More must be read.
    More,
}

fn take(read: &mut BytesMut, left: &mut u64) -> Bytes {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(read.len());
    *left -= count as u64;
    read.split_to(count).freeze()
}

impl Chunk {
    fn step(&mut self, read: &mut BytesMut) -> Result<Step, Unanswered> {
        loop {
            match self {
                Self::Size => match size(read)? {
                    Some((length, size)) => {
                        read.advance(length);
                        *self = if size == 0 {
                            Self::Trailers
                        } else {
                            Self::Data(size)
                        };
                    }
                    None => return Ok(Step::More),
                },
                Self::Data(_) if read.is_empty() => return Ok(Step::More),
                Self::Data(left) => {
                    let bytes = take(read, left);
                    if *left == 0 {
                        *self = Self::End;
                    }
                    return Ok(Step::Piece(bytes));
                }
                Self::End => match read.get(..2) {
                    Some(b"\r\n") => {
                        read.advance(2);
                        *self = Self::Size;
                    }
                    Some(_) => return Err(Unanswered::Malformed),
                    None => return Ok(Step::More),
                },
                Self::Trailers => return trailers(read),
            }
        }
    }
}

/// How long the line is that tells a chunk's size, and that size; none if more must be read.
fn size(read: &[u8]) -> Result<Option<(usize, u64)>, Unanswered> {
    match httparse::parse_chunk_size(read) {
        Ok(httparse::Status::Complete((length, size))) if length <= LONGEST_LINE => {
            // Note: what parses it takes no digits for zero, and a bare line feed for part of an extension.
            let line = read.get(..length - 2).unwrap_or_default();
            let strict = line.first().is_some_and(u8::is_ascii_hexdigit) && !line.contains(&b'\n');
            strict
                .then_some(Some((length, size)))
                .ok_or(Unanswered::Malformed)
        }
        Ok(httparse::Status::Partial) if read.len() < LONGEST_LINE => Ok(None),
        _ => Err(Unanswered::Malformed),
    }
}

fn trailers(read: &mut BytesMut) -> Result<Step, Unanswered> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    match httparse::parse_headers(read, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) if length <= LONGEST_TRAILERS => {
            let mut trailers = HeaderMap::with_capacity(fields.len());
            for field in fields {
                let name = HeaderName::from_bytes(field.name.as_bytes());
                let value = HeaderValue::from_bytes(field.value);
                let (Ok(name), Ok(value)) = (name, value) else {
                    return Err(Unanswered::Malformed);
                };
                trailers.append(name, value);
            }
            read.advance(length);
            Ok(Step::Trailers(
                Some(trailers).filter(|trailers| !trailers.is_empty()),
            ))
        }
        Ok(httparse::Status::Partial) if read.len() < LONGEST_TRAILERS => Ok(Step::More),
        _ => Err(Unanswered::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a chunked body that comes in pieces of so many bytes: its data, its trailers, and what is left behind it.
    fn unchunked(text: &[u8], at_once: usize) -> Option<(Vec<u8>, usize, usize)> {
        let (mut reader, mut read) = (Reader::chunked(), BytesMut::new());
        let (mut pieces, mut data) = (text.chunks(at_once), Vec::new());
        loop {
            match reader.step(&mut read).ok()? {
                Step::Piece(bytes) => data.extend_from_slice(&bytes),
                Step::Trailers(trailers) => {
                    assert!(reader.is_done());
                    let rest = read.len() + pieces.map(<[u8]>::len).sum::<usize>();
                    return Some((data, trailers.map_or(0, |trailers| trailers.len()), rest));
                }
                Step::Nothing => return None,
                Step::More => read.extend_from_slice(pieces.next()?),
            }
        }
    }

    #[test]
    fn chunks_are_joined_however_they_come() {
        let whole = |data: &[u8], trailers, rest| Some((data.to_vec(), trailers, rest));
        for (text, joined) in [
            (&b"5\r\nhello\r\n0\r\n\r\n"[..], whole(b"hello", 0, 0)),
            (
                b"3;a=b\r\nhel\r\n02 \r\nlo\r\n0\r\nx: 1\r\ny: 2\r\n\r\nHTTP",
                whole(b"hello", 2, 4),
            ),
            (b"A\r\n0123456789\r\n000\r\n\r\n", whole(b"0123456789", 0, 0)),
            (b"0\r\n\r\n", whole(b"", 0, 0)),
            (b"5\r\nhello\r\n0\r\n", None),
            (b"5\r\nhello0\r\n\r\n", None),
            (b"5\r\nhelloXX0\r\n\r\n", None),
            (b"5\nhello\n0\n\n", None),
            (b"\r\nhello\r\n0\r\n\r\n", None),
            (b"-5\r\nhello\r\n0\r\n\r\n", None),
            (b"0x5\r\nhello\r\n0\r\n\r\n", None),
            (b"5;a\nb\r\nhello\r\n0\r\n\r\n", None),
            (b"10000000000000000\r\nhello", None),
            (b"0\r\na b: c\r\n\r\n", None),
        ] {
            for at_once in [1, 2, 3, text.len()] {
                let text_of = String::from_utf8_lossy(text);
                assert_eq!(unchunked(text, at_once), joined, "{text_of:?} by {at_once}");
            }
        }
    }

    #[test]
    fn lines_and_trailers_have_bounds() {
        let line = [&b"5;"[..], &[b'a'; LONGEST_LINE], b"\r\nhello\r\n0\r\n\r\n"].concat();
        let trailers = [&b"0\r\n"[..], &b"x: 1\r\n".repeat(MOST_TRAILERS + 1), b"\r\n"].concat();
        let long = [&b"0\r\nx: "[..], &[b'a'; LONGEST_TRAILERS], b"\r\n\r\n"].concat();
        for text in [line, trailers, long] {
            for at_once in [1000, text.len()] {
                assert_eq!(unchunked(&text, at_once), None, "{at_once}");
            }
        }
    }
}
