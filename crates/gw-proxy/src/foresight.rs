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
    /// The routes, certificates and services that could not run and that can, or are not there, now.
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

    fn uuid(n: u8) -> String {
        format!("00000000-0000-4000-8000-0000000000{n:02}")
    }

    fn entity(kinds: &Kinds, kind: Kind, n: u8, mut document: Value) -> Entity {
        document["id"] = uuid(n).into();
        document["created_at"] = n.into();
        let Value::Object(document) = document else {
            panic!("an object")
        };
        kinds.load(kind, document).unwrap()
    }

    fn route(kinds: &Kinds, n: u8, path: &str) -> Entity {
        entity(kinds, Kind::Route, n, json!({ "paths": [path] }))
    }

    fn gateway() -> (Kinds, Arc<Gateway>) {
        let control = tokio::runtime::Handle::current();
        let resolver = Arc::new(SystemResolver::default());
        let registry = Registry::builtin();
        let kinds = registry.kinds().unwrap();
        let gateway = Gateway::new(registry, Settings::default(), control, resolver).unwrap();
        (kinds, gateway)
    }

    /// A certificate that fits its key, which is too short for TLS.
    fn weak(kinds: &Kinds, n: u8) -> Entity {
        let document = json!({
            "cert": include_str!("../tests/fixtures/rsa1024.crt"),
            "key": include_str!("../tests/fixtures/rsa1024.key"),
        });
        entity(kinds, Kind::Certificate, n, document)
    }

    #[tokio::test]
    async fn what_tls_cannot_use_is_foreseen() {
        let (kinds, gateway) = gateway();
        let document = json!({
            "name": "s", "protocol": "https", "host": "a.test", "port": 443, "client_certificate": { "id": uuid(1) },
        });
        let changes = [
            Change::Put(weak(&kinds, 1)),
            Change::Put(entity(&kinds, Kind::Service, 2, document)),
        ];
        let foreseen: Vec<Problem> = gateway.foresee(&changes).problems().cloned().collect();
        assert_eq!(gateway.snapshot().problems().count(), 0);
        assert!(gateway.names().is_empty(), "nobody is asked for names");

        let mut config = Config::default();
        for change in &changes {
            config.apply(change.clone());
        }
        let mut come = gateway.apply(config, &changes, 1);
        come.sort_by_key(|problem| problem.id);
        let kinds: Vec<Kind> = come.iter().map(|problem| problem.kind).collect();
        assert_eq!(kinds, [Kind::Certificate, Kind::Service], "{come:?}");
        let sorted = |mut problems: Vec<Problem>| {
            problems.sort_by_key(|problem| problem.id);
            problems
        };
        assert_eq!(sorted(foreseen), come);
        // What cannot run now already is no news, and what would mend it is none either.
        assert_eq!(gateway.foresee(&changes).problems().count(), 0);
        let mended = [Change::Delete(Kind::Service, come[1].id)];
        assert_eq!(gateway.foresee(&mended).problems().count(), 0);
    }

    #[tokio::test]
    async fn what_is_foreseen_is_what_comes_and_nothing_has_come_yet() {
        let (kinds, gateway) = gateway();
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
