//! Things by a number that counts up: a persistent trie of eight ways.

use std::sync::Arc;

/// A map from dense numbers. A clone is O(1); a change copies one node per digit.
pub(crate) struct Ids<V> {
    root: Option<Arc<Node<V>>>,
    /// How many digits the numbers have.
    height: u32,
}

enum Node<V> {
    Inner([Option<Arc<Self>>; WAYS]),
    Leaf([Option<V>; WAYS]),
}

const BITS: u32 = 3;
const WAYS: usize = 1 << BITS;

impl<V: Clone> Ids<V> {
    pub(crate) fn get(&self, id: u64) -> Option<&V> {
        if !self.reaches(id) {
            return None;
        }
        let (mut node, mut height) = (self.root.as_deref()?, self.height);
        loop {
            height -= 1;
            let way = digit(id, height);
            match node {
                Node::Inner(below) => node = below[way].as_deref()?,
                Node::Leaf(values) => return values[way].as_ref(),
            }
        }
    }

    pub(crate) fn insert(&mut self, id: u64, value: V) {
        while !self.reaches(id) {
            self.height += 1;
            if let Some(root) = self.root.take() {
                let mut below = [const { None }; WAYS];
                below[0] = Some(root);
                self.root = Some(Arc::new(Node::Inner(below)));
            }
        }
        let mut height = self.height - 1;
        let mut at = self.root.get_or_insert_with(|| Node::at(height));
        loop {
            let way = digit(id, height);
            match Arc::make_mut(at) {
                Node::Inner(below) => {
                    height -= 1;
                    at = below[way].get_or_insert_with(|| Node::at(height));
                }
                Node::Leaf(values) => {
                    values[way] = Some(value);
                    return;
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<V> {
        self.get(id)?;
        let (height, root) = (self.height, self.root.as_mut()?);
        let removed = remove(root, id, height - 1);
        if root.is_empty() {
            *self = Self::default();
        }
        removed
    }

    /// All values, in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &V> {
        let mut stack: Vec<&Node<V>> = self.root.as_deref().into_iter().collect();
        std::iter::from_fn(move || {
            loop {
                match stack.pop()? {
                    Node::Inner(below) => stack.extend(below.iter().rev().flatten().map(|node| &**node)),
                    Node::Leaf(values) => return Some(values.iter().flatten()),
                }
            }
        })
        .flatten()
    }

    fn reaches(&self, id: u64) -> bool {
        self.height >= 64 / BITS || self.height > 0 && id >> (self.height * BITS) == 0
    }
}

fn digit(id: u64, height: u32) -> usize {
    (id >> (height * BITS)) as usize % WAYS
}

/// Takes a value out and drops the nodes that it leaves empty. Bound: as many levels as a number has digits.
fn remove<V: Clone>(node: &mut Arc<Node<V>>, id: u64, height: u32) -> Option<V> {
    let way = digit(id, height);
    match Arc::make_mut(node) {
        Node::Leaf(values) => values[way].take(),
        Node::Inner(below) => {
            let place = &mut below[way];
            let child = place.as_mut()?;
            let removed = remove(child, id, height - 1);
            if child.is_empty() {
                *place = None;
            }
            removed
        }
    }
}

impl<V: Clone> Node<V> {
    fn at(height: u32) -> Arc<Self> {
        Arc::new(if height == 0 {
            Self::Leaf([const { None }; WAYS])
        } else {
            Self::Inner([const { None }; WAYS])
        })
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Inner(below) => below.iter().all(Option::is_none),
            Self::Leaf(values) => values.iter().all(Option::is_none),
        }
    }
}

impl<V: Clone> Clone for Node<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Inner(below) => Self::Inner(below.clone()),
            Self::Leaf(values) => Self::Leaf(values.clone()),
        }
    }
}

impl<V> Clone for Ids<V> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            height: self.height,
        }
    }
}

impl<V> Default for Ids<V> {
    fn default() -> Self {
        Self {
            root: None,
            height: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Ids;

    #[test]
    fn it_is_a_map() {
        let (mut ids, mut model, mut seed) = (Ids::default(), BTreeMap::new(), 3_u64);
        let mut kept = Vec::new();
        for round in 0..5_000_u64 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let id = match seed >> 60 {
                0 => u64::MAX - (seed >> 33) % 3,
                _ => (seed >> 33) % 700,
            };
            if seed >> 20 & 1 == 0 {
                ids.insert(id, round);
                model.insert(id, round);
            } else {
                assert_eq!(ids.remove(id), model.remove(&id));
            }
            assert_eq!(ids.get(id), model.get(&id));
            assert_eq!(ids.get(seed), model.get(&seed));
            if round % 500 == 0 {
                assert!(ids.iter().eq(model.values()));
                kept.push((ids.clone(), model.clone()));
            }
        }
        for (ids, model) in kept {
            assert!(ids.iter().eq(model.values()), "a clone is its own");
        }
    }
}
