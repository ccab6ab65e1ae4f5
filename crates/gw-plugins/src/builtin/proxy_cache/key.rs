//! What a request is kept under.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use crate::builtin::keeping::{ToldApart, Vouched};
use crate::cache::{Key, Target};
use crate::cx::RequestCx;
use crate::steering::UpstreamChoice;

/// What tells requests apart, beside method, place, route and consumer.
#[derive(Debug)]
pub(super) struct Keying {
    pub(super) told_apart: Arc<ToldApart>,
    pub(super) ignore_case: bool,
}

/// A digest of parts, each with its length: no two lists of parts are the same bytes.
struct Parts(Context);

impl Parts {
    fn add(&mut self, part: &[u8]) {
        self.0.update(&(part.len() as u64).to_le_bytes());
        self.0.update(part);
    }

    fn add_lower(&mut self, part: &str) {
        if part.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.add(part.to_ascii_lowercase().as_bytes());
        } else {
            self.add(part.as_bytes());
        }
    }
}

impl Keying {
    pub(super) fn key<S>(&self, cx: &RequestCx<'_, S>) -> Key {
        let (facts, steering) = (cx.facts(), cx.steering());
        let mut parts = Parts(Context::new(&SHA256));
        let consumer = cx
            .identity()
            .consumer
            .as_deref()
            .map(|consumer| consumer.id.to_string());
        parts.add(consumer.as_deref().unwrap_or_default().as_bytes());
        let route = facts.route.map(|route| route.id.to_string());
        parts.add(route.as_deref().unwrap_or("default").as_bytes());
        parts.add(cx.method().as_str().as_bytes());
        parts.add(facts.scheme.as_str().as_bytes());
        parts.add(
            &facts
                .host
                .map_or(Vec::new(), |host| host.as_bytes().to_ascii_lowercase()),
        );
        if self.ignore_case {
            parts.add_lower(cx.uri().path());
        } else {
            parts.add(cx.uri().path().as_bytes());
        }
        self.add_query(&mut parts, cx.uri().query());
        for name in &self.told_apart.headers {
            let values = cx.headers().get_all(name);
            parts.add(&(values.iter().count() as u64).to_le_bytes());
            values.iter().for_each(|value| parts.add(value.as_bytes()));
        }
        // What other plugins have settled about where it goes makes another response of it.
        parts.add(steering.path.as_deref().unwrap_or_default().as_bytes());
        parts.add(steering.host.as_ref().map_or(&[], |host| host.as_bytes()));
        let (kind, upstream) = match steering.upstream {
            None => ("", None),
            Some(UpstreamChoice::Stored(upstream)) => ("stored", Some(upstream)),
            Some(UpstreamChoice::Own(upstream)) => ("own", Some(upstream)),
        };
        parts.add(kind.as_bytes());
        let upstream = upstream.map(|upstream| upstream.to_string());
        parts.add(upstream.as_deref().unwrap_or_default().as_bytes());
        // And what a service has said of the caller, which the upstream is told.
        if let Some(Vouched(said)) = cx.parts.head.extensions.get() {
            for (name, value) in said {
                parts.add(name.as_str().as_bytes());
                parts.add(value.as_bytes());
            }
        }
        let mut key = [0; 32];
        key.copy_from_slice(parts.0.finish().as_ref());
        Key(key)
    }

    /// In the order of their names: those of one name stay in theirs.
    fn add_query(&self, parts: &mut Parts, query: Option<&str>) {
        let counts = |pair: &&str| {
            let told_apart = &self.told_apart;
            let mut named = form_urlencoded::parse(pair.as_bytes());
            told_apart.arguments.is_none() || named.next().is_some_and(|(name, _)| told_apart.argument(&name))
        };
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        let mut pairs: Vec<&str> = pairs.filter(counts).collect();
        pairs.sort_by_key(|pair| pair.split('=').next());
        parts.add(&(pairs.len() as u64).to_le_bytes());
        pairs.iter().for_each(|pair| parts.add(pair.as_bytes()));
    }
}

/// What a request is for, whoever asks, by whichever route, method and arguments.
pub(super) fn target<S>(cx: &RequestCx<'_, S>) -> Target {
    let host = cx
        .facts()
        .host
        .map_or(Vec::new(), |host| host.as_bytes().to_ascii_lowercase());
    let path = cx.uri().path().to_ascii_lowercase();
    // Not seeded: the cache holds it against targets that were found out at other times.
    Target(BuildHasherDefault::<DefaultHasher>::default().hash_one((host, path)))
}
