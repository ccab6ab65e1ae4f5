//! What the server lends about the nodes that serve one store, and about what of the configuration they do not serve.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use gw_store::{Op, View};

use super::Node;

/// What is known of all nodes that serve this configuration.
pub trait Cluster: Send + Sync {
    /// The nodes that are alive, this one among them, in the order of their names.
    fn nodes(&self) -> Pin<Box<dyn Future<Output = Result<Vec<ClusterNode>, ClusterError>> + Send + '_>>;

    /// Resolves when every node that is alive serves `revision` or a later one, or when time is up: with those that do not.
    fn served_by_all(
        &self,
        revision: u64,
        within: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<ClusterNode>, ClusterError>> + Send + '_>>;
}

/// What of the configuration this node does not serve as it is stored.
pub trait Problems: Send + Sync {
    /// The objects that cannot run here, by kind and id.
    fn problems(&self) -> Vec<ObjectProblem>;

    /// What an operator must know of, the oldest first.
    fn alarms(&self) -> Vec<Alarm>;

    /// What of these changes of a configuration no node would serve without being told that it is meant, because it is
    /// too much that they remove; none if they do not.
    fn too_much(&self, _view: &View, _changes: &[Op]) -> Option<Box<str>> {
        None
    }

    /// Whether this node holds back what is stored, so that no change is served before that is settled.
    fn holds_back(&self) -> bool {
        false
    }

    /// Serves what is held back, because an operator says that it is meant. Resolves with the revision served then; none
    /// if nothing was held back; an error if the store does not take the operator's word.
    fn accept(&self, word: Word) -> Accepting<'_>;
}

/// What comes of an operator's word.
pub type Accepting<'a> = Pin<Box<dyn Future<Output = Result<Option<u64>, ClusterError>> + Send + 'a>>;

/// An operator's word, as the history will have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Who says so.
    pub author: String,
    /// What for; none if nothing is said of that.
    pub message: Option<String>,
    /// The request by which it is said.
    pub request: String,
}

/// A node that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterNode {
    /// Who it is.
    pub node: Node,
    /// Whether it is the one that answers.
    pub is_this: bool,
    /// Its release.
    pub version: Box<str>,
    /// When it was started.
    pub started: SystemTime,
    /// The history that its revision belongs to.
    pub incarnation: Box<str>,
    /// The revision it serves.
    pub applied: u64,
    /// What that revision holds: equal on nodes that serve the same.
    pub hash: Box<str>,
    /// Since when it serves it.
    pub applied_at: SystemTime,
    /// Since when it does not know whether there is a newer one; none if it does.
    pub stale_since: Option<SystemTime>,
    /// How many objects cannot run there.
    pub problems: u64,
}

/// Why the store says nothing of the cluster, or takes no word for it.
#[derive(Debug, thiserror::Error)]
#[error("the store does not answer for the cluster: {why}")]
pub struct ClusterError {
    /// What it says instead.
    pub why: Box<str>,
}

/// An object that cannot run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectProblem {
    /// The plural of its kind, e.g. `routes`.
    pub kind: Box<str>,
    /// Its id, or what stands in the place of one.
    pub id: Box<str>,
    /// What is wrong with it, as an operator reads it.
    pub message: Box<str>,
    /// Whether its last good version goes on running; otherwise it is left out.
    pub kept: bool,
    /// The revision at which it was found out.
    pub revision: u64,
    /// When that was.
    pub since: SystemTime,
}

/// Something that an operator must know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// What it is, in a word: `held_back`, `store_reset`, `diverged`, ...
    pub kind: Box<str>,
    /// What is the matter and what to do, as an operator reads it.
    pub message: Box<str>,
    /// Since when.
    pub since: SystemTime,
    /// The revision it is about, if it is about one.
    pub revision: Option<u64>,
}
