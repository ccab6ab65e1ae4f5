//! What this node would do with a configuration that is not stored yet.

use gw_admin::ports::{Forecast, Foresight, Moved, Planned, Traffic, Unable};
use gw_core::{Change, Id, Kind};
use gw_proxy::Replay;

use super::ThisNode;
use super::routing::{named, overlap};

impl Foresight for ThisNode {
    fn foresee(&self, planned: &[Planned]) -> Forecast {
        let mut forecast = Forecast::default();
        let mut changes = Vec::with_capacity(planned.len());
        for Planned { kind, id, document } in planned {
            match document {
                None => changes.push(Change::Delete(*kind, *id)),
                Some(document) => match self.kinds.load(*kind, document.clone()) {
                    Ok(entity) => changes.push(Change::Put(entity)),
                    Err(violations) => forecast.unable.push(Unable {
                        kind: *kind,
                        id: *id,
                        message: violations.to_string().into(),
                    }),
                },
            }
        }
        let foreseen = self.gateway.foresee(&changes);
        forecast.unable.extend(foreseen.problems().map(|problem| Unable {
            kind: problem.kind,
            id: problem.id,
            message: problem.message.clone(),
        }));
        for change in &changes {
            if let Change::Put(entity) = change
                && entity.kind() == Kind::Route
            {
                let overlaps = foreseen
                    .overlaps_of(Id::from(entity.id()))
                    .into_iter()
                    .map(overlap);
                for overlap in overlaps {
                    // Two routes that change may be in each other's way: that is told once.
                    if !forecast.overlaps.contains(&overlap) {
                        forecast.overlaps.push(overlap);
                    }
                }
            }
        }
        forecast.traffic = self.gateway.replay(&foreseen).map(traffic);
        forecast
    }
}

fn traffic(replay: Replay) -> Traffic {
    let moved = replay.moved.into_iter().map(|moved| Moved {
        from: moved.from.map(named),
        to: moved.to.map(named),
        count: moved.count,
        example: moved.example,
    });
    Traffic {
        seen: replay.seen,
        moved: moved.collect(),
        lost: replay.lost,
        gained: replay.gained,
        unsure: replay.unsure,
        span: replay.span,
    }
}
