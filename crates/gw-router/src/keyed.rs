//! The rules of one place by a value that a condition of theirs wants, so that their number does not count.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::{
    condition::{Equality, Source},
    entry::{Entry, Met},
    key::Key,
    request::Request,
    slot::{Level, Slot, Visitor},
    tree::{Node, Place, Root, exact, prune, update},
};

/// Rules by the values of one condition each; a rule whose condition takes several values stands under each.
///
/// A rule is found under the value of its first condition, there under that of its second, and so on.
pub(crate) struct Keyed<T> {
    /// By what the values are taken from.
    sources: Vec<Values<T>>,
}

struct Values<T> {
    source: Source,
    ignore_case: bool,
    slots: Root<Slot<T>>,
}

impl<T> Keyed<T> {
    /// Whether a condition parts the entry from others, after this many that have.
    pub(crate) fn takes(entry: &Entry<T>, level: usize) -> bool {
        entry.stored.rule.equalities().len() > level
    }

    pub(crate) fn insert(&mut self, entry: &Entry<T>, level: usize) {
        let rule = &entry.stored.rule;
        let equalities = rule.equalities();
        let Some(equality) = equalities.get(level) else {
            return;
        };
        let bound = entry.rank().bound();
        let slots = &mut self.values_mut(equality).slots;
        for value in equality.values {
            update(
                slots,
                &Key::of_bytes(value.bytes()),
                Place::Exact,
                bound,
                |slot| {
                    slot.insert(entry.clone(), Level::Value(level + 1));
                },
            );
        }
    }

    pub(crate) fn remove(&mut self, entry: &Entry<T>, level: usize) {
        let rule = &entry.stored.rule;
        let equalities = rule.equalities();
        let Some(equality) = equalities.get(level) else {
            return;
        };
        let slots = &mut self.values_mut(equality).slots;
        for value in equality.values {
            prune(slots, &Key::of_bytes(value.bytes()), Place::Exact, |slot| {
                slot.remove(entry, Level::Value(level + 1));
            });
        }
        self.sources.retain(|values| values.slots.is_some());
    }

    fn values_mut(&mut self, equality: &Equality<'_>) -> &mut Values<T> {
        let index = self.sources.iter().position(|values| {
            values.source == *equality.source && values.ignore_case == equality.ignore_case
        });
        let index = index.unwrap_or_else(|| {
            self.sources.push(Values {
                source: equality.source.clone(),
                ignore_case: equality.ignore_case,
                slots: None,
            });
            self.sources.len() - 1
        });
        &mut self.sources[index]
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    pub(crate) fn bound(&self) -> u64 {
        let bounds = self.sources.iter().filter_map(|values| values.slots.as_deref());
        bounds.map(|slots| slots.bound).fold(0, u64::max)
    }

    pub(crate) fn offer<'r>(
        &'r self,
        request: &Request<'_>,
        met: Met<'_>,
        visitor: &mut impl Visitor<'r, T>,
    ) {
        let facts = request.sources();
        for values in &self.sources {
            let Some(slots) = values.slots.as_deref() else {
                continue;
            };
            let mut offer = |value: &[u8]| {
                if let Some(node) = exact(slots, value)
                    && node.bound >= visitor.floor()
                {
                    node.exact.offer(request, met, visitor);
                }
            };
            values.source.any_value(&facts, |value| {
                if values.ignore_case && value.iter().any(u8::is_ascii_uppercase) {
                    let lower: SmallVec<[u8; 256]> = value.iter().map(u8::to_ascii_lowercase).collect();
                    offer(&lower);
                } else {
                    offer(value);
                }
                false
            });
        }
    }

    /// The entries that do not want other values than this one does, until `visit` breaks.
    pub(crate) fn alike<'r>(
        &'r self,
        entry: &Entry<T>,
        visit: &mut dyn FnMut(&'r Entry<T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let equalities = entry.stored.rule.equalities();
        for values in &self.sources {
            let Some(root) = values.slots.as_deref() else {
                continue;
            };
            let same = |equality: &&Equality<'_>| {
                *equality.source == values.source && equality.ignore_case == values.ignore_case
            };
            match equalities.iter().find(same) {
                Some(equality) => {
                    let wanted = equality.values.iter();
                    let mut nodes = wanted.filter_map(|value| exact(root, value.as_bytes()));
                    nodes.try_for_each(|node| node.exact.each(visit))?;
                }
                None => each(root, visit)?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Every entry, those with several values as often, until `visit` breaks.
    pub(crate) fn each<'r>(
        &'r self,
        visit: &mut dyn FnMut(&'r Entry<T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut roots = self.sources.iter().filter_map(|values| values.slots.as_deref());
        roots.try_for_each(|root| each(root, visit))
    }
}

fn each<'r, T>(
    root: &'r Node<Slot<T>>,
    visit: &mut dyn FnMut(&'r Entry<T>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut nodes = vec![root];
    while let Some(node) = nodes.pop() {
        node.exact.each(visit)?;
        nodes.extend(node.branches());
    }
    ControlFlow::Continue(())
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self { sources: Vec::new() }
    }
}

impl<T> Clone for Keyed<T> {
    fn clone(&self) -> Self {
        Self {
            sources: self.sources.clone(),
        }
    }
}

impl<T> Clone for Values<T> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            ignore_case: self.ignore_case,
            slots: self.slots.clone(),
        }
    }
}
