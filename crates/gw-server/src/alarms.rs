//! What an operator must know of, until it is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use gw_admin::ports::Alarm;

/// The alarms of this node, one of a kind. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarms(Arc<Mutex<BTreeMap<&'static str, Alarm>>>);

impl Alarms {
    /// Something is the matter; since when stays what it was. Tells whether that is news.
    pub(crate) fn raise(&self, kind: &'static str, message: String, revision: Option<u64>) -> bool {
        let mut alarms = self.all();
        let since = alarms.get(kind).map(|alarm| alarm.since);
        let alarm = Alarm {
            kind: kind.into(),
            message: message.into(),
            since: since.unwrap_or_else(SystemTime::now),
            revision,
        };
        alarms.insert(kind, alarm);
        since.is_none()
    }

    /// It is over. Tells whether there was something.
    pub(crate) fn clear(&self, kind: &str) -> bool {
        self.all().remove(kind).is_some()
    }

    pub(crate) fn list(&self) -> Vec<Alarm> {
        self.all().values().cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<&'static str, Alarm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
