//! `acl`: lets in, or keeps out, consumers by the groups they are in.

use bytes::Bytes;
use gw_core::{AccessGroups, Consumer};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use smallvec::SmallVec;

use crate::cx::{Facts, RequestCx};
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::reply::{Flow, Reply};

const CONSUMER_GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");
const AUTHENTICATED_GROUPS: HeaderName = HeaderName::from_static("x-authenticated-groups");

pub(crate) struct Acl {
    list: List,
    tell: bool,
    consumer_groups: bool,
    always_authenticated: bool,
}

enum List {
    Allow(Vec<Box<str>>),
    Deny(Vec<Box<str>>),
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    allow: Option<Vec<Box<str>>>,
    deny: Option<Vec<Box<str>>>,
    hide_groups_header: bool,
    include_consumer_groups: bool,
    always_use_authenticated_groups: bool,
}

impl Definition for Acl {
    const NAME: &'static str = "acl";
    const PRIORITY: i32 = 950;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("acl.json");
    const CONSUMER_SCOPE: bool = false;

    type Config = Config;

    fn build(config: Config, _: &BuildEnv) -> Result<Self, BuildError> {
        let deny = config.deny.filter(|groups| !groups.is_empty());
        Ok(Self {
            list: match deny {
                Some(groups) => List::Deny(groups),
                None => List::Allow(config.allow.unwrap_or_default()),
            },
            tell: !config.hide_groups_header,
            consumer_groups: config.include_consumer_groups,
            always_authenticated: config.always_use_authenticated_groups,
        })
    }
}

impl Plugin for Acl {
    type State = ();

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let identity = cx.identity();
        // What is vouched for counts if nobody is known, or only the anonymous consumer, or if it always counts.
        let is_vouched = identity.credential.is_none() || self.always_authenticated;
        let vouched = identity.groups.as_deref().filter(|_| is_vouched);
        let (seen, header) = match (vouched, &identity.consumer) {
            (Some(groups), _) => (
                self.look(&groups.iter().map(|group| &**group).collect()),
                AUTHENTICATED_GROUPS,
            ),
            (None, Some(consumer)) => (self.look_up(cx.facts(), consumer), CONSUMER_GROUPS),
            (None, None) => return Reply::message(StatusCode::UNAUTHORIZED, "Unauthorized").into(),
        };
        let (is_let_in, is_asked) = match self.list {
            List::Allow(_) => (seen.is_listed, true),
            List::Deny(_) => (!seen.is_listed, false),
        };
        if !is_let_in {
            // Somebody without name and groups may do better with credentials; nobody else may.
            let is_stranger = is_asked && !seen.any && identity.credential.is_none();
            return match is_stranger {
                true => Reply::message(StatusCode::UNAUTHORIZED, "Unauthorized").into(),
                false => Reply::message(StatusCode::FORBIDDEN, "You cannot consume this service").into(),
            };
        }
        let headers = cx.headers_mut();
        let (told, other) = match header == CONSUMER_GROUPS {
            true => (CONSUMER_GROUPS, AUTHENTICATED_GROUPS),
            false => (AUTHENTICATED_GROUPS, CONSUMER_GROUPS),
        };
        headers.remove(other);
        match seen.told {
            Some(groups) => headers.insert(told, groups),
            None => headers.remove(told),
        };
        Flow::Continue
    }
}

/// What was found among the groups of a caller.
struct Seen {
    any: bool,
    is_listed: bool,
    /// What the upstream is told, if anything.
    told: Option<HeaderValue>,
}

impl Acl {
    /// Decides by a caller's groups.
    fn look(&self, groups: &Groups<'_>) -> Seen {
        Seen {
            any: !groups.is_empty(),
            is_listed: groups.iter().any(|group| self.lists(group)),
            told: self.tell.then(|| told(groups)).flatten(),
        }
    }

    /// Decides by the groups that a consumer is in.
    fn look_up(&self, facts: &Facts<'_>, consumer: &Consumer) -> Seen {
        let access = facts.config.access_groups(consumer.id).map(|access| &**access);
        let mut more = facts.config.groups_of(consumer.id).peekable();
        if self.consumer_groups && more.peek().is_some() {
            let names = access.map_or(&[][..], |access| &access.names);
            let more = more.map(|group| &*group.name);
            return self.look(&names.iter().map(|name| &**name).chain(more).collect());
        }
        // Written down once for all of the consumer's requests.
        let told = |access: &AccessGroups| {
            let value = || told(&access.names.iter().map(|name| &**name).collect());
            access.told.get_or(value).cloned().flatten()
        };
        Seen {
            any: access.is_some(),
            is_listed: access.is_some_and(|access| access.names.iter().any(|name| self.lists(name))),
            told: access.filter(|_| self.tell).and_then(told),
        }
    }

    fn lists(&self, group: &str) -> bool {
        let (List::Allow(list) | List::Deny(list)) = &self.list;
        list.iter().any(|listed| **listed == *group)
    }
}

/// Groups as an upstream is told of them, in one piece of memory; nothing if there are none.
fn told(groups: &Groups<'_>) -> Option<HeaderValue> {
    let length: usize = groups.iter().map(|group| group.len() + 2).sum();
    let mut told = Vec::with_capacity(length.checked_sub(2)?);
    for group in groups {
        if !told.is_empty() {
            told.extend_from_slice(b", ");
        }
        told.extend_from_slice(group.as_bytes());
    }
    // Note: a name that no header can hold (a line break) leaves the header out rather than altered.
    HeaderValue::from_maybe_shared(Bytes::from(told)).ok()
}

/// A caller's groups; more than a few are rare.
type Groups<'a> = SmallVec<[&'a str; 8]>;

#[cfg(test)]
mod tests;
