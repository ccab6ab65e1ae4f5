//! What a probe found, and what that is to the balancer.

use std::fmt::Display;

use gw_balancer::Outcome;

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It took the connection, or says that it serves.
    Alive,
    /// It answered with this status.
    Status(u16),
    /// It answered, and not in the words of its protocol.
    Unreadable,
    /// It says of itself that it does not serve.
    NotServing,
    /// No connection could be had.
    NoConnection,
    /// The connection could not be secured, or the certificate is not trusted.
    NoTls,
    /// The connection broke before the answer.
    Broken,
    /// It took too long.
    Late,
}

/// A finding, and what led to it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) finding: Finding,
    /// Where the finding does not say all.
    pub(crate) cause: Option<String>,
}

impl Found {
    pub(crate) fn because(finding: Finding, cause: impl Display) -> Self {
        Self {
            finding,
            cause: Some(cause.to_string()),
        }
    }
}

impl From<Finding> for Outcome {
    fn from(finding: Finding) -> Self {
        match finding {
            Finding::Alive => Self::Success,
            Finding::Status(status) => Self::Status(status),
            Finding::Unreadable => Self::Unreadable,
            Finding::NotServing => Self::NotServing,
            Finding::NoConnection => Self::ConnectFailed,
            Finding::NoTls => Self::TlsFailed,
            Finding::Broken => Self::Broken,
            Finding::Late => Self::TimedOut,
        }
    }
}

impl From<Finding> for Found {
    fn from(finding: Finding) -> Self {
        Self { finding, cause: None }
    }
}
