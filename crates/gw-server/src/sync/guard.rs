//! The mass-deletion guard: a step that removes most of what is served is taken only if somebody meant it.
//!
//! A store that was wiped, restored or emptied by mistake looks like a store from which everything was deleted. What
//! is served then goes on being served, and says so, until the store has it again or an operator says that it was
//! meant: by a commit with a mark in it, which every node sees.

mod loss;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use gw_admin::ports::{MEANT, meant_at};
use gw_core::Kinds;
use gw_store::{Commit, Incarnation, Op, Revision, View};

use loss::Deletion;
pub(crate) use loss::{Bounds, Loss, Told};

/// How what is offered came about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way<'a> {
    /// By these commits and no others, in order, on what is served.
    Commits(&'a [Arc<Commit>]),
    /// By commits of the same history that are not known.
    Gap,
    /// Not from what is served: the store has another history.
    Reset,
}

/// What becomes of what is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is served.
    Apply,
    /// It is not, except for the commits up to this one, if that is later than what is served.
    Hold(Revision),
}

/// A step that is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Since when.
    pub(crate) since: SystemTime,
    /// The history of what is offered.
    pub(crate) incarnation: Incarnation,
    /// Where that stands.
    pub(crate) revision: Revision,
    /// Whether that is of another history than what is served.
    pub(crate) of_reset: bool,
    /// What of it is too much.
    pub(crate) losses: Vec<Loss>,
}

/// What is served, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served<'a> {
    pub(crate) view: &'a View,
    pub(crate) since: SystemTime,
}

impl Bounds {
    /// What of these changes of a configuration is too much, in words; none if nothing is.
    pub(crate) fn too_much_of(self, kinds: &Kinds, view: &View, changes: &[Op]) -> Option<Box<str>> {
        let deletions: Vec<Deletion<'_>> = changes
            .iter()
            .filter(|op| matches!(op, Op::Delete { .. }))
            .filter_map(|op| Some((op.key().as_str(), &*view.get(op.key().as_str())?.value)))
            .collect();
        let losses = self.too_much(kinds, &deletions, |kind| count(view, kind));
        (!losses.is_empty()).then(|| Told(&losses).to_string().into())
    }
}

/// Watches over the steps from one configuration to the next.
#[derive(Debug)]
pub(crate) struct Guard {
    /// None = any step is taken.
    bounds: Option<Bounds>,
    kinds: Kinds,
    held: Option<Held>,
}

impl Guard {
    pub(crate) fn new(bounds: Option<Bounds>, kinds: Kinds) -> Self {
        Self {
            bounds,
            kinds,
            held: None,
        }
    }

    /// What is held back, if anything is.
    pub(crate) fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Judges the step from what is served to what is offered. While it holds one back, what is offered then is judged
    /// as a whole: it was not built on what is served.
    pub(crate) fn judge(
        &mut self,
        served: Served<'_>,
        offered: &View,
        way: Way<'_>,
        now: SystemTime,
    ) -> Verdict {
        let Some(bounds) = self.bounds else {
            return Verdict::Apply;
        };
        let of_reset = matches!(way, Way::Reset)
            || served.view.incarnation() != offered.incarnation()
            || self.held.as_ref().is_some_and(|held| held.of_reset);
        let (safe, losses) = match way {
            _ if of_reset => (
                served.view.revision(),
                self.of_reset(bounds, served, offered, way),
            ),
            Way::Commits(commits) if self.held.is_none() => {
                match unmeant(bounds, &self.kinds, served.view, commits) {
                    // A later one may have brought it all back.
                    Some(safe) => (safe, self.lost(bounds, served.view, offered)),
                    None => (served.view.revision(), Vec::new()),
                }
            }
            _ if is_marked_since(served.view, offered) => (served.view.revision(), Vec::new()),
            _ => (served.view.revision(), self.lost(bounds, served.view, offered)),
        };
        if losses.is_empty() {
            self.held = None;
            return Verdict::Apply;
        }
        self.held = Some(Held {
            since: self.held.as_ref().map_or(now, |held| held.since),
            incarnation: offered.incarnation(),
            revision: offered.revision(),
            of_reset,
            losses,
        });
        Verdict::Hold(safe)
    }

    /// What another history lacks, unless an operator has said since that this is meant.
    fn of_reset(&self, bounds: Bounds, served: Served<'_>, offered: &View, way: Way<'_>) -> Vec<Loss> {
        let mark = offered.get(MEANT);
        // It was made after this node began to hold that history back.
        let after_hold = |modified: Revision| {
            self.held
                .as_ref()
                .is_some_and(|held| held.incarnation == offered.incarnation() && held.revision < modified)
        };
        // It is new to this node, and newer than what it serves; one that was restored is neither.
        let new = |value: &[u8]| {
            served.view.get(MEANT).is_none_or(|known| known.value != value)
                && meant_at(value).is_some_and(|at| at > served.since)
        };
        let meant = mark.is_some_and(|mark| {
            (!matches!(way, Way::Reset) && after_hold(mark.modified)) || new(&mark.value)
        });
        match meant {
            true => Vec::new(),
            false => self.lost(Bounds { few: 1, ..bounds }, served.view, offered),
        }
    }

    fn lost(&self, bounds: Bounds, served: &View, offered: &View) -> Vec<Loss> {
        let gone: Vec<Deletion<'_>> = served
            .differences(offered)
            .filter(|difference| difference.after.is_none())
            .filter_map(|difference| Some((difference.key.as_str(), &*difference.before?.value)))
            .collect();
        bounds.too_much(&self.kinds, &gone, |kind| count(served, kind))
    }
}

fn is_marked_since(served: &View, offered: &View) -> bool {
    offered
        .get(MEANT)
        .is_some_and(|mark| mark.modified > served.revision())
}

/// The revision before the first of these commits that deletes too much and was not meant to.
fn unmeant(bounds: Bounds, kinds: &Kinds, served: &View, commits: &[Arc<Commit>]) -> Option<Revision> {
    let marks = |op: &Op| matches!(op, Op::Put { key, .. } if *key == MEANT);
    // Who says that something was meant has seen what came before.
    let meant = commits
        .iter()
        .rposition(|commit| commit.ops.iter().any(marks))
        .map_or(0, |at| at + 1);
    let mut replay = Replay {
        served,
        since: HashMap::new(),
    };
    for (at, commit) in commits.iter().enumerate() {
        let deletes = |op: &&Op| matches!(op, Op::Delete { .. });
        if at >= meant && commit.ops.iter().filter(deletes).count() >= bounds.few {
            let gone: Vec<Deletion<'_>> = commit
                .ops
                .iter()
                .filter(deletes)
                .filter_map(|op| Some((op.key().as_str(), replay.value(op.key().as_str())?)))
                .collect();
            if !bounds
                .too_much(kinds, &gone, |kind| replay.count(kind))
                .is_empty()
            {
                return Some(Revision(commit.revision.0.saturating_sub(1)));
            }
        }
        replay.apply(commit);
    }
    None
}

/// What is served and the commits that came since, without what that costs.
struct Replay<'a> {
    served: &'a View,
    since: HashMap<&'a str, Option<&'a [u8]>>,
}

impl<'a> Replay<'a> {
    fn apply(&mut self, commit: &'a Commit) {
        for op in &commit.ops {
            let value = match op {
                Op::Put { value, .. } => Some(&**value),
                Op::Delete { .. } => None,
            };
            self.since.insert(op.key().as_str(), value);
        }
    }

    fn value(&self, key: &str) -> Option<&'a [u8]> {
        match self.since.get(key) {
            Some(value) => *value,
            None => self.served.get(key).map(|entry| &*entry.value),
        }
    }

    fn count(&self, kind: &str) -> usize {
        let mut count = count(self.served, kind);
        for (key, value) in &self.since {
            let of_kind = key.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/'));
            match (of_kind, self.served.get(key), value) {
                (true, None, Some(_)) => count += 1,
                (true, Some(_), None) => count -= 1,
                _ => {}
            }
        }
        count
    }
}

/// How many objects of a kind there are.
fn count(view: &View, kind: &str) -> usize {
    view.list(&format!("{kind}/"), None).count()
}

#[cfg(test)]
mod tests;
