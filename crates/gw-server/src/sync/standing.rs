//! Where this node stands: what it serves, what of it cannot run, what it holds back; for all who want to know.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use gw_admin::ports::ObjectProblem;
use gw_store::{Freshness, Key, Revision, Store, View};
use tokio::sync::watch;

use super::guard::Held;

/// Where this node stands at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// None until something was served.
    pub(crate) served: Option<Served>,
    /// What is not served, because it would remove too much.
    pub(crate) held: Option<Arc<Held>>,
    /// The objects that cannot run, by kind and id.
    pub(crate) problems: Arc<[ObjectProblem]>,
    /// What runs in the place of some of them: their last good values.
    pub(crate) former: Arc<[(Key, Bytes)]>,
    /// When another history took the place of the one served, the last time, and how often.
    pub(crate) reset: Option<(SystemTime, u64)>,
}

/// What is served, and since when.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) view: View,
    pub(crate) since: SystemTime,
}

/// From where it is seen where this node stands: one for the life of the process, whatever store it follows. Cloning
/// shares it.
#[derive(Clone, Debug)]
pub(crate) struct Lookout {
    standing: Arc<watch::Sender<Standing>>,
    store: Arc<Mutex<Option<Store>>>,
}

impl Lookout {
    pub(crate) fn new() -> Self {
        Self {
            standing: Arc::new(watch::Sender::new(Standing::default())),
            store: Arc::default(),
        }
    }

    /// From now on this store is followed.
    pub(crate) fn follow(&self, store: &Store) {
        *self.store_now() = Some(store.clone());
    }

    /// The store that is followed; none before there is one.
    pub(crate) fn store(&self) -> Option<Store> {
        self.store_now().clone()
    }

    /// Where the node stands now.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Tells where the node stands.
    pub(super) fn stand(&self, standing: Standing) {
        self.standing.send_replace(standing);
    }

    /// The revision that is served; zero before there is one.
    pub(crate) fn revision(&self) -> Revision {
        let standing = self.standing.borrow();
        standing
            .served
            .as_ref()
            .map_or(Revision::ZERO, |served| served.view.revision())
    }

    /// Since when it is not known whether there is a newer configuration, and why not; none if it is known.
    pub(crate) fn stale(&self) -> Option<(SystemTime, Box<str>)> {
        match self.store()?.info().freshness {
            Freshness::Current => None,
            Freshness::Stale { since, why } => Some((since, why)),
            // Whatever else it may come to be, it is not known to be current.
            other => Some((SystemTime::now(), format!("{other:?}").into())),
        }
    }

    /// Resolves once this revision of the store's history, or a later one, is served.
    pub(crate) async fn serves(&self, revision: Revision) {
        let serves = |standing: &Standing| {
            let (Some(served), Some(store)) = (&standing.served, self.store()) else {
                return false;
            };
            let head = store.view();
            // Of another history, a higher revision is no later one.
            served.view.incarnation() == head.incarnation()
                && (revision..=head.revision()).contains(&served.view.revision())
        };
        if self.subscribe().wait_for(serves).await.is_err() {
            // Unreachable, as the sender is here; who waits has a bound of its own.
            std::future::pending::<()>().await;
        }
    }

    /// Resolves once the store's history up to this revision is served or held back.
    pub(crate) async fn settled_at(&self, revision: Revision) {
        let held = |standing: &Standing| {
            standing
                .held
                .as_ref()
                .is_some_and(|held| held.revision >= revision)
        };
        let mut standing = self.subscribe();
        tokio::select! {
            () = self.serves(revision) => {}
            _ = standing.wait_for(held) => {}
        }
    }

    fn store_now(&self) -> std::sync::MutexGuard<'_, Option<Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
