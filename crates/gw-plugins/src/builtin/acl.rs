//! `acl`: lets in, or keeps out, consumers by the groups they are in.

use bytes::Bytes;
use gw_core::{Consumer, CredentialKind};
use http::StatusCode;
use http::header::{HeaderName, HeaderValue};
use serde_json::Value;
use smallvec::SmallVec;

use crate::cx::{Facts, RequestCx};
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::reply::{Flow, Reply};

/// A kind of gw-core's own: tools write them whatever plugins there are.
const GROUPS: CredentialKind = CredentialKind("acls");

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
        let facts = cx.facts();
        let identity = cx.identity();
        // What is vouched for counts if nobody is known, or only the anonymous consumer, or if it always counts.
        let is_vouched = identity.credential.is_none() || self.always_authenticated;
        let vouched = identity.groups.as_deref().filter(|_| is_vouched);
        let (seen, header) = match (vouched, &identity.consumer) {
            (Some(groups), _) => (
                self.look(&groups.iter().map(|group| &**group).collect()),
                AUTHENTICATED_GROUPS,
            ),
            (None, Some(consumer)) => (self.look(&self.groups(&facts, consumer)), CONSUMER_GROUPS),
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
        headers.remove(CONSUMER_GROUPS);
        headers.remove(AUTHENTICATED_GROUPS);
        if let Some(told) = seen.told {
            headers.insert(header, told);
        }
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
    /// Decides by a caller's groups, and writes them down in one piece of memory.
    fn look(&self, groups: &Groups<'_>) -> Seen {
        let (List::Allow(list) | List::Deny(list)) = &self.list;
        let told = (self.tell && !groups.is_empty()).then(|| {
            let length: usize = groups.iter().map(|group| group.len() + 2).sum();
            let mut told = Vec::with_capacity(length - 2);
            for group in groups {
                if !told.is_empty() {
                    told.extend_from_slice(b", ");
                }
                told.extend_from_slice(group.as_bytes());
            }
            // Note: a name that no header can hold (a line break) leaves the header out rather than altered.
            HeaderValue::from_maybe_shared(Bytes::from(told)).ok()
        });
        Seen {
            any: !groups.is_empty(),
            is_listed: groups
                .iter()
                .any(|group| list.iter().any(|listed| **listed == **group)),
            told: told.flatten(),
        }
    }

    fn groups<'a>(&self, facts: &Facts<'a>, consumer: &Consumer) -> Groups<'a> {
        let acls = facts.config.credentials_of(consumer.id, GROUPS);
        let mut groups: Groups<'a> = acls
            .map(|acl| {
                acl.document
                    .get("group")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            })
            .collect();
        if self.consumer_groups {
            groups.extend(facts.config.groups_of(consumer.id).map(|group| &*group.name));
        }
        groups
    }
}

/// A caller's groups; more than a few are rare.
type Groups<'a> = SmallVec<[&'a str; 8]>;

#[cfg(test)]
mod tests;
