//! From stored bytes to entities, many at once.

use std::error::Error as _;
use std::thread;

use bytes::Bytes;
use gw_core::{Change, Kind, Kinds, index};
use gw_store::{Contents, Difference, Key, View};
use uuid::Uuid;

/// Bound: so many documents are read at once, where they are needed; more take other threads.
pub(super) const MANY: usize = 256;

/// What the data plane is to take: how it is stored, apart from what is served.
#[derive(Clone, Debug)]
pub(super) enum Course {
    /// All of it: nothing is served yet.
    Whole(Contents),
    /// What the second has otherwise than the first, which is served.
    Between(View, View),
    /// These values.
    Values(Vec<(Key, Bytes)>),
}

/// How one object is stored otherwise than what is served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'c> {
    pub(super) key: &'c Key,
    pub(super) before: Option<&'c Bytes>,
    pub(super) after: Option<&'c Bytes>,
}

/// Why a stored object cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unread(pub(super) Box<str>);

/// Steps, as the data plane takes them, and why it cannot take others.
#[derive(Debug, Default)]
pub(super) struct Readings {
    pub(super) changes: Vec<Change>,
    /// By the step's position, in order.
    pub(super) unread: Vec<(usize, Unread)>,
}

impl<'c> Step<'c> {
    fn of(difference: Difference<'c>) -> Self {
        Self {
            key: difference.key,
            before: difference.before.map(|entry| &entry.value),
            after: difference.after.map(|entry| &entry.value),
        }
    }
}

impl Course {
    /// Whether it is of more steps than are taken at once.
    pub(super) fn is_long(&self) -> bool {
        match self {
            Self::Whole(contents) => contents.len() > MANY,
            Self::Between(served, next) => served.differences(next).nth(MANY).is_some(),
            Self::Values(values) => values.len() > MANY,
        }
    }

    /// The steps in the order of their keys; none is about what is no configuration.
    pub(super) fn steps(&self) -> Vec<Step<'_>> {
        let put = |key, value| Step {
            key,
            before: None,
            after: Some(value),
        };
        let mut steps: Vec<Step<'_>> = match self {
            Self::Whole(contents) => contents
                .iter()
                .map(|(key, entry)| put(key, &entry.value))
                .collect(),
            Self::Between(served, next) => served.differences(next).map(Step::of).collect(),
            Self::Values(values) => values.iter().map(|(key, value)| put(key, value)).collect(),
        };
        steps.retain(|step| !step.key.is_reserved());
        steps
    }
}

/// Which object a key is of; none if it is of a kind that is not known here.
pub(super) fn identity(kinds: &Kinds, key: &Key) -> Option<(Kind, Uuid)> {
    let (kind, id) = index::split_entity_key(key.as_str())?;
    Some((kinds.by_name(kind)?.kind, id.parse().ok()?))
}

/// Reads what each step leads to, in order: on one thread, or if there are many on as many as the machine has use for.
pub(super) fn read(kinds: &Kinds, steps: &[Step<'_>]) -> Readings {
    if steps.len() <= MANY {
        // How many threads there could be is a question to the system, which reads files to answer it.
        return read_share(kinds, steps);
    }
    let threads = thread::available_parallelism().map_or(1, usize::from).min(8);
    let mut shares = steps.chunks(steps.len().div_ceil(threads).max(MANY));
    let first = shares.next().unwrap_or_default();
    thread::scope(|scope| {
        let readers: Vec<_> = shares
            .map(|share| (share, scope.spawn(move || read_share(kinds, share))))
            .collect();
        let mut readings = read_share(kinds, first);
        let mut position = first.len();
        for (share, reader) in readers {
            // What a reader left behind that panicked is read here, where the panic meets who called.
            let read = reader.join().unwrap_or_else(|_| read_share(kinds, share));
            readings.changes.extend(read.changes);
            let unread = read.unread.into_iter();
            readings
                .unread
                .extend(unread.map(|(at, why)| (position + at, why)));
            position += share.len();
        }
        readings
    })
}

fn read_share(kinds: &Kinds, steps: &[Step<'_>]) -> Readings {
    let mut readings = Readings {
        changes: Vec::with_capacity(steps.len()),
        unread: Vec::new(),
    };
    for (position, step) in steps.iter().enumerate() {
        match read_one(kinds, *step) {
            Ok(change) => readings.changes.push(change),
            Err(unread) => readings.unread.push((position, unread)),
        }
    }
    readings
}

fn read_one(kinds: &Kinds, step: Step<'_>) -> Result<Change, Unread> {
    let Some((kind, id)) = identity(kinds, step.key) else {
        return Err(Unread(
            "it is of a kind that this release does not know; install the release that wrote it".into(),
        ));
    };
    let Some(value) = step.after else {
        return Ok(Change::Delete(kind, id));
    };
    let entity = kinds.read(kind, value).map_err(|error| {
        let cause = error
            .source()
            .map_or_else(String::new, |cause| format!(": {cause}"));
        Unread(format!("{error}{cause}").into())
    })?;
    // What is filed under another name than its own could never be taken back.
    if (entity.kind(), entity.id()) != (kind, id) {
        return Err(Unread(format!("it says that its id is {}", entity.id()).into()));
    }
    Ok(Change::Put(entity))
}
