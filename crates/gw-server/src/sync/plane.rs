//! The data plane as far as it follows the store: what it was given, and what of that cannot run.

use std::sync::Arc;
use std::time::SystemTime;

use gw_core::{Config, Kinds};
use gw_proxy::Gateway;
use gw_store::Revision;
use gw_store::checkpoint::Checkpoint;

use super::documents::{self, Course, Readings, Step};
use super::quarantine::Quarantine;

/// The data plane, and what it was given.
#[derive(Debug)]
pub(crate) struct Plane {
    kinds: Kinds,
    gateway: Arc<Gateway>,
    config: Config,
    pub(super) quarantine: Quarantine,
    /// Whether it has anything yet.
    is_given: bool,
}

impl Plane {
    pub(crate) fn new(kinds: Kinds, gateway: Arc<Gateway>) -> Self {
        Self {
            kinds,
            gateway,
            config: Config::default(),
            quarantine: Quarantine::default(),
            is_given: false,
        }
    }

    pub(super) fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// Serves what was served last: first what ran in the place of what could not, then all the rest.
    pub(crate) async fn resume(&mut self, checkpoint: &Checkpoint) {
        let Checkpoint { contents, former, .. } = checkpoint;
        if !former.is_empty() {
            self.take(Course::Values(former.clone()), contents.revision())
                .await;
            self.quarantine.resume(former.iter().cloned());
        }
        self.take(Course::Whole(contents.clone()), contents.revision())
            .await;
    }

    /// Takes this course, which leads to this revision.
    pub(super) async fn take(&mut self, course: Course, revision: Revision) {
        let work = Work {
            kinds: self.kinds.clone(),
            gateway: Arc::clone(&self.gateway),
            config: self.config.clone(),
            quarantine: std::mem::take(&mut self.quarantine),
            revision,
            // Another process may have had the store meanwhile: nothing is known of how what runs differs from it.
            anew: !self.is_given && self.gateway.snapshot().revision() != 0,
        };
        let done = match course.is_long() {
            // It takes a while, in which others are to be answered.
            true => match tokio::task::spawn_blocking(move || work.take(&course.steps())).await {
                Ok(done) => done,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime ends, and nobody is served any more.
                    Err(_) => return,
                },
            },
            false => work.take(&course.steps()),
        };
        (self.config, self.quarantine) = done;
        self.is_given = true;
    }
}

/// What the data plane has so far, to take steps with.
struct Work {
    kinds: Kinds,
    gateway: Arc<Gateway>,
    config: Config,
    quarantine: Quarantine,
    revision: Revision,
    anew: bool,
}

impl Work {
    fn take(mut self, steps: &[Step<'_>]) -> (Config, Quarantine) {
        // What cannot be read changes nothing: its last good version stays.
        let Readings { changes, unread } = documents::read(&self.kinds, steps);
        for change in &changes {
            self.config.apply(change.clone());
        }
        let (config, revision) = (self.config.clone(), self.revision.0);
        let problems = match self.anew {
            true => self.gateway.replace(config, revision),
            false => self.gateway.apply(config, &changes, revision),
        };
        let at = (self.revision, SystemTime::now());
        self.quarantine.note(steps, unread, &problems, at);
        (self.config, self.quarantine)
    }
}
