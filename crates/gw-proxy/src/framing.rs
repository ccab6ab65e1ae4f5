//! Follows the bytes of an HTTP/1 connection before they are parsed, and stops where two readers could part its messages
//! differently.

#[cfg(test)]
mod tests;

/// What came of looking at bytes that have just been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// All of them may be parsed.
    Whole,
    /// Only the first `at` may, and then, in place of all that follows, what no parser takes.
    Refused {
        at: usize,
        instead: &'static [u8],
        why: &'static str,
    },
    /// Only the first `at` may, for now: what follows is HTTP or not, as the answer to an upgrade will say.
    Undecided { at: usize },
}

/// Where one is in the messages of a connection. One pass, no allocation, the same verdict however the bytes were split.
///
/// It refuses what the parser behind it would take and another server may read differently: lines that end in a bare
/// line feed, a length that is given twice, in two ways or oddly, codings other than `chunked`, a target with a
/// fragment, and chunks that are not written as the grammar has them. Bytes that have no place in a head at all, such as
/// controls, are left to the parser, which refuses them.
#[derive(Debug)]
pub(crate) struct Framing {
    state: State,
    /// The byte before, where that matters.
    last: u8,
    /// Of the head being read: its framing.
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    /// Of the body: what is left of it, or of a chunk.
    left: u64,
    /// Of a chunk's line: digits, or bytes of extension, so far.
    count: u16,
    /// Heads that have come whole.
    heads: u32,
    /// How long the last request line is, as far as it has come.
    line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before a request line; one empty line may come.
    Gap,
    GapLf,
    /// The same, and it has come.
    Begin,
    RequestLine,
    /// At the start of a line of a head.
    Line,
    /// In the name of a header that may be this one; so many of its bytes have come.
    Name(Known, u8),
    /// In the length: before its first digit, in its digits, after them.
    LengthBefore,
    Length(u64),
    LengthAfter,
    /// In the coding: before its name, in it, after it.
    CodingBefore,
    Coding(u8),
    CodingAfter,
    /// In a line of which only the end matters.
    Rest,
    /// After the carriage return of a line's end.
    LineLf,
    /// After the carriage return of a head's end.
    HeadLf,
    Body,
    ChunkSize,
    ChunkSpace,
    /// After the `;` of an extension, of which a name has to come.
    ExtensionName,
    Extension,
    ChunkLf,
    ChunkData,
    DataCr,
    DataLf,
    /// At the start of a line after the last chunk.
    TrailerLine,
    Trailer,
    TrailersLf,
    /// Behind a request for an upgrade.
    Upgrade,
    /// What follows is not looked at: it is refused, or no HTTP.
    Over,
}

/// Headers that say how a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Length,
    Coding,
    Upgrade,
}

impl Known {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Length => b"content-length",
            Self::Coding => b"transfer-encoding",
            Self::Upgrade => b"upgrade",
        }
    }
}

/// Bound: extensions of one chunk, which no known client uses.
const EXTENSION: u16 = 256;

/// Bound: digits of a chunk's size; more would overflow.
const DIGITS: u16 = 16;

/// How many bytes a step has taken, or which may not come, and why.
type Step = Result<usize, (usize, &'static str)>;

const BARE: &str = "a line ends in a bare line feed";
const RETURN: &str = "a carriage return without its line feed";
const TWICE: &str = "the message's end is given twice";
const LENGTH: &str = "a length that is not one plain number";
const CODING: &str = "a transfer coding other than chunked";
const FOLD: &str = "a line that begins with white space";
const CHUNK: &str = "a chunk's line that is none";

impl Framing {
    pub(crate) const fn new() -> Self {
        Self {
            state: State::Gap,
            last: 0,
            length: None,
            chunked: false,
            upgrade: false,
            left: 0,
            count: 0,
            heads: 0,
            line: 0,
        }
    }

    /// How many heads have come whole.
    pub(crate) const fn heads(&self) -> u32 {
        self.heads
    }

    /// How long the last request line is, as far as it has come.
    pub(crate) const fn line(&self) -> usize {
        self.line
    }

    /// Whether what follows depends on the answer to an upgrade.
    pub(crate) fn is_undecided(&self) -> bool {
        self.state == State::Upgrade
    }

    /// Whether a message has come whole and no other has begun.
    pub(crate) fn is_between(&self) -> bool {
        matches!(self.state, State::Gap | State::Upgrade)
    }

    /// Whether nothing that follows is looked at.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The upgrade was not granted: another request may follow.
    pub(crate) fn decline(&mut self) {
        if self.is_undecided() {
            self.state = State::Gap;
        }
    }

    /// What follows is no HTTP.
    pub(crate) fn end(&mut self) {
        self.state = State::Over;
    }

    /// Looks at what has been read.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Reading {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let step = match self.state {
                State::Over => return Reading::Whole,
                State::Upgrade => return Reading::Undecided { at },
                State::RequestLine | State::Rest | State::Trailer => self.skip_line(rest),
                // What most bytes are of, in one step each.
                State::Gap if !matches!(rest[0], b'\r' | b'\n') => {
                    self.begin();
                    self.skip_line(rest)
                }
                State::Line if is_other(rest) => {
                    self.rest(State::Rest);
                    self.skip_line(rest)
                }
                State::Line if rest.starts_with(b"\r\n") => {
                    self.state = self.complete();
                    Ok(2)
                }
                State::Line => match self.plain_length(rest) {
                    Some(taken) => Ok(taken),
                    None => self.head(rest[0]),
                },
                State::Body | State::ChunkData => Ok(self.skip_data(rest)),
                State::ChunkSize
                | State::ChunkSpace
                | State::ExtensionName
                | State::Extension
                | State::ChunkLf
                | State::DataCr
                | State::DataLf
                | State::TrailerLine
                | State::TrailersLf => self.chunk(rest[0]),
                _ => self.head(rest[0]),
            };
            match step {
                Ok(taken) => at += taken,
                Err((taken, why)) => {
                    let instead = self.poison();
                    self.state = State::Over;
                    let at = at + taken;
                    return Reading::Refused { at, instead, why };
                }
            }
        }
        Reading::Whole
    }

    /// Goes to the end of a line.
    fn skip_line(&mut self, rest: &[u8]) -> Step {
        let is_request = self.state == State::RequestLine;
        let found = match is_request {
            true => memchr::memchr2(b'\n', b'#', rest),
            false => memchr::memchr(b'\n', rest),
        };
        let taken = found.unwrap_or(rest.len());
        if is_request {
            self.line += taken;
        }
        let before = taken.checked_sub(1).map_or(self.last, |at| rest[at]);
        let Some(end) = found else {
            self.last = before;
            return Ok(taken);
        };
        if rest[end] == b'#' {
            return Err((end, "a target with a fragment"));
        }
        if before != b'\r' {
            return Err((end, BARE));
        }
        self.state = match self.state {
            State::Trailer => State::TrailerLine,
            _ => State::Line,
        };
        Ok(end + 1)
    }

    /// Takes a line that gives the body's length, if it has come whole and is written as nearly all are. What is written
    /// otherwise is looked at byte by byte.
    fn plain_length(&mut self, rest: &[u8]) -> Option<usize> {
        const NAME: &[u8] = b"content-length: ";
        const MOST: usize = 15;
        let (name, value) = rest.split_at_checked(NAME.len())?;
        if !name.eq_ignore_ascii_case(NAME) || self.chunked || self.length.is_some() {
            return None;
        }
        let count = value.iter().position(|byte| !byte.is_ascii_digit())?;
        let (digits, end) = value.split_at(count);
        if !matches!(digits, [b'1'..=b'9', more @ ..] if more.len() < MOST) || !end.starts_with(b"\r\n") {
            return None;
        }
        let number = digits
            .iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
        self.length = Some(number);
        Some(NAME.len() + count + 2)
    }

    fn skip_data(&mut self, rest: &[u8]) -> usize {
        let taken = usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
        self.left -= taken as u64;
        if self.left == 0 {
            self.state = match self.state {
                State::Body => State::Gap,
                _ => State::DataCr,
            };
        }
        taken
    }

    /// A byte of a head.
    fn head(&mut self, byte: u8) -> Step {
        self.state = match (self.state, byte) {
            (State::Gap | State::Begin | State::Line, b'\n') => return Err((0, BARE)),
            (State::Gap, b'\r') => State::GapLf,
            (State::GapLf, b'\n') => State::Begin,
            (State::Begin, b'\r') => return Err((0, "more than one empty line before a request")),
            (State::Gap | State::Begin, _) => return Ok(self.begin()),
            (State::Line, b'\r') => State::HeadLf,
            (State::Line, b' ' | b'\t') => return Err((0, FOLD)),
            (State::Line, b'c' | b'C') => State::Name(Known::Length, 1),
            (State::Line, b't' | b'T') => State::Name(Known::Coding, 1),
            (State::Line, b'u' | b'U') => State::Name(Known::Upgrade, 1),
            (State::Line, _) => return Ok(self.rest(State::Rest)),
            (State::Name(known, come), _) => match known.name().get(usize::from(come)) {
                Some(next) if byte.to_ascii_lowercase() == *next => State::Name(known, come + 1),
                None if byte == b':' => self.found(known)?,
                _ => return Ok(self.rest(State::Rest)),
            },
            (
                State::LengthBefore | State::LengthAfter | State::CodingBefore | State::CodingAfter,
                b' ' | b'\t',
            ) => self.state,
            (State::LengthBefore, b'0'..=b'9') => State::Length(u64::from(byte - b'0')),
            (State::Length(number @ 1..), b'0'..=b'9') => {
                let longer = number.checked_mul(10);
                let longer = longer.and_then(|longer| longer.checked_add(u64::from(byte - b'0')));
                State::Length(longer.ok_or((0, LENGTH))?)
            }
            (State::Length(number), b'\r' | b' ' | b'\t') => {
                self.length = Some(number);
                if byte == b'\r' {
                    State::LineLf
                } else {
                    State::LengthAfter
                }
            }
            (State::LengthAfter | State::CodingAfter, b'\r') => State::LineLf,
            (State::LengthBefore | State::Length(_) | State::LengthAfter, _) => return Err((0, LENGTH)),
            (State::CodingBefore, b'c' | b'C') => State::Coding(1),
            (State::Coding(come), _) => match b"chunked".get(usize::from(come)) {
                Some(next) if byte.to_ascii_lowercase() == *next => State::Coding(come + 1),
                None if byte == b'\r' => State::LineLf,
                None if matches!(byte, b' ' | b'\t') => State::CodingAfter,
                _ => return Err((0, CODING)),
            },
            (State::CodingBefore | State::CodingAfter, _) => return Err((0, CODING)),
            (State::LineLf, b'\n') => State::Line,
            (State::HeadLf, b'\n') => self.complete(),
            _ => return Err((0, RETURN)),
        };
        Ok(1)
    }

    /// A request line begins; of the head before nothing counts any more.
    fn begin(&mut self) -> usize {
        (self.length, self.chunked, self.upgrade) = (None, false, false);
        self.line = 0;
        self.rest(State::RequestLine)
    }

    /// Of the line only the end matters, from this byte on.
    fn rest(&mut self, state: State) -> usize {
        self.last = 0;
        self.state = state;
        0
    }

    fn found(&mut self, known: Known) -> Result<State, (usize, &'static str)> {
        let is_framed = self.chunked || self.length.is_some();
        Ok(match known {
            Known::Length | Known::Coding if is_framed => return Err((0, TWICE)),
            Known::Length => State::LengthBefore,
            Known::Coding => {
                self.chunked = true; // or it is refused
                State::CodingBefore
            }
            Known::Upgrade => {
                self.upgrade = true;
                self.last = 0;
                State::Rest
            }
        })
    }

    /// A head has come whole.
    fn complete(&mut self) -> State {
        self.heads = self.heads.wrapping_add(1);
        self.left = self.length.unwrap_or(0);
        self.count = 0;
        match (self.chunked, self.left) {
            (true, _) => State::ChunkSize,
            (false, 1..) => State::Body,
            (false, 0) if self.upgrade => State::Upgrade,
            (false, 0) => State::Gap,
        }
    }

    /// A byte of a chunked body, outside of its data.
    fn chunk(&mut self, byte: u8) -> Step {
        self.state = match (self.state, byte) {
            (State::ChunkSize, b'\r') if self.count > 0 => State::ChunkLf,
            (State::ChunkSize, b' ' | b'\t') if self.count > 0 => State::ChunkSpace,
            (State::ChunkSize, b';') if self.count > 0 => {
                self.count = 0;
                State::ExtensionName
            }
            (State::ChunkSize, _) => {
                let digit = char::from(byte).to_digit(16).ok_or((0, CHUNK))?;
                self.count(DIGITS)?;
                self.left = self.left << 4 | u64::from(digit);
                State::ChunkSize
            }
            (State::ChunkSpace | State::ExtensionName, b' ' | b'\t') => {
                self.count(EXTENSION)?;
                self.state
            }
            (State::ChunkSpace | State::Extension, b';') => {
                self.count(EXTENSION)?;
                State::ExtensionName
            }
            (State::Extension, b'\r') => State::ChunkLf,
            (State::Extension, b' '..=b'~' | b'\t' | 0x80..) => {
                self.count(EXTENSION)?;
                State::Extension
            }
            (State::ExtensionName, _) if is_token(byte) => State::Extension,
            (State::ChunkSpace | State::ExtensionName | State::Extension, _) => return Err((0, CHUNK)),
            (State::ChunkLf, b'\n') if self.left == 0 => State::TrailerLine,
            (State::ChunkLf, b'\n') => State::ChunkData,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => {
                self.count = 0;
                State::ChunkSize
            }
            (State::DataCr | State::DataLf, _) => return Err((0, "data that is longer than its chunk")),
            (State::TrailerLine, b'\r') => State::TrailersLf,
            (State::TrailerLine, b' ' | b'\t') => return Err((0, FOLD)),
            (State::TrailerLine, b'\n') => return Err((0, BARE)),
            (State::TrailerLine, _) => return Ok(self.rest(State::Trailer)),
            (State::TrailersLf, b'\n') => State::Gap,
            _ => return Err((0, RETURN)),
        };
        Ok(1)
    }

    fn count(&mut self, most: u16) -> Result<(), (usize, &'static str)> {
        self.count += 1;
        if self.count > most {
            Err((0, CHUNK))
        } else {
            Ok(())
        }
    }

    /// What no parser takes here, so that it answers what came before in order, refuses this, and reads no more.
    fn poison(&self) -> &'static [u8] {
        match self.state {
            State::ExtensionName | State::Extension => b"\n",
            State::ChunkSize | State::ChunkSpace | State::ChunkLf | State::DataCr | State::DataLf => b"\0",
            // It looks for the end before it looks at the rest.
            _ => b"\0\r\n\r\n",
        }
    }
}

/// Whether a line of a head that begins so neither ends the head nor frames the message.
fn is_other(rest: &[u8]) -> bool {
    let known = match rest.first() {
        Some(b'c' | b'C') => Known::Length,
        Some(b't' | b'T') => Known::Coding,
        Some(b'u' | b'U') => Known::Upgrade,
        Some(b' ' | b'\t' | b'\r' | b'\n') | None => return false,
        Some(_) => return true,
    };
    let name = known.name();
    let come = rest.get(..name.len());
    come.is_some_and(|come| !come.eq_ignore_ascii_case(name))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
