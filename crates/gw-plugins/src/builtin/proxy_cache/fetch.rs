//! A fetch: what is remembered of the request until its answer is there, and what becomes of the answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    AGE, CACHE_CONTROL, CONNECTION, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, RETRY_AFTER, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};
use http::{Method, StatusCode};

use super::condition::Held;
use super::control::{self, Directives};
use super::media::Media;
use super::{KEY, ProxyCache, STATUS, State, Step};
use crate::builtin::keeping::Keeper;
use crate::cache::{Cache, Key, Lead, Said, Stored, Target, Terms};
use crate::cx::ResponseCx;
use crate::reply::Reply;

/// Of this connection, or made anew for each response.
const NOT_KEPT: [HeaderName; 13] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    HeaderName::from_static("trailers"),
    TRANSFER_ENCODING,
    UPGRADE,
    CONTENT_LENGTH,
    AGE,
    STATUS,
    KEY,
];

/// What describes the body: of one piece with it, at whatever place of the chain it is kept.
const OF_THE_BODY: [HeaderName; 6] = [
    CONTENT_TYPE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_DISPOSITION,
    ETAG,
    LAST_MODIFIED,
];

/// What a 304 does not say of the response it is about.
const NOT_OF_A_304: [HeaderName; 5] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    CONTENT_RANGE,
    TRANSFER_ENCODING,
];

/// A request whose answer is on its way.
#[derive(Debug)]
pub(super) struct Fetch {
    target: Target,
    key: Key,
    /// What was kept, and could not be used as it is.
    pub(super) stale: Option<Arc<Stored>>,
    /// What the client has, if the upstream is asked whether the kept one still holds.
    pub(super) held: Option<Held>,
    /// Whether the request shows who it is from.
    pub(super) authorized: bool,
    /// Whether what is kept is for one consumer.
    pub(super) is_for_one: bool,
    /// Whom another plugin tells if the answer is not to be kept.
    keeper: Keeper,
    /// How stale an answer the client takes if the upstream fails.
    pub(super) if_error: Option<Duration>,
    /// The request's headers, for what `Vary` will name.
    pub(super) asked: HeaderMap,
    /// The answer's headers as the upstream sent them.
    pub(super) sent: Option<HeaderMap>,
    /// Others wait for it.
    lead: Option<Lead>,
    keeping: Option<Keeping>,
}

/// An answer that is kept once it is all there.
#[derive(Debug)]
struct Keeping {
    stored: Stored,
    chunks: Vec<Bytes>,
    bytes: usize,
}

/// What a client is told of the cache.
pub(super) struct Shown {
    pub(super) status: Option<&'static str>,
    pub(super) key: Option<Key>,
}

impl Shown {
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if let Some(status) = self.status {
            headers.insert(STATUS, HeaderValue::from_static(status));
        }
        if let Some(key) = self
            .key
            .and_then(|key| HeaderValue::try_from(key.to_string()).ok())
        {
            headers.insert(KEY, key);
        }
    }
}

impl Fetch {
    pub(super) fn new(target: Target, key: Key, lead: Option<Lead>, keeper: Keeper) -> Self {
        Self {
            target,
            key,
            stale: None,
            held: None,
            authorized: false,
            is_for_one: false,
            keeper,
            if_error: None,
            asked: HeaderMap::new(),
            sent: None,
            lead,
            keeping: None,
        }
    }

    /// Takes a chunk of the body; whether it is given up, because there is too much of it.
    pub(super) fn take(&mut self, chunk: &Bytes, most: usize) -> bool {
        let Some(keeping) = &mut self.keeping else {
            return true;
        };
        keeping.bytes += chunk.len();
        if keeping.bytes > most {
            self.keeping = None;
            return true;
        }
        if !chunk.is_empty() {
            keeping.chunks.push(chunk.clone());
        }
        false
    }

    /// Keeps the answer, of which all is there now, unless it was given up.
    pub(super) fn keep(self, cache: &Cache) {
        let Some(mut keeping) = self.keeping else { return };
        // In memory of its own size: a chunk may be a small part of a large buffer.
        let mut body = BytesMut::with_capacity(keeping.bytes);
        keeping
            .chunks
            .iter()
            .for_each(|chunk| body.extend_from_slice(chunk));
        keeping.stored.body = body.freeze();
        cache.store(self.target, self.key, Arc::new(keeping.stored));
        drop(self.lead); // now there is something for the others to find
    }
}

/// The reply with a kept response, or with the news that the client has it already.
pub(super) fn reply(stored: &Stored, headers: HeaderMap, client_has_it: bool) -> Reply {
    let mut reply = match client_has_it {
        true => Reply::bytes(StatusCode::NOT_MODIFIED, Bytes::new()),
        false => Reply::bytes(stored.status, stored.body.clone()),
    };
    reply.headers = headers;
    reply
}

impl ProxyCache {
    /// The answer's head is there.
    pub(super) fn answered(&self, cx: &mut ResponseCx<'_, State>, mut fetch: Box<Fetch>) {
        let status = cx.status();
        if status == StatusCode::NOT_MODIFIED && cx.is_upstream() && fetch.held.is_some() {
            return self.validated(cx, *fetch);
        }
        if self.stands_in(cx, &fetch) {
            return;
        }
        let Some(stored) = self.admitted(cx, &fetch) else {
            cx.state.status = Some("Bypass");
            let superseded = self.controlled && cx.is_upstream() && !status.is_server_error();
            if let Some(stale) = fetch.stale.filter(|_| superseded) {
                self.cache.drop_variant(fetch.target, &fetch.key, &stale);
            }
            return;
        };
        let is_empty = cx.facts().method == Method::HEAD
            || status == StatusCode::NO_CONTENT
            || cx
                .headers()
                .get(CONTENT_LENGTH)
                .is_some_and(|length| length == "0");
        fetch.keeping = Some(Keeping {
            stored,
            chunks: Vec::new(),
            bytes: 0,
        });
        if is_empty {
            fetch.keep(&self.cache); // no chunk will pass
        } else {
            cx.state.step = Step::Fetch(fetch);
        }
    }

    /// The answer as it is kept, without its body; none if it is not to be kept.
    fn admitted(&self, cx: &ResponseCx<'_, State>, fetch: &Fetch) -> Option<Stored> {
        let (status, now) = (cx.status(), cx.facts().now);
        let partial = matches!(status, StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED);
        if partial || !self.codes.contains(&status) || !self.is_of_a_type(cx.headers()) {
            return None;
        }
        if fetch.keeper.is_refused() || self.is_private(cx.headers(), fetch) {
            return None;
        }
        let length = cx
            .headers()
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse::<usize>().ok());
        if cx.facts().method != Method::HEAD && length.is_some_and(|length| length > self.most) {
            return None;
        }
        let sent = fetch.sent.as_ref().unwrap_or(cx.headers());
        let mut stored = Stored {
            status,
            headers: kept(sent, cx.headers()),
            body: Bytes::new(),
            at: now,
            age: Duration::ZERO,
            lifetime: self.ttl,
            kept: Some(self.storage.unwrap_or(self.ttl + Duration::from_secs(1))),
            terms: Terms::default(),
            vary: Box::default(),
            dropped: dropped(sent, cx.headers()),
        };
        if cx.facts().method == Method::HEAD {
            replace(&mut stored.headers, &CONTENT_LENGTH, cx.headers()); // there is no body to tell it
        }
        if self.controlled {
            let told = Directives::of(cx.headers());
            if fetch.authorized && !told.is_for_all() {
                return None;
            }
            stored.vary = vary(cx.headers(), &fetch.asked)?;
            self.date(&mut stored, &told, cx.headers())?;
        }
        Some(stored)
    }

    /// Whether, without `cache_control`, an answer says that it is not for others.
    fn is_private(&self, headers: &HeaderMap, fetch: &Fetch) -> bool {
        if self.controlled || self.shares_private {
            return false;
        }
        let told = Directives::of(headers);
        told.no_store || (told.private && !fetch.is_for_one) || headers.contains_key(SET_COOKIE)
    }

    /// Notes how long it may be used, by its headers; none if it is not to be kept.
    fn date(&self, stored: &mut Stored, told: &Directives, headers: &HeaderMap) -> Option<()> {
        if told.no_store || told.private {
            return None;
        }
        let nothing = told.no_cache.then_some(Duration::ZERO);
        let lifetime = told.lifetime(headers, stored.at).or(nothing)?;
        let can_be_validated = stored.can_be_validated();
        if (lifetime.is_zero() || told.no_cache) && !can_be_validated {
            return None;
        }
        stored.age = control::age(headers, stored.at);
        stored.lifetime = lifetime;
        stored.terms = Terms {
            always_validate: told.no_cache,
            never_stale: told.forbids_stale(),
            if_error: told.stale_if_error,
        };
        let of_use = lifetime.saturating_sub(stored.age) + told.stale_if_error.unwrap_or_default();
        stored.kept = self.storage.or_else(|| (!can_be_validated).then_some(of_use));
        Some(())
    }

    fn is_of_a_type(&self, headers: &HeaderMap) -> bool {
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (Some(kind), None) = (types.next(), types.next()) else {
            return false;
        };
        let kind = kind.to_str().ok().and_then(Media::parse);
        kind.is_some_and(|kind| self.types.iter().any(|range| range.covers(&kind)))
    }

    /// What is kept still holds: it is renewed, and answered with.
    fn validated(&self, cx: &mut ResponseCx<'_, State>, mut fetch: Fetch) {
        let (Some(stale), Some(held)) = (fetch.stale.take(), fetch.held.take()) else {
            return;
        };
        let sent = fetch.sent.take().unwrap_or_else(|| cx.headers().clone());
        let mut renewed = Stored::clone(&stale);
        for name in sent
            .keys()
            .filter(|name| !NOT_OF_A_304.contains(name) && !is_not_kept(name))
        {
            replace(&mut renewed.headers, name, &sent);
        }
        renewed.at = cx.facts().now;
        let told = Directives::of(&renewed.headers);
        // Its own age does not count any more, but that of what has said that it holds.
        let mut dating = renewed.headers.clone();
        replace(&mut dating, &AGE, &sent);
        match self.date(&mut renewed, &told, &dating) {
            Some(()) => self
                .cache
                .store(fetch.target, fetch.key, Arc::new(renewed.clone())),
            None => self.cache.drop_variant(fetch.target, &fetch.key, &stale),
        }
        drop(fetch);
        let mut headers = without(&renewed.headers, &renewed.dropped);
        for name in cx.headers().keys().filter(|name| !NOT_OF_A_304.contains(name)) {
            replace(&mut headers, name, cx.headers());
        }
        self.tell_age(cx.state, &mut headers, renewed.age);
        self.shown(cx.state).write(&mut headers);
        let client_has_it = held.has(&renewed);
        cx.replace(reply(&renewed, headers, client_has_it));
    }

    /// Answers with what was kept where the upstream fails, if that is allowed.
    fn stands_in(&self, cx: &mut ResponseCx<'_, State>, fetch: &Fetch) -> bool {
        let failed = matches!(cx.status().as_u16(), 500 | 502 | 503 | 504);
        let Some(stale) = fetch.stale.as_deref().filter(|_| failed && self.controlled) else {
            return false;
        };
        let age = stale.age(cx.facts().now);
        let late = age.saturating_sub(stale.lifetime);
        let allowed = stale.terms.if_error.max(fetch.if_error);
        if stale.terms.never_stale || allowed.is_none_or(|most| late > most) {
            return false;
        }
        cx.state.status = Some("Stale");
        let mut headers = without(&stale.headers, &stale.dropped);
        // What other plugins have added to the answer; but nothing of what it says of the failure.
        let of_the_failure = |name: &HeaderName| {
            OF_THE_BODY.contains(name)
                || NOT_OF_A_304.contains(name)
                || [RETRY_AFTER, CACHE_CONTROL].contains(name)
                || fetch.sent.as_ref().is_some_and(|sent| sent.contains_key(name))
                || stale.headers.contains_key(name)
        };
        let added: Vec<_> = cx.headers().keys().filter(|name| !of_the_failure(name)).collect();
        for name in added {
            replace(&mut headers, name, cx.headers());
        }
        self.tell_age(cx.state, &mut headers, age);
        self.shown(cx.state).write(&mut headers);
        cx.replace(reply(stale, headers, false));
        true
    }
}

/// The headers without those that are of the upstream's connection only.
pub(super) fn of_the_end(headers: &HeaderMap) -> HeaderMap {
    let mut end = headers.clone();
    for line in headers.get_all(CONNECTION) {
        for name in line
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
        {
            if let Ok(name) = HeaderName::from_bytes(name) {
                end.remove(name);
            }
        }
    }
    end
}

/// What is kept of the headers: those that were sent, for other plugins will see them again; but for those of the body, which
/// is kept as other plugins have left it.
fn kept(sent: &HeaderMap, passed: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(sent.keys_len());
    for (name, value) in sent.iter().filter(|(name, _)| !is_not_kept(name)) {
        headers.append(name.clone(), value.clone());
    }
    for name in &OF_THE_BODY {
        replace(&mut headers, name, passed);
    }
    headers
}

fn is_not_kept(name: &HeaderName) -> bool {
    NOT_KEPT.contains(name) || name.as_str().contains("ratelimit-remaining")
}

/// The headers that other plugins took out.
fn dropped(sent: &HeaderMap, passed: &HeaderMap) -> Box<[HeaderName]> {
    let gone = sent.keys().filter(|name| !passed.contains_key(*name));
    gone.filter(|name| !is_not_kept(name)).cloned().collect()
}

fn without(headers: &HeaderMap, dropped: &[HeaderName]) -> HeaderMap {
    let mut headers = headers.clone();
    dropped.iter().for_each(|name| drop(headers.remove(name)));
    headers
}

fn replace(headers: &mut HeaderMap, name: &HeaderName, from: &HeaderMap) {
    headers.remove(name);
    for value in from.get_all(name) {
        headers.append(name.clone(), value.clone());
    }
}

/// What `Vary` names, with what the request says there; none if no other request is like it.
fn vary(headers: &HeaderMap, asked: &HeaderMap) -> Option<Box<[Said]>> {
    let mut names = Vec::new();
    for line in headers.get_all(VARY) {
        for name in line
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
        {
            match name {
                b"" => {}
                b"*" => return None,
                name => names.push(HeaderName::from_bytes(name).ok()?),
            }
        }
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    let said = |name: HeaderName| {
        let values = asked.get_all(&name).iter().cloned().collect();
        (name, values)
    };
    Some(names.into_iter().map(said).collect())
}
