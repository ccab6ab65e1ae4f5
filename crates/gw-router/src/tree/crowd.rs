//! Places from which many segments go on: there a whole segment is found by its hash.

use std::{mem, sync::Arc};

use super::{Branch, Kids, Leaf, MARK, Node, Run, rejoin, settle};
use crate::bytes;

/// Bound: about how many segments are told apart byte by byte. Where there are fewer, a hash takes longer to make than the
/// bytes to follow: not in instructions, but each of them waits for the one before.
pub(crate) const CROWD: u8 = 64;

/// Bound: how many nodes are looked at to find out how many segments there are.
const LOOK: usize = 8 * CROWD as usize;

impl<L: Leaf> Node<L> {
    /// Makes ready for a segment that is to go on below.
    pub(super) fn one_more_segment(&mut self) {
        let came = self.kids.came();
        if self.kids.is_crowd() || came == Kids::<Self>::UNCOUNTED {
            return;
        }
        let came = (came + 1).min(CROWD);
        self.kids.set_came(came);
        // Note: segments with one hash and nothing else in common hang below an empty run, and so they do if they are
        // many: it must not go on like that.
        if came == CROWD && !self.run.bytes().is_empty() {
            let found = self.segments();
            match found {
                None => self.kids.set_came(Kids::<Self>::UNCOUNTED),
                // A place at the edge is not looked over each time that something comes and goes.
                Some(found) if found.len() < usize::from(CROWD) => {
                    self.kids.set_came((found.len() as u8).min(CROWD - CROWD / 4))
                }
                Some(found) => self.gather(&found),
            }
        }
    }

    /// The whole segments that go on below; `None` if they cannot stand by hash, or are hard to find.
    fn segments(&self) -> Option<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let mut open: Vec<(Vec<u8>, &Self)> = vec![(Vec::new(), self)];
        let mut looked = 0;
        while let Some((text, node)) = open.pop() {
            looked += 1;
            if looked > LOOK || node.kids.is_crowd() {
                return None;
            }
            for child in node.kids.iter() {
                let run = child.run.bytes();
                let end = run.iter().position(|byte| matches!(*byte, b'/' | MARK));
                let mut text = text.clone();
                text.extend_from_slice(run.get(..end.unwrap_or(run.len())).unwrap_or_default());
                match end {
                    Some(0) => {}
                    // The rest of the segment is a parameter.
                    Some(end) if run.get(end) == Some(&MARK) => {}
                    Some(_) => found.push(text),
                    None => {
                        if child.ends_segment() {
                            found.push(text.clone());
                        }
                        open.push((text, child));
                    }
                }
            }
        }
        let mut hashes: Vec<u32> = found.iter().map(|text| bytes::hash(text)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        (hashes.len() == found.len()).then_some(found)
    }

    /// Whether a segment ends with the run.
    fn ends_segment(&self) -> bool {
        !self.exact.is_empty() || self.kids.child(b'/').is_some()
    }

    fn gather(&mut self, segments: &[Vec<u8>]) {
        let mut gathered = Vec::with_capacity(segments.len());
        for text in segments {
            gathered.extend(self.extract(text).map(|node| (bytes::hash(text), node)));
        }
        self.kids.become_crowd();
        for (hash, node) in gathered {
            self.kids.insert_segment(hash, node);
        }
    }

    /// Takes out what goes on with a whole segment.
    fn extract(&mut self, text: &[u8]) -> Option<Arc<Self>> {
        let first = *text.first()?;
        let mut trail: Vec<(Arc<Self>, Branch)> = Vec::new();
        let mut rest = text;
        let mut held = self.kids.remove(first)?;
        loop {
            let node = Arc::make_mut(&mut held);
            let run = node.run.bytes();
            if run.contains(&b'/') {
                let before = text.get(..text.len() - rest.len()).unwrap_or_default();
                node.run = Run::new(&[before, run].concat());
                self.put_back(first, rejoin(None, trail));
                return Some(held);
            }
            rest = rest.get(run.len()..)?;
            let Some(byte) = rest.first() else { break };
            let below = node.kids.remove(*byte)?;
            trail.push((mem::replace(&mut held, below), Branch::Child(*byte)));
        }
        let node = Arc::make_mut(&mut held);
        let mut taken = Self::leading_to(text);
        taken.exact = mem::take(&mut node.exact);
        taken.bound = taken.exact.bound();
        if let Some(slash) = node.kids.remove(b'/') {
            taken.bound = taken.bound.max(slash.bound);
            taken.kids.insert(b'/', slash);
        }
        self.put_back(first, rejoin(settle(held), trail));
        settle(Arc::new(taken))
    }

    fn put_back(&mut self, first: u8, left: Option<Arc<Self>>) {
        if let Some(left) = left {
            self.kids.insert(first, left);
        }
    }
}
