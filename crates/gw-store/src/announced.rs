//! Who said to be alive, kept in memory: enough for a log that one process has.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::log::Announced;

/// Bound: how long one word can count.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The word of each node and until when it counts.
#[derive(Debug, Default)]
pub(crate) struct Announcements {
    nodes: Mutex<BTreeMap<Box<str>, (Bytes, Instant)>>,
}

impl Announcements {
    pub(crate) fn say(&self, node: &str, about: Bytes, lasting: Duration) {
        let until = Instant::now() + lasting.min(LONGEST);
        self.current().insert(node.into(), (about, until));
    }

    pub(crate) fn all(&self) -> Vec<Announced> {
        self.current()
            .iter()
            .map(|(node, (about, _))| Announced {
                node: node.clone(),
                about: about.clone(),
            })
            .collect()
    }

    /// What has not lapsed; the rest is forgotten, so that names that come and go take no memory.
    fn current(&self) -> MutexGuard<'_, BTreeMap<Box<str>, (Bytes, Instant)>> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        nodes.retain(|_, (_, until)| *until > now);
        nodes
    }
}
