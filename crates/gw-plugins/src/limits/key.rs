//! Whom a call is counted for, as APISIX's limiting plugins say it: by a variable, several, or all together.

use std::net::IpAddr;

use crate::cx::RequestCx;
use crate::dollar_template::DollarTemplate;
use crate::limits::refused;
use crate::plugin::BuildError;

/// What calls are told apart by. Where a call does not have it, the client's address stands in.
#[derive(Clone, Debug)]
pub(crate) enum KeyBy {
    Address,
    Variable(Box<str>),
    Combination(DollarTemplate),
    Constant(Box<str>),
}

/// `key_type` in settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyType {
    Var,
    VarCombination,
    Constant,
}

/// What a call is counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallKey {
    Address(IpAddr),
    Text(String),
}

impl KeyBy {
    /// Reads `key` and `key_type`.
    pub(crate) fn read(key: &str, key_type: KeyType) -> Result<Self, BuildError> {
        if key.is_empty() {
            return Err(refused("/key", "length must be at least 1"));
        }
        Ok(match (key_type, key) {
            (KeyType::Var, "remote_addr") => Self::Address,
            // Note: APISIX takes a name with its dollar sign for no variable; it is clear what is meant.
            (KeyType::Var, name) => Self::Variable(name.strip_prefix('$').unwrap_or(name).into()),
            (KeyType::VarCombination, text) => Self::Combination(DollarTemplate::parse(text)),
            (KeyType::Constant, text) => Self::Constant(text.into()),
        })
    }

    /// What the call is counted by, if it has it.
    pub(crate) fn found<S>(&self, cx: &RequestCx<'_, S>) -> Option<CallKey> {
        match self {
            Self::Address => Some(CallKey::Address(cx.facts().client)),
            Self::Variable(name) => cx
                .variable(name)
                .filter(|value| !value.is_empty())
                .map(CallKey::Text),
            Self::Combination(template) => {
                let filled = template.fill(|name| cx.variable(name).filter(|value| !value.is_empty()));
                (filled.found > 0).then_some(CallKey::Text(filled.text))
            }
            Self::Constant(text) => Some(CallKey::Text(text.clone().into())),
        }
    }

    /// What the call is counted by.
    pub(crate) fn of<S>(&self, cx: &RequestCx<'_, S>) -> CallKey {
        self.found(cx).unwrap_or(CallKey::Address(cx.facts().client))
    }
}

impl std::fmt::Display for CallKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}
