//! Why requests go where they go, as the Admin API asks it.

use gw_admin::ports::{Candidate, Explanation, Matched, Named, Overlap, Question, Routing};
use gw_core::{Id, Protocol};
use uuid::Uuid;

use super::ThisNode;

impl Routing for ThisNode {
    fn explain(&self, question: &Question) -> Explanation {
        let told = self.gateway.explain(&gw_proxy::Question {
            method: question.method.clone(),
            target: question.target.clone(),
            headers: question.headers.clone(),
            client: question.client,
            scheme: if question.tls {
                Protocol::Https
            } else {
                Protocol::Http
            },
            port: question.port,
            sni: question.sni.clone(),
        });
        Explanation {
            revision: told.revision,
            path: told.path,
            matched: told.matched.map(|matched| Matched {
                candidate: candidate(matched.candidate),
                service: matched.service.map(Id::uuid),
                matched_path: matched.matched_path,
                params: matched.params,
                ahead_by: matched.ahead_by,
            }),
            others: told.others.into_iter().map(candidate).collect(),
            near_misses: told.near_misses.into_iter().map(candidate).collect(),
            omitted: told.omitted,
            status: told.status,
        }
    }

    fn overlaps(&self) -> Vec<Overlap> {
        self.gateway.overlaps().into_iter().map(overlap).collect()
    }

    fn overlaps_of(&self, route: Uuid) -> Vec<Overlap> {
        let overlaps = self.gateway.overlaps_of(Id::from(route));
        overlaps.into_iter().map(overlap).collect()
    }
}

fn candidate(seen: gw_proxy::RouteCandidate) -> Candidate {
    Candidate {
        route: named(seen.route),
        pattern: seen.pattern,
        host: seen.host,
        reasons: seen.reasons,
    }
}

pub(super) fn named(route: gw_proxy::RouteName) -> Named {
    Named {
        id: route.id.uuid(),
        name: route.name,
    }
}

pub(super) fn overlap(overlap: gw_proxy::RouteOverlap) -> Overlap {
    Overlap {
        kind: overlap.kind,
        message: overlap.message,
        routes: overlap.routes.into_iter().map(named).collect(),
    }
}
