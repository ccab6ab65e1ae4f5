//! What a request sticks to a target by: one number, made once for all of its tries.

use std::borrow::Cow;

use gw_balancer::Policy;
use gw_core::{HashCookie, HashInput, Hashing, Upstream};
use gw_plugins::Identity;
use http::header::{COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use http::{HeaderMap, request};
use memchr::{memchr, memchr2};
use smallvec::SmallVec;
use uuid::Uuid;

/// How the requests to an upstream stick to its targets.
#[derive(Debug)]
pub(crate) struct Sticking {
    hashing: Hashing,
    policy: Policy,
}

/// What a request sticks by, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Stuck {
    /// Of each input, what its route and its path gave.
    routed: [Option<u64>; 2],
    /// None if it has nothing to stick by: such requests are spread.
    pub(crate) key: Option<u64>,
    /// The cookie it was given.
    cookie: Option<Box<MadeCookie>>,
}

/// A cookie for the client to come back with.
#[derive(Debug)]
struct MadeCookie {
    /// How many bytes of `line` are its name and the sign behind it.
    name: usize,
    line: HeaderValue,
}

/// Bytes put together on the stack, unless there are many.
type Joined = SmallVec<[u8; 128]>;

impl Sticking {
    /// None if the upstream's requests stick to nothing.
    pub(crate) fn new(upstream: &Upstream) -> Option<Self> {
        let hashing = upstream.hashing.clone().filter(|_| upstream.policy.is_keyed())?;
        let policy = upstream.policy.clone();
        Some(Self { hashing, policy })
    }

    /// What the route and the path say, before a plugin changes the path.
    pub(crate) fn routed<'q>(&self, path: &str, param: impl Fn(&str) -> Option<&'q str>) -> Stuck {
        let mut stuck = Stuck::default();
        for (input, key) in self.hashing.inputs().zip(&mut stuck.routed) {
            let value = match input {
                HashInput::Path => Some(path),
                HashInput::UriCapture(name) => param(name),
                _ => None,
            };
            *key = value.and_then(|value| self.key(value.as_bytes()));
        }
        stuck
    }

    /// What the rest of the request says. A cookie is made if it comes to that.
    pub(crate) fn settle(
        &self,
        stuck: &mut Stuck,
        identity: &Identity,
        client: &HeaderValue,
        head: &request::Parts,
    ) {
        for (place, input) in self.hashing.inputs().enumerate() {
            stuck.key = match input {
                HashInput::Path | HashInput::UriCapture(_) => stuck.routed.get(place).copied().flatten(),
                HashInput::Consumer => self.caller(identity),
                HashInput::Ip => self.key(client.as_bytes()),
                HashInput::Header(name) => self.header(&head.headers, name),
                HashInput::QueryArg(name) => self.argument(head.uri.query().unwrap_or_default(), name),
                HashInput::Cookie(cookie) => {
                    let came = cookie_value(&head.headers, &cookie.name).and_then(|value| self.key(value));
                    came.or_else(|| self.bake(cookie, stuck))
                }
                _ => None,
            };
            if stuck.key.is_some() {
                return;
            }
        }
    }

    /// Nothing is as good as absent: everybody who sends nothing would go to one target.
    fn key(&self, bytes: &[u8]) -> Option<u64> {
        (!bytes.is_empty()).then(|| self.policy.key(bytes))
    }

    fn caller(&self, identity: &Identity) -> Option<u64> {
        let consumer = identity.consumer.as_ref().map(|consumer| consumer.id.uuid());
        let id = consumer.or_else(|| Some(identity.credential.as_ref()?.id.uuid()))?;
        let mut text = Uuid::encode_buffer();
        self.key(id.hyphenated().encode_lower(&mut text).as_bytes())
    }

    fn header(&self, headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
        let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let first = values.next()?;
        let Some(second) = values.next() else {
            return self.key(first);
        };
        let mut joined = Joined::from_slice(first);
        for value in std::iter::once(second).chain(values) {
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(value);
        }
        self.key(&joined)
    }

    fn argument(&self, query: &str, name: &str) -> Option<u64> {
        let mut values = argument_values(query, name);
        let first = values.next()?;
        let Some(second) = values.next() else {
            return self.key(&first);
        };
        let mut all: SmallVec<[Cow<'_, [u8]>; 8]> = SmallVec::new();
        all.extend([first, second]);
        all.extend(values);
        all.sort_unstable();
        let mut joined = Joined::new();
        for (place, value) in all.iter().enumerate() {
            if place > 0 {
                joined.push(b',');
            }
            joined.extend_from_slice(value);
        }
        self.key(&joined)
    }

    /// Makes a cookie whose value is new.
    fn bake(&self, cookie: &HashCookie, stuck: &mut Stuck) -> Option<u64> {
        let value = uuid::Builder::from_random_bytes(fastrand::u128(..).to_ne_bytes()).into_uuid();
        let mut text = Uuid::encode_buffer();
        let value = &*value.hyphenated().encode_lower(&mut text);
        let line = [
            &*cookie.name,
            "=",
            value,
            "; Path=",
            &cookie.path,
            "; SameSite=Lax; HttpOnly",
        ]
        .concat();
        stuck.cookie = Some(Box::new(MadeCookie {
            name: cookie.name.len() + 1,
            line: HeaderValue::try_from(line).ok()?,
        }));
        self.key(value.as_bytes())
    }
}

impl Stuck {
    /// Gives the client the cookie that was made for it, in place of one of that name that the upstream sets.
    pub(crate) fn set_cookie(&mut self, headers: &mut HeaderMap) {
        let Some(MadeCookie { name, line }) = self.cookie.take().map(|cookie| *cookie) else {
            return;
        };
        let name = line.as_bytes().get(..name).unwrap_or_default();
        let mut theirs = headers.get_all(SET_COOKIE).iter();
        if theirs.any(|line| line.as_bytes().starts_with(name)) {
            let theirs = headers.get_all(SET_COOKIE).iter();
            let others = theirs.filter(|line| !line.as_bytes().starts_with(name));
            let others: Vec<HeaderValue> = others.cloned().collect();
            headers.remove(SET_COOKIE);
            headers.extend(others.into_iter().map(|line| (SET_COOKIE, line)));
        }
        headers.append(SET_COOKIE, line);
    }
}

/// The value of the first cookie of this name.
fn cookie_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let lines = headers.get_all(COOKIE).into_iter();
    let mut pieces = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pieces.find_map(|piece| {
        let end = memchr(b'=', piece)?;
        let (found, value) = (piece.get(..end)?, piece.get(end + 1..)?);
        (found.trim_ascii() == name.as_bytes()).then(|| value.trim_ascii())
    })
}

/// The values of an argument. One without a sign has the value `true`.
fn argument_values<'q>(query: &'q str, name: &str) -> impl Iterator<Item = Cow<'q, [u8]>> {
    let pieces = query.as_bytes().split(|byte| *byte == b'&');
    pieces.filter_map(move |piece| {
        let (found, value) = match memchr(b'=', piece) {
            Some(end) => (piece.get(..end)?, piece.get(end + 1..)),
            None => (piece, None),
        };
        let is_it = found == name.as_bytes() || *decoded(found) == *name.as_bytes();
        is_it.then(|| value.map_or(Cow::Borrowed(&b"true"[..]), decoded))
    })
}

/// What an argument's name or value stands for. A `%` that begins no byte is itself.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr2(b'%', b'+', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        plain.push(match byte {
            b'+' => b' ',
            b'%' => match hex_byte(after) {
                Some(byte) => {
                    rest = after.get(2..).unwrap_or_default();
                    byte
                }
                None => b'%',
            },
            byte => *byte,
        });
    }
    Cow::Owned(plain)
}

fn hex_byte(text: &[u8]) -> Option<u8> {
    let digit = |place: usize| char::from(*text.get(place)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests;
