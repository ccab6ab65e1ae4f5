//! Whom a call is counted for, as Kong's limiting plugins say it.

use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;

use gw_core::{Consumer, Credential, Id, Service};
use http::HeaderName;

use crate::cx::{Facts, RequestCx};
use crate::identity::Identity;
use crate::limits::refused;
use crate::limits::table::{Kept, Key, Table};
use crate::plugin::BuildError;

/// What callers are told apart by. Where a call does not have it, the client's address stands in.
#[derive(Clone, Debug)]
pub(crate) enum LimitBy {
    Consumer,
    Credential,
    Ip,
    Service,
    Header(HeaderName),
    Path(Box<str>),
}

/// The same as written in settings.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LimitByName {
    Consumer,
    Credential,
    Ip,
    Service,
    Header,
    Path,
}

/// Whom a call is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller<'a> {
    Consumer(Id<Consumer>),
    Credential(Id<Credential>),
    Ip(IpAddr),
    Service(Id<Service>),
    Text(&'a [u8]),
}

/// The keys that the calls of callers are counted under, in the name of one who counts them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallerKeys {
    consumer: Key,
    credential: Key,
    ip_v4: Key,
    ip_v6: Key,
    service: Key,
    text: Key,
}

impl CallerKeys {
    /// Those of whoever has this name in a table.
    pub(crate) fn new<V: Kept>(table: &Table<V>, of: &impl Hash) -> Self {
        let kind = |name: &str| table.key(&(of, name));
        Self {
            consumer: kind("consumer"),
            credential: kind("credential"),
            ip_v4: kind("ip_v4"),
            ip_v6: kind("ip_v6"),
            service: kind("service"),
            text: kind("text"),
        }
    }

    /// A caller's. Whoever has an identity or an address needs no hash; what a client can choose at will is hashed.
    pub(crate) fn of<V: Kept>(&self, table: &Table<V>, caller: &Caller<'_>) -> Key {
        match caller {
            Caller::Consumer(id) => self.consumer.part(id.uuid().as_u128()),
            Caller::Credential(id) => self.credential.part(id.uuid().as_u128()),
            Caller::Service(id) => self.service.part(id.uuid().as_u128()),
            Caller::Ip(IpAddr::V4(address)) => self.ip_v4.part(address.to_bits().into()),
            Caller::Ip(IpAddr::V6(address)) => self.ip_v6.part(address.to_bits()),
            Caller::Text(text) => table.key(&(self.text, text)),
        }
    }
}

impl LimitBy {
    /// Reads `limit_by` and the settings that go with it.
    pub(crate) fn read(
        by: LimitByName,
        header_name: Option<&str>,
        path: Option<Box<str>>,
    ) -> Result<Self, BuildError> {
        Ok(match by {
            LimitByName::Consumer => Self::Consumer,
            LimitByName::Credential => Self::Credential,
            LimitByName::Ip => Self::Ip,
            LimitByName::Service => Self::Service,
            LimitByName::Header => {
                let name = header_name.ok_or_else(|| refused("/header_name", "required field missing"))?;
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                    refused(
                        "/header_name",
                        format!("'{name}' cannot name a header; use letters, digits, '-' and '_'"),
                    )
                })?;
                Self::Header(name)
            }
            LimitByName::Path => Self::Path(path.ok_or_else(|| refused("/path", "required field missing"))?),
        })
    }

    /// Whom the call is counted for.
    pub(crate) fn caller<'a, S>(&'a self, cx: &'a RequestCx<'_, S>) -> Caller<'a> {
        match self {
            Self::Header(name) => cx.headers().get(name).map(|value| Caller::Text(value.as_bytes())),
            Self::Path(path) => (*cx.uri().path() == **path).then_some(Caller::Text(path.as_bytes())),
            _ => self.of(cx.identity(), cx.facts()),
        }
        .unwrap_or(Caller::Ip(cx.facts().client))
    }

    fn of(&self, identity: &Identity, facts: &Facts<'_>) -> Option<Caller<'static>> {
        let credential = || {
            identity
                .credential
                .as_deref()
                .map(|credential| Caller::Credential(credential.id))
        };
        match self {
            Self::Consumer => match &identity.consumer {
                Some(consumer) => Some(Caller::Consumer(consumer.id)),
                None => credential(),
            },
            Self::Credential => credential(),
            Self::Service => facts.service.map(|service| Caller::Service(service.id)),
            Self::Ip | Self::Header(_) | Self::Path(_) => None,
        }
    }
}

impl fmt::Display for Caller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consumer(id) => id.fmt(f),
            Self::Credential(id) => id.fmt(f),
            Self::Service(id) => id.fmt(f),
            Self::Ip(address) => address.fmt(f),
            Self::Text(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
        }
    }
}
