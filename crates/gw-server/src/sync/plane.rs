//! The data plane as far as it follows the store: what it was given, and what of that cannot run.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use gw_core::{Change, Config, Kinds};
use gw_proxy::{Gateway, Problem};
use gw_store::checkpoint::Checkpoint;
use gw_store::{Key, Revision};

use super::documents::{self, MANY, Reading, Step};
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
        let step = |key: &Key, value: &Bytes| {
            (!key.is_reserved()).then(|| Step {
                key: key.clone(),
                before: None,
                after: Some(value.clone()),
            })
        };
        if !former.is_empty() {
            let steps = former.iter().filter_map(|(key, value)| step(key, value));
            self.take(steps.collect(), contents.revision()).await;
            self.quarantine.resume(former.iter().cloned());
        }
        let steps = contents.iter().filter_map(|(key, entry)| step(key, &entry.value));
        self.take(steps.collect(), contents.revision()).await;
    }

    /// Takes these steps, which lead to this revision.
    pub(super) async fn take(&mut self, steps: Vec<Step>, revision: Revision) {
        let steps: Arc<[Step]> = steps.into();
        let work = Work {
            kinds: self.kinds.clone(),
            gateway: Arc::clone(&self.gateway),
            config: self.config.clone(),
            steps: Arc::clone(&steps),
            revision,
            // Another process may have had the store meanwhile: nothing is known of how what runs differs from it.
            anew: !self.is_given && self.gateway.snapshot().revision() != 0,
        };
        let done = match steps.len() > MANY {
            // It takes a while, in which others are to be answered.
            true => match tokio::task::spawn_blocking(move || work.many()).await {
                Ok(done) => done,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // The runtime ends, and nobody is served any more.
                    Err(_) => return,
                },
            },
            false => work.few(),
        };
        self.config = done.config;
        self.is_given = true;
        let at = (revision, SystemTime::now());
        self.quarantine.note(&steps, &done.readings, &done.problems, at);
    }
}

/// Steps for the data plane to take, and what it has so far.
struct Work {
    kinds: Kinds,
    gateway: Arc<Gateway>,
    config: Config,
    steps: Arc<[Step]>,
    revision: Revision,
    anew: bool,
}

struct Done {
    config: Config,
    readings: Vec<Reading>,
    problems: Vec<Problem>,
}

impl Work {
    fn few(self) -> Done {
        let readings = documents::read(&self.kinds, &self.steps);
        self.apply(readings)
    }

    fn many(self) -> Done {
        let readings = documents::read_many(&self.kinds, &self.steps);
        self.apply(readings)
    }

    fn apply(mut self, readings: Vec<Reading>) -> Done {
        // What cannot be read changes nothing: its last good version stays.
        let changes: Vec<Change> = readings
            .iter()
            .filter_map(|reading| reading.clone().ok())
            .collect();
        for change in &changes {
            self.config.apply(change.clone());
        }
        let (config, revision) = (self.config.clone(), self.revision.0);
        let problems = match self.anew {
            true => self.gateway.replace(config, revision),
            false => self.gateway.apply(config, &changes, revision),
        };
        Done {
            config: self.config,
            readings,
            problems,
        }
    }
}
