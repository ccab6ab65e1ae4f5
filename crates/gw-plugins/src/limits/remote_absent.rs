//! What stands in for Redis where the feature `redis` is off: settings that ask for it are refused.

use crate::env::BuildEnv;
use crate::limits::redis::RedisPlace;
use crate::limits::refused;
use crate::limits::scripts::{Argument, Script};
use crate::plugin::BuildError;

/// A Redis. None is ever opened.
#[derive(Clone, Debug)]
pub(crate) struct Remote(());

/// That there is no Redis.
#[derive(Debug, thiserror::Error)]
#[error("this gateway was built without Redis")]
pub(crate) struct RemoteError;

impl Remote {
    /// Refuses.
    pub(crate) fn open(place: &RedisPlace, _env: &BuildEnv) -> Result<Self, BuildError> {
        debug_assert!(
            Script::ALL.iter().all(|script| !script.text().is_empty()),
            "for {place:?}"
        );
        Err(refused(
            "/policy",
            "this gateway was built without Redis; use the policy 'local', or build it with the feature 'redis'",
        ))
    }

    /// Fails.
    pub(crate) async fn run(
        &self,
        _worker: usize,
        _script: Script,
        _keys: &[String],
        _arguments: &[Argument<'_>],
    ) -> Result<Vec<i64>, RemoteError> {
        Err(RemoteError)
    }
}
