//! What the plugins that limit have in common: counts by caller, calendar windows, and Redis for counts that nodes share.

pub(crate) mod amount;
pub(crate) mod bucket;
pub(crate) mod calendar;
pub(crate) mod caller;
pub(crate) mod key;
pub(crate) mod number;
pub(crate) mod period;
pub(crate) mod quota;
pub(crate) mod redis;
pub(crate) mod refusal;
#[cfg(feature = "redis")]
pub(crate) mod remote;
#[cfg(not(feature = "redis"))]
#[path = "limits/remote_absent.rs"]
pub(crate) mod remote;
pub(crate) mod scripts;
pub(crate) mod table;

use std::time::{SystemTime, UNIX_EPOCH};

use crate::plugin::BuildError;

/// Unix milliseconds; 0 before 1970.
pub(crate) fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A setting that cannot run.
pub(crate) fn refused(pointer: impl Into<Box<str>>, message: impl Into<Box<str>>) -> BuildError {
    BuildError::Setting {
        pointer: pointer.into(),
        message: message.into(),
    }
}
