//! Lua's patterns: matching by backtracking, with bounded effort.

use std::ops::Range;

use super::eval::{EvalError, MOST_TEXT};

/// Bound: steps of one search.
const MOST_STEPS: usize = 200_000;
/// Bound: matches within matches.
const DEEPEST: usize = 200;
/// Bound: captures of one pattern, as Lua's.
const MOST_CAPTURES: usize = 32;

/// Where a pattern matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) captures: Vec<Capture>,
}

/// What one pair of brackets took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Capture {
    pub(super) range: Range<usize>,
    /// Whether it is `()`, which captures a place.
    pub(super) position: bool,
    open: bool,
}

/// The first match at or after `from`.
pub(super) fn find(text: &[u8], pattern: &[u8], from: usize) -> Result<Option<Found>, EvalError> {
    let (anchored, pattern) = match pattern.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let mut steps = 0;
    let mut start = from;
    while start <= text.len() {
        let mut search = Search::new(text, pattern, steps);
        if let Some(end) = search.matches(start, 0, 0)? {
            let captures = search.captures;
            return Ok(Some(Found { start, end, captures }));
        }
        steps = search.steps;
        if anchored {
            break;
        }
        start += 1;
    }
    Ok(None)
}

/// The first place at or after `from` where `needle` is.
pub(super) fn find_plain(text: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    if needle.is_empty() {
        return Some(from);
    }
    let place = rest.windows(needle.len()).position(|window| window == needle)?;
    Some(from + place)
}

/// The text with matches replaced, `most` of them; `%1` in the replacement is the first capture, `%0` the match.
pub(super) fn replace(
    text: &[u8],
    pattern: &[u8],
    replacement: &[u8],
    most: i64,
) -> Result<Vec<u8>, EvalError> {
    let anchored = pattern.starts_with(b"^");
    let bare = pattern.strip_prefix(b"^").unwrap_or(pattern);
    let (mut made, mut at, mut done, mut steps) = (Vec::new(), 0, 0, 0);
    while done < most {
        let mut search = Search::new(text, bare, steps);
        let end = search.matches(at, 0, 0)?;
        steps = search.steps;
        if let Some(end) = end {
            done += 1;
            let captures = search.captures;
            let found = Found {
                start: at,
                end,
                captures,
            };
            fill(&mut made, text, replacement, &found)?;
        }
        match end {
            Some(end) if end > at => at = end,
            _ => match text.get(at) {
                Some(byte) => {
                    made.push(*byte);
                    at += 1;
                }
                None => break,
            },
        }
        if made.len() > MOST_TEXT {
            return Err(EvalError::TooMuch);
        }
        if anchored {
            break;
        }
    }
    made.extend_from_slice(text.get(at..).unwrap_or_default());
    Ok(made)
}

fn fill(made: &mut Vec<u8>, text: &[u8], replacement: &[u8], found: &Found) -> Result<(), EvalError> {
    let mut bytes = replacement.iter();
    while let Some(byte) = bytes.next() {
        if *byte != b'%' {
            made.push(*byte);
            continue;
        }
        let range = match bytes.next() {
            Some(b'0') => found.start..found.end,
            Some(digit) if digit.is_ascii_digit() => match found.captures.get(usize::from(digit - b'1')) {
                Some(capture) => capture.range.clone(),
                None if *digit == b'1' => found.start..found.end,
                None => return Err(EvalError::Pattern),
            },
            Some(other) => {
                made.push(*other);
                continue;
            }
            None => return Err(EvalError::Pattern),
        };
        made.extend_from_slice(text.get(range).unwrap_or_default());
    }
    Ok(())
}

struct Search<'t> {
    text: &'t [u8],
    pattern: &'t [u8],
    captures: Vec<Capture>,
    steps: usize,
}

impl<'t> Search<'t> {
    fn new(text: &'t [u8], pattern: &'t [u8], steps: usize) -> Self {
        Self {
            text,
            pattern,
            captures: Vec::new(),
            steps,
        }
    }

    fn step(&mut self) -> Result<(), EvalError> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            Err(EvalError::TooMuch)
        } else {
            Ok(())
        }
    }

    fn at(&self, p: usize) -> Option<u8> {
        self.pattern.get(p).copied()
    }

    /// Where the match of the pattern from `p` ends, if the text from `s` matches it.
    fn matches(&mut self, mut s: usize, mut p: usize, depth: usize) -> Result<Option<usize>, EvalError> {
        if depth > DEEPEST {
            return Err(EvalError::TooMuch);
        }
        loop {
            self.step()?;
            match (self.at(p), self.at(p + 1)) {
                (None, _) if self.captures.iter().any(|capture| capture.open) => {
                    return Err(EvalError::Pattern);
                }
                (None, _) => return Ok(Some(s)),
                (Some(b'('), Some(b')')) => return self.open(s, p + 2, true, depth),
                (Some(b'('), _) => return self.open(s, p + 1, false, depth),
                (Some(b')'), _) => return self.close(s, p + 1, depth),
                (Some(b'$'), None) => return Ok((s == self.text.len()).then_some(s)),
                (Some(b'%'), Some(b'b' | b'f')) => return Err(EvalError::Pattern), // Rare, and not here.
                (Some(b'%'), Some(digit)) if digit.is_ascii_digit() => match self.again(s, digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => return Ok(None),
                },
                _ => {
                    let after = self.item_end(p)?;
                    match self.at(after) {
                        Some(b'?') => {
                            if self.is_item(s, p, after)
                                && let Some(end) = self.matches(s + 1, after + 1, depth + 1)?
                            {
                                return Ok(Some(end));
                            }
                            p = after + 1;
                        }
                        Some(b'+') if !self.is_item(s, p, after) => return Ok(None),
                        Some(b'+') => return self.most(s + 1, p, after, depth),
                        Some(b'*') => return self.most(s, p, after, depth),
                        Some(b'-') => return self.fewest(s, p, after, depth),
                        _ if self.is_item(s, p, after) => (s, p) = (s + 1, after),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    fn open(&mut self, s: usize, p: usize, position: bool, depth: usize) -> Result<Option<usize>, EvalError> {
        if self.captures.len() == MOST_CAPTURES {
            return Err(EvalError::TooMuch);
        }
        let level = self.captures.len();
        self.captures.push(Capture {
            range: s..s,
            position,
            open: !position,
        });
        let end = self.matches(s, p, depth + 1)?;
        if end.is_none() {
            self.captures.truncate(level);
        }
        Ok(end)
    }

    fn close(&mut self, s: usize, p: usize, depth: usize) -> Result<Option<usize>, EvalError> {
        let level = self
            .captures
            .iter()
            .rposition(|capture| capture.open)
            .ok_or(EvalError::Pattern)?;
        let capture = self.captures.get_mut(level).ok_or(EvalError::Pattern)?;
        capture.open = false;
        capture.range.end = s;
        let end = self.matches(s, p, depth + 1)?;
        if end.is_none()
            && let Some(capture) = self.captures.get_mut(level)
        {
            capture.open = true;
        }
        Ok(end)
    }

    /// `%1`: what an earlier capture took, again.
    fn again(&self, s: usize, digit: u8) -> Result<Option<usize>, EvalError> {
        let level = usize::from(digit)
            .checked_sub(usize::from(b'1'))
            .ok_or(EvalError::Pattern)?;
        let capture = self
            .captures
            .get(level)
            .filter(|capture| !capture.open)
            .ok_or(EvalError::Pattern)?;
        let taken = self.text.get(capture.range.clone()).unwrap_or_default();
        let rest = self.text.get(s..).unwrap_or_default();
        Ok(rest.starts_with(taken).then(|| s + taken.len()))
    }

    /// As many items as there are, then fewer.
    fn most(&mut self, s: usize, p: usize, after: usize, depth: usize) -> Result<Option<usize>, EvalError> {
        let mut taken = 0;
        while self.is_item(s + taken, p, after) {
            self.step()?;
            taken += 1;
        }
        loop {
            if let Some(end) = self.matches(s + taken, after + 1, depth + 1)? {
                return Ok(Some(end));
            }
            match taken.checked_sub(1) {
                Some(fewer) => taken = fewer,
                None => return Ok(None),
            }
        }
    }

    /// As few items as will do.
    fn fewest(
        &mut self,
        mut s: usize,
        p: usize,
        after: usize,
        depth: usize,
    ) -> Result<Option<usize>, EvalError> {
        loop {
            if let Some(end) = self.matches(s, after + 1, depth + 1)? {
                return Ok(Some(end));
            }
            if !self.is_item(s, p, after) {
                return Ok(None);
            }
            s += 1;
        }
    }

    /// Where the item at `p` ends in the pattern: a character, a class, a set.
    fn item_end(&self, p: usize) -> Result<usize, EvalError> {
        match self.at(p) {
            Some(b'%') => match self.at(p + 1) {
                Some(_) => Ok(p + 2),
                None => Err(EvalError::Pattern),
            },
            Some(b'[') => {
                let mut q = p + 1;
                q += usize::from(self.at(q) == Some(b'^'));
                // The first `]` of a set is one of its members.
                loop {
                    let byte = self.at(q).ok_or(EvalError::Pattern)?;
                    q += if byte == b'%' { 2 } else { 1 };
                    if self.at(q) == Some(b']') {
                        return Ok(q + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    fn is_item(&self, s: usize, p: usize, after: usize) -> bool {
        let Some(&byte) = self.text.get(s) else {
            return false;
        };
        match self.at(p) {
            Some(b'.') => true,
            Some(b'%') => self.at(p + 1).is_some_and(|class| is_class(byte, class)),
            Some(b'[') => self.is_in_set(byte, p + 1, after - 1),
            literal => literal == Some(byte),
        }
    }

    /// Whether a byte is in the set between the places `p` and `end`.
    fn is_in_set(&self, byte: u8, mut p: usize, end: usize) -> bool {
        let wanted = self.at(p) != Some(b'^');
        p += usize::from(!wanted);
        while p < end {
            let Some(member) = self.at(p) else { break };
            if member == b'%' {
                if self.at(p + 1).is_some_and(|class| is_class(byte, class)) {
                    return wanted;
                }
                p += 2;
            } else if self.at(p + 1) == Some(b'-') && p + 2 < end {
                if self.at(p + 2).is_some_and(|last| (member..=last).contains(&byte)) {
                    return wanted;
                }
                p += 3;
            } else if member == byte {
                return wanted;
            } else {
                p += 1;
            }
        }
        !wanted
    }
}

/// Whether a byte is of the class `%a`, `%d`, …; in capitals: is not.
fn is_class(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 11,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is != class.is_ascii_uppercase()
}
