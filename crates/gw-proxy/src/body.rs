//! The bodies that pass: a request's on its way up, a response's on its way down.

mod request;
mod response;

use std::error::Error;

pub(crate) use request::{Intake, RequestBody, Upload};
pub use response::ResponseBody;
pub(crate) use response::{Content, Uncollected};

type BoxError = Box<dyn Error + Send + Sync>;

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The client broke off.
    #[error("the client's body broke off")]
    Client(#[source] BoxError),
    /// The client stalled.
    #[error("the client's body stalled")]
    ClientStalled,
    /// The client sent more than it may.
    #[error("the client's body is too large")]
    ClientTooLarge,
    /// The upstream broke off, or stalled.
    #[error("the upstream's body broke off")]
    Upstream(#[source] BoxError),
    /// A plugin failed on it.
    #[error("a plugin failed on the body")]
    Plugin,
}
