//! What the node's data plane would do with a configuration that is not stored yet.

use std::time::Duration;

use gw_core::{Document, Kind};
use uuid::Uuid;

use super::{Named, Overlap};

/// What would become of requests.
pub trait Foresight: Send + Sync {
    /// What this node would do after these changes of what it serves now. It is asked where it may take a while.
    fn foresee(&self, changes: &[Planned]) -> Forecast;
}

/// An entity as it would be.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// What it is.
    pub kind: Kind,
    /// Its identity.
    pub id: Uuid,
    /// As it would be stored; none if it would be gone.
    pub document: Option<Document>,
}

/// What a data plane would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// The objects that could not run, and why; those that cannot run now already are left out.
    pub unable: Vec<Unable>,
    /// Routes among the changed ones that would be in others' way.
    pub overlaps: Vec<Overlap>,
    /// What would become of requests of late; none if they are not kept.
    pub traffic: Option<Traffic>,
}

/// An object that could not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unable {
    /// What it is.
    pub kind: Kind,
    /// Its identity.
    pub id: Uuid,
    /// What would be wrong with it.
    pub message: Box<str>,
}

/// What would become of requests of late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many were looked at.
    pub seen: u64,
    /// Those that would go elsewhere, most of them first.
    pub moved: Vec<Moved>,
    /// Those that have a route now and would have none.
    pub lost: u64,
    /// Those that have none now and would have one.
    pub gained: u64,
    /// Those of which too little is kept to say how they are routed now; they are in none of the others.
    pub unsure: u64,
    /// How long ago the first of them came.
    pub span: Duration,
}

/// Requests that would go from one route to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The route that gets them now; none if none does.
    pub from: Option<Named>,
    /// The route that would; none if none would.
    pub to: Option<Named>,
    /// How many.
    pub count: u64,
    /// One of them: method, host and path.
    pub example: Box<str>,
}
