//! The rules that can have to do with one, found in the router's own tree: along its path, and not elsewhere.

use std::ops::ControlFlow;

use super::{
    claim::Claim,
    language::{Class, States},
};
use crate::{
    bytes,
    entry::Entry,
    key::Hop,
    order::Profile,
    router::Router,
    slot::{Level, Slot},
    tree::{By, Crowd, MARK, Node, Place, hash_path, seek, whole},
};

type PathNode<T> = Node<Slot<T>>;

/// How much may still be looked at.
pub(super) struct Budget {
    pub(super) nodes: usize,
    pub(super) entries: usize,
}

impl Budget {
    fn node(&mut self) -> ControlFlow<()> {
        spend(&mut self.nodes)
    }
}

fn spend(left: &mut usize) -> ControlFlow<()> {
    match left.checked_sub(1) {
        Some(less) => {
            *left = less;
            ControlFlow::Continue(())
        }
        None => ControlFlow::Break(()),
    }
}

/// Visits the entries that may shadow, tie with, cut or be cut by a claim, some more than once; the likely ones first,
/// until the budget is spent.
pub(super) fn related<'r, T>(
    router: &'r Router<T>,
    claim: &Claim<'_, T>,
    budget: &mut Budget,
    visit: &mut dyn FnMut(&'r Entry<T>),
) -> ControlFlow<()> {
    let Some((root, level)) = tree(router, claim) else {
        return ControlFlow::Continue(());
    };
    let mut search = Search {
        claim,
        head: claim.key.head().len(),
        ranks_heads: router.profile().ranks_heads(),
        ignore_slash: router.options().ignore_trailing_slash,
        budget,
        visit,
    };
    let place = seek(root, &claim.key, claim.place).and_then(|node| node.place(claim.place));
    if let Some(slot) = place {
        let (left, visit) = (&mut search.budget.entries, &mut *search.visit);
        slot.alike(claim.entry, level, &mut |entry| {
            spend(left)?;
            visit(entry);
            ControlFlow::Continue(())
        })?;
    }
    if router.ranks_across_places() {
        search.everywhere(root)
    } else {
        search.cuts(root)
    }
}

/// The tree in which a claim stands, and by what its slots are parted.
fn tree<'r, T>(router: &'r Router<T>, claim: &Claim<'_, T>) -> Option<(&'r PathNode<T>, Level)> {
    let host = claim
        .entry
        .host()
        .filter(|_| router.profile() == Profile::HostFirst);
    let Some(host) = host else {
        return Some((router.paths().as_deref()?, Level::Path));
    };
    let root = router.zones()?.leaf(host)?.of_port(host.port())?;
    Some((root.as_deref()?, Level::Host))
}

struct Search<'c, 'e, 'r, T> {
    claim: &'c Claim<'e, T>,
    /// The length of the claim's literal head.
    head: usize,
    ranks_heads: bool,
    ignore_slash: bool,
    budget: &'c mut Budget,
    visit: &'c mut dyn FnMut(&'r Entry<T>),
}

/// A node to be looked at, and where in the claim's language the way to it leads.
struct Step<'r, T> {
    node: &'r PathNode<T>,
    states: States,
    /// How many bytes lead here.
    depth: usize,
    /// Whether nothing but bytes does.
    plain: bool,
}

impl<'c, 'r, T> Search<'c, '_, 'r, T> {
    fn slot(&mut self, slot: &'r Slot<T>) -> ControlFlow<()> {
        let (left, visit) = (&mut self.budget.entries, &mut *self.visit);
        slot.each(&mut |entry| {
            spend(left)?;
            visit(entry);
            ControlFlow::Continue(())
        })
    }

    // --- All places with a path in common ---

    fn everywhere(&mut self, root: &'r PathNode<T>) -> ControlFlow<()> {
        let mut open = vec![Step {
            node: root,
            states: self.claim.language().start(),
            depth: 0,
            plain: true,
        }];
        while let Some(step) = open.pop() {
            self.budget.node()?;
            if let Some(step) = self.run(step) {
                step.node.tail.iter().try_for_each(|tail| self.slot(tail))?;
                let language = self.claim.language();
                let slashed =
                    || self.ignore_slash && language.accepts(&language.after_byte(&step.states, b'/'));
                if language.accepts(&step.states) || slashed() {
                    self.slot(&step.node.exact)?;
                }
                self.branch(step, &mut open);
            }
        }
        ControlFlow::Continue(())
    }

    /// Follows the run of a node.
    fn run(&self, step: Step<'r, T>) -> Option<Step<'r, T>> {
        let Step {
            node,
            mut states,
            mut depth,
            mut plain,
        } = step;
        let language = self.claim.language();
        for byte in node.run.bytes() {
            if *byte == MARK {
                if plain && !self.may_part(depth) {
                    return None;
                }
                plain = false;
                states = language.after_some(&states, Class::Segment);
            } else {
                depth += 1;
                if plain && !self.may_go_on(depth) {
                    return None;
                }
                states = language.after_byte(&states, *byte);
            }
            if states.is_empty() {
                return None;
            }
        }
        Some(Step {
            node,
            states,
            depth,
            plain,
        })
    }

    /// Whether a literal head of this length, with a wildcard behind it, is of interest.
    fn may_part(&self, depth: usize) -> bool {
        !self.ranks_heads || depth == self.head || depth > self.head && self.claim.is_raw_prefix()
    }

    /// Whether a literal head of at least this length is of interest.
    fn may_go_on(&self, depth: usize) -> bool {
        !self.ranks_heads || depth <= self.head || self.claim.is_literal() || self.claim.is_raw_prefix()
    }

    /// Notes the nodes below, those with wildcards last: they are to be looked at first.
    fn branch(&self, step: Step<'r, T>, open: &mut Vec<Step<'r, T>>) {
        let Step {
            node,
            states,
            depth,
            plain,
        } = step;
        let language = self.claim.language();
        let below = |node: &'r PathNode<T>, states: States, plain: bool| Step {
            node,
            states,
            depth,
            plain,
        };
        let first = |child: &PathNode<T>| child.run.bytes().first().copied();
        // Of a crowd only one is of interest, if the claim has no choice in this segment.
        let (crowd, plain_kids) = node.kids.parted();
        let segment = crowd.and_then(|_| language.segment(&states));
        let one = segment
            .as_ref()
            .and_then(|text| crowd?.get(By::Segment, bytes::hash(text)));
        let all = crowd.filter(|_| segment.is_none());
        let several = all.into_iter().flat_map(|all| all.segments.iter());
        let kids = several.take(self.budget.nodes).chain(plain_kids.iter());
        let paths = crowd
            .into_iter()
            .flat_map(|crowd| self.paths(crowd, depth, plain));
        let kids = paths.chain(one).chain(kids);
        for child in kids {
            let fits = |byte| !language.after_byte(&states, byte).is_empty();
            if first(child).is_none_or(fits) {
                open.push(below(child, states.clone(), plain));
            }
        }
        if plain && !self.may_part(depth) {
            return;
        }
        if let Some(param) = &node.param {
            open.push(below(param, states.clone(), plain));
        }
        for (hop, child) in node.side.iter().flat_map(|side| side.ways()) {
            let class = match hop {
                Hop::Template(_) => Class::Segment,
                Hop::Wild { .. } => Class::All,
            };
            let mut after = language.after_some(&states, class);
            if hop == (Hop::Wild { least: false }) {
                after.extend(states.iter().copied());
                after.sort_unstable();
                after.dedup();
            }
            open.push(below(child, after, false));
        }
    }

    /// Of what stands by whole paths the one that a claim without wildcards is, else all, as far as the budget goes.
    fn paths(
        &self,
        crowd: &'r Crowd<PathNode<T>>,
        depth: usize,
        plain: bool,
    ) -> impl Iterator<Item = &'r PathNode<T>> + use<'r, T> {
        let sole = plain && self.claim.is_literal();
        let rest = self.claim.key.start().get(depth..).filter(|_| sole);
        let one = rest.and_then(|rest| crowd.get(By::Path, hash_path(rest)?));
        let all = crowd.paths.iter().filter(move |_| !sole);
        let several = all.flat_map(|paths| paths.iter());
        one.into_iter().chain(several.take(self.budget.nodes))
    }

    // --- Only prefixes that cut segments ---

    fn cuts(&mut self, root: &'r PathNode<T>) -> ControlFlow<()> {
        let mut passed = Vec::new();
        self.along(root, &mut passed)?;
        for (crowd, rest) in passed {
            self.cut_paths(crowd, rest)?;
        }
        ControlFlow::Continue(())
    }

    /// What a prefix cuts of what stands by whole paths, which do not tell where to look.
    fn cut_paths(&mut self, crowd: &'r Crowd<PathNode<T>>, rest: &[u8]) -> ControlFlow<()> {
        for path in crowd.paths.iter().flat_map(|paths| paths.iter()) {
            self.budget.node()?;
            let run = path.run.bytes();
            // One that is shorter stands for several with one hash.
            if run.starts_with(rest) || rest.starts_with(run) {
                self.all_below(path)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Follows the claim's path, and notes the crowds it passes with what is left of it there.
    fn along<'k>(
        &mut self,
        root: &'r PathNode<T>,
        passed: &mut Vec<(&'r Crowd<PathNode<T>>, &'k [u8])>,
    ) -> ControlFlow<()>
    where
        'c: 'k,
    {
        let key = &self.claim.key;
        let (mut node, mut rest, mut hops) = (root, key.start(), key.hops());
        loop {
            self.budget.node()?;
            let run = node.run.bytes();
            let common = bytes::common(run, rest);
            let (more, left) = (run.get(common..), rest.get(common..));
            let (Some(more), Some(left)) = (more, left) else {
                return ControlFlow::Continue(());
            };
            if left.is_empty() && hops.len() == 0 {
                return self.below(node, more);
            }
            if !more.is_empty() {
                return ControlFlow::Continue(());
            }
            rest = left;
            let inside = run.last().is_some_and(|byte| *byte != b'/')
                && rest.first().is_some_and(|byte| *byte != b'/');
            if inside {
                node.tail.iter().try_for_each(|tail| self.slot(tail))?;
            }
            if let (Some(crowd), _) = node.kids.parted()
                && hops.len() == 0
                && self.claim.is_raw_prefix()
            {
                passed.push((crowd, rest));
            }
            let next = match rest.first() {
                Some(&MARK) => node.param.as_deref(),
                Some(byte) => match self.crowd(node, rest, hops.len() == 0)? {
                    Some(segment) => Some(segment),
                    None => node.kids.child(*byte),
                },
                None => hops.next().and_then(|(hop, run)| {
                    rest = run;
                    node.side.as_deref()?.branch(hop)
                }),
            };
            match next {
                Some(next) => node = next,
                None => return ControlFlow::Continue(()),
            }
        }
    }

    /// Where a crowd goes on from a node: the segment that the claim goes on with, after the prefixes that cut it; or, if
    /// the claim is a prefix that ends within a segment, all that it cuts.
    fn crowd(
        &mut self,
        node: &'r PathNode<T>,
        rest: &[u8],
        last: bool,
    ) -> ControlFlow<(), Option<&'r PathNode<T>>> {
        let (Some(crowd), plain) = node.kids.parted() else {
            return ControlFlow::Continue(None);
        };
        if let Some(length) = whole(rest, last && self.claim.place == Place::Exact) {
            let segment = rest.get(..length).unwrap_or_default();
            let (mut node, mut left) = (rest.first().and_then(|byte| plain.child(*byte)), segment);
            while let Some(cut) = node {
                self.budget.node()?;
                let Some(behind) = left.strip_prefix(cut.run.bytes()) else {
                    break;
                };
                left = behind;
                if left.is_empty() {
                    break;
                }
                cut.tail.iter().try_for_each(|tail| self.slot(tail))?;
                node = left.first().and_then(|byte| cut.kids.child(*byte));
            }
            return ControlFlow::Continue(crowd.segments.get(bytes::hash(segment)));
        }
        if last && self.claim.is_raw_prefix() {
            for segment in crowd.segments.iter() {
                self.budget.node()?;
                let run = segment.run.bytes();
                // One that is shorter stands for several with one hash.
                if run.starts_with(rest) || rest.starts_with(run) {
                    self.all_below(segment)?;
                }
            }
        }
        ControlFlow::Continue(None)
    }

    /// What goes on within the segment with which the claim's prefix ends: in or below a node of whose run this is left.
    fn below(&mut self, node: &'r PathNode<T>, more: &[u8]) -> ControlFlow<()> {
        if !self.claim.is_raw_prefix() {
            return ControlFlow::Continue(());
        }
        let goes_on = |byte: Option<&u8>| byte.is_some_and(|byte| !matches!(*byte, b'/' | MARK));
        let mut open: Vec<&PathNode<T>> = Vec::new();
        if more.is_empty() {
            open.extend(
                node.kids
                    .iter()
                    .filter(|child| goes_on(child.run.bytes().first())),
            );
        } else if goes_on(more.first()) {
            open.push(node);
        }
        open.into_iter().try_for_each(|node| self.all_below(node))
    }

    fn all_below(&mut self, node: &'r PathNode<T>) -> ControlFlow<()> {
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            self.budget.node()?;
            self.slot(&node.exact)?;
            node.tail.iter().try_for_each(|tail| self.slot(tail))?;
            open.extend(node.branches().take(self.budget.nodes));
        }
        ControlFlow::Continue(())
    }
}
