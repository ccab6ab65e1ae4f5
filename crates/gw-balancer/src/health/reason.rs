//! How a target is, what changes it, and why, in words for operators.

use std::fmt;
use std::time::{Duration, Instant};

use crate::Outcome;
use crate::health::FailureKind;

/// A change of a target's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transition {
    /// Whether it is sent requests from now on.
    pub healthy: bool,
    /// Why.
    pub reason: Reason,
    /// If it is out: after how long it is tried. None = not before an operator says so.
    pub pause: Option<Duration>,
}

/// How a target is, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Condition {
    /// Whether it is sent requests.
    pub healthy: bool,
    /// Why it is in or out; none if it has always been in.
    pub reason: Option<Reason>,
    /// Since when.
    pub since: Option<Instant>,
    /// If it is out: when one request tries it. None = not before a probe succeeds or an operator says so.
    pub trial: Option<Instant>,
    /// Whether an operator keeps it out.
    pub held: bool,
}

/// The state of a target's circuit breaker, as it is usually called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Breaker {
    /// The target is sent requests.
    Closed,
    /// It is sent none.
    Open,
    /// Its pause is over: one request may try it, or a probe.
    HalfOpen,
}

/// Why a target's health changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Too many failures without a success in between.
    InARow {
        /// How many.
        failures: u32,
        /// The last of them.
        last: Outcome,
    },
    /// Too many of the recent attempts failed.
    Recent {
        /// How many failed.
        failures: u32,
        /// Of how many.
        of: u64,
        /// The last of them.
        last: Outcome,
    },
    /// One of Kong's limits was reached.
    Limit {
        /// Which one.
        kind: FailureKind,
        /// The limit.
        failures: u8,
        /// The last of them.
        last: Outcome,
    },
    /// One of the limits of probes was reached.
    Probes {
        /// Which one.
        kind: FailureKind,
        /// The limit.
        failures: u8,
        /// How the last probe ended.
        last: Outcome,
    },
    /// The request that tried it failed too.
    TrialFailed {
        /// How.
        last: Outcome,
    },
    /// The request that tried it succeeded.
    TrialSucceeded,
    /// Enough successes, by Kong's limit.
    Successes {
        /// The limit.
        successes: u8,
    },
    /// Enough probes succeeded.
    ProbesSucceeded {
        /// How many in a row.
        successes: u8,
    },
    /// An operator said so.
    Operator,
    /// The targets have changed, and more than half of them would be out.
    TooFewLeft,
    /// Nothing is held against a target any more.
    ChecksOff,
}

impl Condition {
    /// The same as a circuit breaker has it.
    #[must_use]
    pub fn breaker(&self, now: Instant) -> Breaker {
        match self.trial {
            _ if self.healthy => Breaker::Closed,
            Some(due) if due <= now => Breaker::HalfOpen,
            _ => Breaker::Open,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InARow { failures, last } => write!(f, "{failures} failures in a row, the last: {last}"),
            Self::Recent { failures, of, last } => {
                write!(f, "{failures} of the last {of} attempts failed, the last: {last}")
            }
            Self::Limit { kind, failures, last } => {
                write!(f, "{} reached {failures}, the last: {last}", kind.name())
            }
            Self::Probes { kind, failures, last } => {
                write!(
                    f,
                    "{} of probes reached {failures}, the last: {last}",
                    kind.name()
                )
            }
            Self::TrialFailed { last } => write!(f, "tried again in vain: {last}"),
            Self::TrialSucceeded => f.write_str("tried again with success"),
            Self::Successes { successes } => write!(f, "successes reached {successes}"),
            Self::ProbesSucceeded { successes: 1 } => f.write_str("a probe succeeded"),
            Self::ProbesSucceeded { successes } => write!(f, "{successes} probes in a row succeeded"),
            Self::Operator => f.write_str("set by an operator"),
            Self::TooFewLeft => f.write_str("more than half of the targets would be out"),
            Self::ChecksOff => f.write_str("health checks were turned off"),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::ConnectFailed => f.write_str("no connection"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Broken => f.write_str("the connection broke"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::TlsFailed => f.write_str("no TLS, or a certificate that is not trusted"),
            Self::Unreadable => f.write_str("an answer that cannot be read"),
            Self::NotServing => f.write_str("it says that it does not serve"),
        }
    }
}
