//! What a step removes, and whether that is too much.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use gw_core::{Document, Kinds, OnDelete, index};

/// The kind of which a share is too much.
const ROUTES: &str = "routes";

/// How much a step may remove without having been meant to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// The share of the routes, per cent.
    pub(crate) share: u8,
    /// Fewer objects of a kind than these are never too many.
    pub(crate) few: usize,
}

/// What a step removes of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The kind's plural name.
    pub(crate) kind: Box<str>,
    /// How many it removes.
    pub(crate) gone: usize,
    /// How many there are.
    pub(crate) of: usize,
}

/// An object that is removed: its key, and its value as long as it was there.
pub(super) type Deletion<'a> = (&'a str, &'a [u8]);

impl Bounds {
    /// Of which kinds these are too many: routes, if they are more than their share; of any kind, if they are all there
    /// are. What is deleted along with its owner does not count, for it is the owner that was deleted.
    pub(super) fn too_much(
        self,
        kinds: &Kinds,
        deletions: &[Deletion<'_>],
        of: impl Fn(&str) -> usize,
    ) -> Vec<Loss> {
        let mut by_kind: BTreeMap<&str, Vec<Deletion<'_>>> = BTreeMap::new();
        for deletion in deletions {
            // What is reserved is no configuration.
            if let Some((kind, _)) = index::split_entity_key(deletion.0)
                && !kind.starts_with('_')
            {
                by_kind.entry(kind).or_default().push(*deletion);
            }
        }
        let few = self.few.max(1);
        by_kind.retain(|_, gone| gone.len() >= few);
        if by_kind.is_empty() {
            return Vec::new();
        }
        let keys: HashSet<&str> = deletions.iter().map(|(key, _)| *key).collect();
        let mut losses = Vec::new();
        for (kind, gone) in by_kind {
            let of = of(kind);
            let of_routes = kind == ROUTES && gone.len() * 100 > of * usize::from(self.share);
            let on_their_own = || {
                gone.iter()
                    .filter(|one| !went_along(kinds, kind, one, &keys))
                    .count()
            };
            if of_routes || (gone.len() >= of && on_their_own() >= few) {
                losses.push(Loss {
                    kind: kind.into(),
                    gone: gone.len(),
                    of,
                });
            }
        }
        losses
    }
}

/// Whether an object goes whenever its owner does, and its owner went.
fn went_along(kinds: &Kinds, kind: &str, (_, value): &Deletion<'_>, gone: &HashSet<&str>) -> bool {
    let Some(spec) = kinds.by_name(kind) else {
        return false;
    };
    let mut owners = spec
        .references
        .iter()
        .filter(|reference| reference.on_delete == OnDelete::Cascade)
        .peekable();
    if owners.peek().is_none() {
        return false;
    }
    let Ok(document) = serde_json::from_slice::<Document>(value) else {
        return false;
    };
    owners.any(|reference| {
        let mut ids = reference.ids(&document);
        ids.any(|id| gone.contains(&*format!("{}/{id}", reference.target)))
    })
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, gone, of } = self;
        match gone {
            1 if *of == 1 => write!(f, "the only one of {kind}"),
            _ if gone == of => write!(f, "all {gone} {kind}"),
            _ => write!(f, "{gone} of {of} {kind}"),
        }
    }
}

/// Several losses, as an operator reads them.
pub(crate) struct Told<'a>(pub(crate) &'a [Loss]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, loss) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { ", " };
            write!(f, "{between}{loss}")?;
        }
        Ok(())
    }
}
