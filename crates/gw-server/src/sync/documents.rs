//! From stored bytes to entities, many at once.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use gw_core::{Change, Document, Kind, Kinds, index};
use gw_store::{Difference, Key};
use uuid::Uuid;

/// Bound: so many documents are read where they are needed; more take threads of their own.
pub(super) const MANY: usize = 256;

/// How one object is stored otherwise than what is served.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) key: Key,
    pub(super) before: Option<Bytes>,
    pub(super) after: Option<Bytes>,
}

/// A step, as the data plane takes it; or why it cannot.
pub(super) type Reading = Result<Change, Unread>;

/// Why a stored object cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread(pub(super) Box<str>);

impl Step {
    /// None if it is about no configuration.
    pub(super) fn of(difference: &Difference<'_>) -> Option<Self> {
        (!difference.key.is_reserved()).then(|| Self {
            key: difference.key.clone(),
            before: difference.before.map(|entry| entry.value.clone()),
            after: difference.after.map(|entry| entry.value.clone()),
        })
    }
}

/// Which object a key is of; none if it is of a kind that is not known here.
pub(super) fn identity(kinds: &Kinds, key: &Key) -> Option<(Kind, Uuid)> {
    let (kind, id) = index::split_entity_key(key.as_str())?;
    Some((kinds.by_name(kind)?.kind, id.parse().ok()?))
}

/// Reads what each step leads to, in order.
pub(super) fn read(kinds: &Kinds, steps: &[Step]) -> Vec<Reading> {
    steps.iter().map(|step| read_one(kinds, step)).collect()
}

/// The same on as many threads as the machine has use for. Blocks.
pub(super) fn read_many(kinds: &Kinds, steps: &Arc<[Step]>) -> Vec<Reading> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let share = steps.len().div_ceil(threads).max(MANY);
    thread::scope(|scope| {
        let readers: Vec<_> = steps
            .chunks(share)
            .map(|share| scope.spawn(move || read(kinds, share)))
            .collect();
        let mut readings = Vec::with_capacity(steps.len());
        for (reader, share) in readers.into_iter().zip(steps.chunks(share)) {
            // What a reader left behind that panicked is read here, where the panic meets who called.
            readings.extend(reader.join().unwrap_or_else(|_| read(kinds, share)));
        }
        readings
    })
}

fn read_one(kinds: &Kinds, step: &Step) -> Reading {
    let Some((kind, id)) = identity(kinds, &step.key) else {
        return Err(Unread(
            "it is of a kind that this release does not know; install the release that wrote it".into(),
        ));
    };
    let Some(value) = &step.after else {
        return Ok(Change::Delete(kind, id));
    };
    let document: Document = serde_json::from_slice(value)
        .map_err(|error| Unread(format!("it is not a JSON object: {error}").into()))?;
    let entity = kinds
        .load(kind, document)
        .map_err(|violations| Unread(format!("it cannot be read: {violations}").into()))?;
    // What is filed under another name than its own could never be taken back.
    if (entity.kind(), entity.id()) != (kind, id) {
        return Err(Unread(format!("it says that its id is {}", entity.id()).into()));
    }
    Ok(Change::Put(entity))
}
