//! The objects that cannot run as they are stored: why, since when, and what runs in their place.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use gw_admin::ports::ObjectProblem;
use gw_core::index;
use gw_proxy::Problem;
use gw_store::{Key, Revision};
use tracing::warn;

use super::documents::{Step, Unread};

/// The objects that cannot run as they are stored.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    /// Those that cannot be read. The data plane never sees them.
    unread: BTreeMap<Key, Box<str>>,
    /// All of them.
    problems: BTreeMap<Key, ObjectProblem>,
    /// The last values of some of them that could run.
    former: BTreeMap<Key, Bytes>,
}

impl Quarantine {
    /// These values run, and are no longer what is stored.
    pub(super) fn resume(&mut self, former: impl IntoIterator<Item = (Key, Bytes)>) {
        self.former.extend(former);
    }

    /// Takes note of what became of steps, of which these could not be read, and of all that the data plane has trouble
    /// with now.
    pub(super) fn note(
        &mut self,
        steps: &[Step<'_>],
        unread: Vec<(usize, Unread)>,
        unable: &[Problem],
        (revision, now): (Revision, SystemTime),
    ) {
        let mut found: BTreeMap<Key, (Box<str>, bool)> = BTreeMap::new();
        for problem in unable {
            let key = Key::from(index::entity_key(problem.kind, problem.id));
            found.insert(key, (problem.message.clone(), problem.kept));
        }
        let mut unread = unread.into_iter().peekable();
        for (position, step) in steps.iter().enumerate() {
            match unread.next_if(|(unread, _)| *unread == position) {
                Some((_, Unread(message))) if step.after.is_some() => {
                    self.unread.insert(step.key.clone(), message);
                }
                _ => {
                    self.unread.remove(step.key.as_str());
                }
            }
            let is_bad = self.unread.contains_key(step.key.as_str()) || found.contains_key(step.key.as_str());
            let was_good = !self.problems.contains_key(step.key.as_str());
            match step.before {
                _ if !is_bad => {
                    self.former.remove(step.key.as_str());
                }
                Some(before) if was_good => {
                    self.former
                        .entry(step.key.clone())
                        .or_insert_with(|| before.clone());
                }
                _ => {}
            }
        }
        for (key, message) in &self.unread {
            found.insert(
                key.clone(),
                (message.clone(), self.former.contains_key(key.as_str())),
            );
        }
        // An object may come to run by a change of another.
        self.former.retain(|key, _| found.contains_key(key.as_str()));
        let before = std::mem::take(&mut self.problems);
        for (key, (message, kept)) in found {
            let known = before.get(key.as_str()).filter(|known| known.message == message);
            let problem = match known {
                Some(known) => ObjectProblem {
                    kept,
                    ..known.clone()
                },
                None => told(&key, message, kept, (revision, now)),
            };
            self.problems.insert(key, problem);
        }
    }

    /// The objects, by kind and id.
    pub(super) fn problems(&self) -> Arc<[ObjectProblem]> {
        self.problems.values().cloned().collect()
    }

    /// What runs in the place of some of them.
    pub(super) fn former(&self) -> Arc<[(Key, Bytes)]> {
        let former = self.former.iter();
        former.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

fn told(
    key: &Key,
    message: Box<str>,
    kept: bool,
    (revision, since): (Revision, SystemTime),
) -> ObjectProblem {
    let (kind, id) = index::split_entity_key(key.as_str()).unwrap_or(("", key.as_str()));
    let state = if kept { "as it was before" } else { "left out" };
    warn!(kind, id, state, "an object cannot run: {message}");
    ObjectProblem {
        kind: kind.into(),
        id: id.into(),
        message,
        kept,
        revision: revision.0,
        since,
    }
}
