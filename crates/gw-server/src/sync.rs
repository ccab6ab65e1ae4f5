//! From the store to the data plane: the only file that knows both.
//!
//! What is served follows the store's view: by what differs, whatever way it came about, so that commits that are
//! ready at once become one step, and nothing else is touched. Before a step is taken, the guard judges it.

mod documents;
pub(crate) mod guard;
pub(crate) mod plane;
mod quarantine;
pub(crate) mod standing;

use std::sync::Arc;
use std::time::SystemTime;

use gw_store::{Commit, Revision, Store, View, Watch, WatchItem};
use tracing::{error, info, warn};

use documents::Course;
use guard::{Bounds, Guard, Told, Verdict, Way};
use plane::Plane;
use standing::{Lookout, Served, Standing};

/// Bound: commits that are looked at one by one when this node comes back after a while.
const PATIENCE: usize = 20_000;

/// How many of them are asked for at once.
const PAGE: usize = 1000;

/// Keeps the data plane at what the store has.
#[derive(Debug)]
pub(crate) struct Sync {
    store: Store,
    plane: Plane,
    lookout: Lookout,
    watch: Watch,
    guard: Guard,
    served: Option<Served>,
    /// When another history was taken over, and how often.
    reset: Option<(SystemTime, u64)>,
}

/// A configuration the store has, and how it came about.
struct Offer {
    view: View,
    way: Arrival,
}

/// As [`Way`], with the commits.
enum Arrival {
    Commits(Vec<Arc<Commit>>),
    Gap,
    Reset,
}

impl Arrival {
    fn way(&self) -> Way<'_> {
        match self {
            Self::Commits(commits) => Way::Commits(commits),
            Self::Gap => Way::Gap,
            Self::Reset => Way::Reset,
        }
    }
}

impl Sync {
    /// Serves what the store holds now; nothing as long as it was never reached and holds nothing. What was `resumed`
    /// the data plane has already.
    pub(crate) async fn start(
        store: &Store,
        (plane, resumed): (Plane, Option<View>),
        bounds: Option<Bounds>,
        lookout: Lookout,
    ) -> Self {
        let is_resumed = resumed.is_some();
        let view = resumed.unwrap_or_else(|| store.view());
        let mut sync = Self {
            watch: store.watch_from(&view),
            guard: Guard::new(bounds, plane.kinds().clone()),
            store: store.clone(),
            plane,
            reset: lookout.standing().reset,
            lookout,
            served: None,
        };
        sync.lookout.follow(store);
        if is_resumed {
            sync.is_at(view);
        } else if store.info().reached || !view.is_empty() {
            sync.serve(view).await;
        }
        sync.tell();
        sync
    }

    /// Follows the store until it closes.
    pub(crate) async fn run(mut self) {
        while let Some(offer) = self.offered().await {
            self.consider(offer).await;
            self.tell();
        }
    }

    /// Waits for what is new, and takes all of it that is ready.
    async fn offered(&mut self) -> Option<Offer> {
        let mut commits = Vec::new();
        let mut item = Some(self.watch.next().await);
        // Bound: what is ready now. A writer that never rests cannot hold the answer to its first write back for ever.
        let mut view = self.store.view();
        loop {
            match item {
                Some(WatchItem::Commit(commit)) => commits.push(commit),
                Some(WatchItem::Closed) if commits.is_empty() => return None,
                Some(WatchItem::Closed) | None => break,
                Some(WatchItem::Gap { .. }) => {
                    view = self.store.view();
                    self.watch = self.store.watch_from(&view);
                    let way = match self.commits_until(view.revision()).await {
                        Some(commits) => Arrival::Commits(commits),
                        None => Arrival::Gap,
                    };
                    return Some(Offer { view, way });
                }
                // Whatever else there may come to be, it is no commit on what is served.
                Some(_) => {
                    view = self.store.view();
                    self.watch = self.store.watch_from(&view);
                    return Some(Offer {
                        view,
                        way: Arrival::Reset,
                    });
                }
            }
            if self.watch.position() >= view.revision() {
                break;
            }
            item = self.watch.try_next();
        }
        Some(Offer {
            view,
            way: Arrival::Commits(commits),
        })
    }

    /// The commits from what is served to `until`, if they are few enough and the store still tells them.
    async fn commits_until(&self, until: Revision) -> Option<Vec<Arc<Commit>>> {
        let served = self.served.as_ref()?.view.revision();
        let mut before = until.next();
        let mut newest_first: Vec<Arc<Commit>> = Vec::new();
        while before > served.next() && newest_first.len() < PATIENCE {
            let page = self.store.history(Some(before), PAGE).await.ok()?;
            before = page.last()?.revision;
            newest_first.extend(page.into_iter().filter(|commit| commit.revision > served));
        }
        newest_first.reverse();
        let whole = before <= served.next();
        whole.then_some(newest_first)
    }

    /// Serves what is offered, as far as nothing speaks against it.
    async fn consider(&mut self, Offer { view, way }: Offer) {
        let now = SystemTime::now();
        let Some(served) = &self.served else {
            return self.serve(view).await;
        };
        let was_held = self.guard.held().cloned();
        let of_reset = served.view.incarnation() != view.incarnation()
            || matches!(way, Arrival::Reset)
            || was_held.as_ref().is_some_and(|held| held.of_reset);
        let from = guard::Served {
            view: &served.view,
            since: served.since,
        };
        match self.guard.judge(from, &view, way.way(), now) {
            Verdict::Apply => {
                if of_reset {
                    let times = self.reset.map_or(0, |(_, times)| times);
                    self.reset = Some((now, times + 1));
                    warn!(
                        revision = %view.revision(), incarnation = %view.incarnation(),
                        before = %served.view.revision(), "the store has another history, which is served from now on"
                    );
                } else if was_held.is_some() {
                    info!(revision = %view.revision(), "what was held back is served");
                }
                self.serve(view).await;
            }
            Verdict::Hold(safe) => {
                if safe > served.view.revision()
                    && let Ok(view) = self.store.at(safe).await
                {
                    self.serve(view).await;
                }
                if was_held.is_none() {
                    self.report_hold();
                }
            }
        }
    }

    fn report_hold(&self) {
        let Some((held, served)) = self.guard.held().zip(self.served.as_ref()) else {
            return;
        };
        error!(
            revision = %held.revision, incarnation = %held.incarnation, of_reset = held.of_reset,
            serving = %served.view.revision(),
            "held back, because it would remove {}; what was served before goes on. If it is meant: POST /cluster/accept",
            Told(&held.losses)
        );
    }

    /// Makes what is served equal to the view.
    async fn serve(&mut self, view: View) {
        let course = match &self.served {
            Some(served) => Course::Between(served.view.clone(), view.clone()),
            None => Course::Whole(view.contents()),
        };
        self.plane.take(course, view.revision()).await;
        self.is_at(view);
    }

    fn is_at(&mut self, view: View) {
        self.served = Some(Served {
            view,
            since: SystemTime::now(),
        });
    }

    /// Tells all who want to know where this node stands.
    fn tell(&self) {
        self.lookout.stand(Standing {
            served: self.served.clone(),
            held: self.guard.held().cloned().map(Arc::new),
            problems: self.plane.quarantine.problems(),
            former: self.plane.quarantine.former(),
            reset: self.reset,
        });
    }
}

#[cfg(test)]
mod tests;
