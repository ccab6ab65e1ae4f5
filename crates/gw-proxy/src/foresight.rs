//! What the gateway would do after changes that are not made, for people who are about to make them.

use std::sync::Arc;

use gw_core::{Change, Config, Id, Route};

use crate::explain::{self, RouteOverlap};
use crate::gateway::Gateway;
use crate::snapshot::{Problem, Snapshot};

/// How the gateway would route after some changes.
#[derive(Debug)]
pub struct Foreseen {
    pub(crate) now: Arc<Snapshot>,
    pub(crate) then: Snapshot,
}

impl Gateway {
    /// What these changes of what is served now would lead to. Nothing is served otherwise.
    #[must_use]
    pub fn foresee(&self, changes: &[Change]) -> Foreseen {
        let now = self.snapshot();
        let mut config: Config = now.config().clone();
        for change in changes {
            config.apply(change.clone());
        }
        let then = now.foreseen(config, changes);
        Foreseen { now, then }
    }
}

impl Foreseen {
    /// The routes that could not run and that can, or are not there, now.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let known = |problem: &Problem| self.now.problems().any(|known| known == problem);
        self.then.problems().filter(move |problem| !known(problem))
    }

    /// What one route would be in the way of, and what would be in its way; bounded.
    #[must_use]
    pub fn overlaps_of(&self, route: Id<Route>) -> Vec<RouteOverlap> {
        explain::overlaps_of(&self.then, route)
    }
}

#[cfg(test)]
mod tests {
    use gw_core::{Entity, Kind, Kinds};
    use gw_plugins::Registry;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Settings, SystemResolver};

    fn route(kinds: &Kinds, n: u8, path: &str) -> Entity {
        let id = format!("00000000-0000-4000-8000-0000000000{n:02}");
        let Value::Object(document) = json!({ "id": id, "paths": [path], "created_at": n }) else {
            panic!("an object")
        };
        kinds.load(Kind::Route, document).unwrap()
    }

    #[tokio::test]
    async fn what_is_foreseen_is_what_comes_and_nothing_has_come_yet() {
        let control = tokio::runtime::Handle::current();
        let resolver = Arc::new(SystemResolver::default());
        let registry = Registry::builtin();
        let kinds = registry.kinds().unwrap();
        let gateway = Gateway::new(registry, Settings::default(), control, resolver).unwrap();
        let first = [Change::Put(route(&kinds, 1, "/a"))];
        let mut config = Config::default();
        config.apply(first[0].clone());
        gateway.apply(config.clone(), &first, 1);

        let second = route(&kinds, 2, "/a");
        let id = Id::from(second.id());
        let changes = [Change::Put(second)];
        let foreseen = gateway.foresee(&changes);
        let told = foreseen.overlaps_of(id);
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((foreseen.problems().count(), gateway.overlaps().len()), (0, 0));

        config.apply(changes[0].clone());
        gateway.apply(config, &changes, 2);
        assert_eq!(gateway.overlaps_of(id), told);
        let gone = gateway.foresee(&[Change::Delete(Kind::Route, id.uuid())]);
        assert!(gone.overlaps_of(id).is_empty());
        assert_eq!(gateway.overlaps_of(id), told);
    }
}
