//! What is known of the log: its head, how that was learned, and whether it is known to be current.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::keys::HeadText;
use crate::commit::{CommitId, Revision};
use crate::log::{Freshness, Head, LogError};

/// Bound: how long one that gives no sign of life counts as alive, and an answer as current.
pub(super) const SILENCE: Duration = Duration::from_secs(4);

/// Bound: heads remembered, to tell whether a position is in this history without asking.
const TRAIL: usize = 256;

/// Invariant: `head` moves forward within an epoch; only an answer of the quorum to a question asked afterwards begins
/// another one.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) head: Option<Known>,
    /// Counts how often etcd was found to hold something else than before: wiped, restored, another cluster.
    pub(super) epoch: u64,
    /// The newest revision of etcd's that was heard of in this epoch.
    pub(super) heard: i64,
    trail: VecDeque<(Revision, CommitId)>,
    /// What the watch tells.
    pub(super) freshness: Freshness,
    /// When the quorum was last asked, and answered, since the watch last failed.
    pub(super) confirmed: Option<Instant>,
    /// Why the log cannot be followed, and which failure in a row that is.
    pub(super) trouble: Option<(u64, Trouble)>,
    pub(super) closed: bool,
}

/// A head, and where etcd keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) text: HeadText,
    /// The cluster that told it.
    pub(super) cluster: u64,
    /// etcd's revision at which the key was written.
    pub(super) written: i64,
}

/// What is the matter, kept so that it can be told to everybody who waits.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) denied: bool,
    pub(super) why: Arc<str>,
}

/// What was known when a question was asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) epoch: u64,
    pub(super) head: Option<Known>,
    heard: i64,
    asked: Instant,
}

/// Where a position stands to the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The head is there.
    AtHead,
    /// The head is past it.
    Past,
    /// The head is past it, if it is in this history: only the log can tell.
    PastMaybe,
    /// It is in another history.
    Elsewhere,
}

impl Standing {
    pub(super) fn new() -> Self {
        Self {
            head: None,
            epoch: 0,
            heard: 0,
            trail: VecDeque::new(),
            freshness: Freshness::Stale {
                since: SystemTime::now(),
                why: "etcd has not answered yet".into(),
            },
            confirmed: None,
            trouble: None,
            closed: false,
        }
    }

    /// Whether what was told is current: the watch would have told more, or it was asked for a moment ago.
    pub(super) fn freshness(&self) -> Freshness {
        match self.confirmed {
            Some(asked) if asked.elapsed() < SILENCE => Freshness::Current,
            _ => self.freshness.clone(),
        }
    }

    /// Nothing tells any more that what is known is current.
    pub(super) fn turn_stale(&mut self, since: SystemTime, why: &str) {
        let since = match &self.freshness {
            Freshness::Stale { since, .. } => *since,
            Freshness::Current => since,
        };
        self.confirmed = None;
        self.freshness = Freshness::Stale {
            since,
            why: why.into(),
        };
    }

    pub(super) fn before(&self) -> Before {
        Before {
            epoch: self.epoch,
            head: self.head,
            heard: self.heard,
            asked: Instant::now(),
        }
    }

    /// Takes what the quorum answered to a question asked after `before` was taken, at etcd's revision `at`.
    ///
    /// An answer older than what was known before the question was asked is no late answer: etcd went back.
    pub(super) fn observe(&mut self, before: Before, known: Known, at: i64) -> bool {
        if self.epoch != before.epoch {
            return false;
        }
        self.confirmed = Some(before.asked);
        let another = before.head.is_some_and(|head| {
            head.cluster != known.cluster
                || known.written < head.written
                || known.text.incarnation != head.text.incarnation
        });
        if another || at < before.heard {
            self.epoch += 1;
            self.heard = at;
            self.trail.clear();
            self.set(known);
            return true;
        }
        self.learn(before.epoch, known, at)
    }

    /// Takes what was heard in passing; tells whether it was news.
    pub(super) fn learn(&mut self, epoch: u64, known: Known, at: i64) -> bool {
        if epoch != self.epoch {
            return false;
        }
        self.heard = self.heard.max(at);
        let news = self.head.is_none_or(|head| {
            known.written > head.written || (known.written == head.written && known != head)
        });
        if news {
            self.set(known);
        }
        news
    }

    /// Tells where a reader stands.
    pub(super) fn place(&self, head: &Known, position: Head) -> Place {
        if position.incarnation != head.text.incarnation || position.revision > head.text.revision {
            return Place::Elsewhere;
        }
        let known = self
            .trail
            .iter()
            .find(|(revision, _)| *revision == position.revision);
        match (position.last, known) {
            (Some(last), Some((_, id))) if last != *id => Place::Elsewhere,
            _ if position.revision == head.text.revision => Place::AtHead,
            (Some(_), None) => Place::PastMaybe,
            _ => Place::Past,
        }
    }

    fn set(&mut self, known: Known) {
        self.head = Some(known);
        if self
            .trail
            .back()
            .is_some_and(|(revision, _)| *revision >= known.text.revision)
        {
            self.trail.clear();
        }
        self.trail.push_back((known.text.revision, known.text.last));
        if self.trail.len() > TRAIL {
            self.trail.pop_front();
        }
    }
}

impl Trouble {
    pub(super) fn of(error: &LogError) -> Self {
        Self {
            denied: matches!(error, LogError::Denied { .. }),
            why: super::client::chain(error).into(),
        }
    }

    pub(super) fn at(&self, place: Box<str>) -> LogError {
        let source = self.why.to_string().into();
        if self.denied {
            LogError::Denied { place, source }
        } else {
            LogError::Unavailable { place, source }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::Incarnation;

    fn known(revision: u64, last: u128, written: i64) -> Known {
        Known {
            text: HeadText {
                incarnation: Incarnation::from_u128(1),
                revision: Revision(revision),
                last: CommitId::from_u128(last),
            },
            cluster: 7,
            written,
        }
    }

    fn position(revision: u64, last: Option<u128>) -> Head {
        Head {
            incarnation: Incarnation::from_u128(1),
            revision: Revision(revision),
            last: last.map(CommitId::from_u128),
        }
    }

    #[test]
    fn a_late_answer_takes_nothing_back() {
        let mut standing = Standing::new();
        let before = standing.before();
        assert!(standing.learn(0, known(2, 2, 20), 20));
        assert!(
            !standing.observe(before, known(1, 1, 10), 10),
            "asked before 2 was heard of"
        );
        assert_eq!((standing.head, standing.epoch), (Some(known(2, 2, 20)), 0));
    }

    #[test]
    fn an_older_answer_to_a_later_question_is_another_history() {
        for (answer, at) in [
            (known(1, 1, 10), 30), // the key is older, although etcd has moved on
            (known(2, 2, 20), 19), // etcd as a whole went back
            (
                Known {
                    cluster: 8,
                    ..known(2, 2, 20)
                },
                30,
            ),
        ] {
            let mut standing = Standing::new();
            standing.learn(0, known(2, 2, 20), 20);
            let before = standing.before();
            assert!(standing.observe(before, answer, at));
            assert_eq!((standing.head, standing.epoch), (Some(answer), 1));
            assert!(
                !standing.learn(0, known(9, 9, 90), 90),
                "heard of in the old epoch"
            );
        }
    }

    #[test]
    fn positions_are_told_apart() {
        let mut standing = Standing::new();
        standing.learn(0, known(5, 50, 10), 10);
        standing.learn(0, known(7, 70, 20), 20);
        let head = standing.head.unwrap();
        for (at, expected) in [
            (position(7, Some(70)), Place::AtHead),
            (position(7, None), Place::AtHead),
            (position(7, Some(71)), Place::Elsewhere),
            (position(8, None), Place::Elsewhere),
            (position(5, Some(50)), Place::Past),
            (position(5, Some(51)), Place::Elsewhere),
            (position(6, Some(60)), Place::PastMaybe),
            (position(6, None), Place::Past),
            (
                Head {
                    incarnation: Incarnation::from_u128(2),
                    ..position(5, None)
                },
                Place::Elsewhere,
            ),
        ] {
            assert_eq!(standing.place(&head, at), expected, "{at:?}");
        }
    }
}
