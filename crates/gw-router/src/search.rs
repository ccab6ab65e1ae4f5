//! The walk through the path tree, by depth-first search: literals before parts of a segment before parameters before
//! wildcards over several segments before the rest of the path, the deepest first.

use std::ops::ControlFlow;

use smallvec::SmallVec;

use crate::{
    bytes,
    entry::{Entry, Met},
    request::Request,
    slot::{Slot, Visitor},
    spans::{Span, Spans},
    template,
    tree::{By, Crowd, Kids, MARK, Node, Run, Side, hash_path},
};

type PathNode<T> = Node<Slot<T>>;

/// How a walk is conducted, besides what it shows.
pub(crate) trait Guide<'r, T>: Visitor<'r, T> {
    /// Takes an entry that is alone at its place, if no other can win and it has no conditions.
    fn take(&mut self, entry: &'r Entry<T>, at: usize) -> bool;

    /// Looks at the entries of a place that the path led to.
    #[inline(always)]
    fn enter(&mut self, slot: &'r Slot<T>, request: &Request<'_>, met: Met<'_>)
    where
        Self: Sized,
    {
        slot.offer(request, met, self);
    }

    /// After a place: whether to go on.
    fn leave(&mut self, spans: &Spans) -> ControlFlow<()>;

    /// Whether a place with a shorter literal head than one visited before can still win.
    fn is_open(&self) -> bool;
}

/// A node behind us, with what is still to be tried there.
struct Choice<'r, T> {
    node: &'r PathNode<T>,
    /// Where the path goes on after the node's run.
    at: u32,
    /// How many wildcards led here. With none, what hangs off the node has one literal head.
    spans: u32,
    next: Next,
}

/// The ways on from a node, in the order in which they are tried.
#[derive(Clone, Copy)]
enum Next {
    /// What stands by whole paths, once more, and everything after it: a slash at the end was left out before.
    Slashed,
    /// The children that stand by a segment, and everything after them.
    Segment,
    /// The children that do not stand by hash, and everything after them.
    Rest,
    Side,
    Template(u32),
    Param,
    /// The wildcard over several segments, up to this position.
    Wild {
        least: bool,
        end: u32,
    },
    Tail,
}

pub(crate) struct Walk<'r, 's, 'q, T, G> {
    request: &'s Request<'q>,
    /// The path as it is compared: in lower case where the router ignores case.
    path: &'s [u8],
    ignore_slash: bool,
    guide: &'s mut G,
    spans: &'s mut Spans,
    choices: SmallVec<[Choice<'r, T>; 24]>,
    /// For each wildcard met behind another one how far down it has been tried, by the address of its node.
    tried: SmallVec<[(usize, u32); 2]>,
}

impl<'r, 's, 'q, T, G: Guide<'r, T>> Walk<'r, 's, 'q, T, G> {
    #[inline]
    pub(crate) fn new(
        request: &'s Request<'q>,
        path: &'s [u8],
        ignore_slash: bool,
        spans: &'s mut Spans,
        guide: &'s mut G,
    ) -> Self {
        Self {
            request,
            path,
            ignore_slash,
            guide,
            spans,
            choices: SmallVec::new(),
            tried: SmallVec::new(),
        }
    }

    /// Shows the guide every place that matches the path and can win.
    ///
    /// Time: without wildcards over several segments before the end of a pattern no node is entered twice; with them
    /// at most once per such wildcard and byte of the path.
    #[inline(always)]
    pub(crate) fn run(&mut self, root: &'r PathNode<T>) {
        let mut flow = self.descend(root, 0);
        while flow.is_continue()
            && let Some(choice) = self.choices.pop()
        {
            self.spans.truncate(choice.spans as usize);
            flow = self.resume(choice);
        }
    }

    /// Follows the path from a node on, whose run begins at `at`, as far as it goes, and notes the choices on the way.
    fn descend(&mut self, mut node: &'r PathNode<T>, at: usize) -> ControlFlow<()> {
        let path = self.path;
        let Some(mut rest) = path.get(at..).and_then(|rest| self.enter(node, rest)) else {
            return ControlFlow::Continue(());
        };
        loop {
            let Some((&byte, behind)) = rest.split_first() else {
                self.visit(&node.exact, path.len())?;
                return self.after_exact(node);
            };
            if self.ignore_slash {
                self.slash(node, rest)?;
            }
            let child = match &node.kids {
                Kids::Crowd { crowd, .. } => {
                    if let Some(hashed) = self.hashed(node, crowd, rest)? {
                        node = hashed;
                        match self.enter(node, rest) {
                            Some(entered) => rest = entered,
                            None => return ControlFlow::Continue(()),
                        }
                        continue;
                    }
                    crowd.child(byte)
                }
                plain => plain.plain_child(byte),
            };
            let entered = if let Some(literal) = child {
                if node.is_open() {
                    self.note(node, path.len() - rest.len(), Next::Side);
                }
                node = literal;
                self.enter_behind(node, rest, behind)
            } else if node.side.is_some() {
                self.note(node, path.len() - rest.len(), Next::Side);
                return ControlFlow::Continue(());
            } else if let Some(param) = &node.param {
                if node.tail.is_some() {
                    self.note(node, path.len() - rest.len(), Next::Tail);
                }
                node = param;
                self.enter(node, rest)
            } else {
                return self.visit_tail(node, path.len() - rest.len());
            };
            match entered {
                Some(entered) => rest = entered,
                None => return ControlFlow::Continue(()),
            }
        }
    }

    /// The child in a crowd that stands by a hash, the other ways on noted.
    #[inline(always)]
    fn hashed(
        &mut self,
        node: &'r PathNode<T>,
        crowd: &'r Crowd<PathNode<T>>,
        rest: &[u8],
    ) -> ControlFlow<(), Option<&'r PathNode<T>>> {
        if crowd.paths.is_some()
            && let Some(path) = self.path(node, crowd, rest)?
        {
            return ControlFlow::Continue(Some(path));
        }
        ControlFlow::Continue(self.segment_of(node, crowd, rest))
    }

    #[inline(always)]
    fn segment_of(
        &mut self,
        node: &'r PathNode<T>,
        crowd: &'r Crowd<PathNode<T>>,
        rest: &[u8],
    ) -> Option<&'r PathNode<T>> {
        let segment = crowd.segments.get(bytes::hash(rest))?;
        if node.is_open() || crowd.has_rest() {
            self.note(node, self.path.len() - rest.len(), Next::Rest);
        }
        Some(segment)
    }

    /// The child that has the rest of the path, or has the hash of it.
    #[inline(never)]
    fn path(
        &mut self,
        node: &'r PathNode<T>,
        crowd: &'r Crowd<PathNode<T>>,
        rest: &[u8],
    ) -> ControlFlow<(), Option<&'r PathNode<T>>> {
        self.request.count(rest.len());
        let at = self.path.len() - rest.len();
        let by = |rest| crowd.get(By::Path, hash_path(rest)?);
        if self.ignore_slash
            && let Some(path) = rest.strip_suffix(b"/").and_then(by)
        {
            self.note(node, at, Next::Slashed);
            return ControlFlow::Continue(Some(path));
        }
        let Some(path) = by(rest) else {
            return ControlFlow::Continue(None);
        };
        // Nearly always it is the one, and nothing has to be noted.
        if let Slot::One(entry) = &path.exact
            && path.run.bytes().len() == rest.len()
            && bytes::strip(rest, path.run.bytes()).is_some()
            && self.guide.take(entry, self.path.len())
        {
            return ControlFlow::Break(());
        }
        self.note(node, at, Next::Segment);
        ControlFlow::Continue(Some(path))
    }

    /// Matches the run of a node with the rest of the path, and returns what lies behind.
    #[inline]
    fn enter<'p>(&mut self, node: &'r PathNode<T>, rest: &'p [u8]) -> Option<&'p [u8]> {
        if node.bound < self.guide.floor() {
            return None;
        }
        self.request.count(1 + node.run.bytes().len());
        match &node.run {
            Run::Plain { len, bytes } => bytes::strip(rest, bytes.get(..usize::from(*len))?),
            run => self.run_over(run, rest),
        }
    }

    /// As [`Self::enter`], for a node whose first byte is known to be that of the rest: `behind` is what follows it.
    #[inline(always)]
    fn enter_behind<'p>(
        &mut self,
        node: &'r PathNode<T>,
        rest: &'p [u8],
        behind: &'p [u8],
    ) -> Option<&'p [u8]> {
        if node.bound < self.guide.floor() {
            return None;
        }
        self.request.count(1 + node.run.bytes().len());
        match &node.run {
            Run::Plain { len: 1, .. } => Some(behind),
            Run::Plain { len, bytes } => bytes::strip(behind, bytes.get(1..usize::from(*len))?),
            run => self.run_over(run, rest),
        }
    }

    /// The path ends at a node: a path without wildcards goes before one with the same text.
    #[inline]
    fn after_exact(&mut self, node: &'r PathNode<T>) -> ControlFlow<()> {
        if self.spans.len() == 0 && !self.guide.is_open() {
            return ControlFlow::Break(());
        }
        self.visit_tail(node, self.path.len())
    }

    /// Where slashes at the end are ignored.
    #[cold]
    fn slash(&mut self, node: &'r PathNode<T>, rest: &[u8]) -> ControlFlow<()> {
        if rest == b"/" {
            self.visit(&node.exact, self.path.len())?;
            if self.spans.len() == 0 && !self.guide.is_open() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Matches a run that is long or has marks with the rest of the path, and returns what lies behind.
    fn run_over<'p>(&mut self, run: &'r Run, rest: &'p [u8]) -> Option<&'p [u8]> {
        let all = run.bytes();
        let (mut mark, last) = match run {
            Run::Marked { first, last, .. } => (usize::from(*first), usize::from(*last)),
            _ => {
                let is_mark = |byte: &u8| *byte == MARK;
                let Some(first) = all.iter().position(is_mark) else {
                    return bytes::strip(rest, all);
                };
                (first, all.iter().rposition(is_mark)?)
            }
        };
        let mut rest = bytes::strip(rest, all.get(..mark)?)?;
        loop {
            let length = bytes::segment(rest);
            self.request.count(length);
            if length == 0 {
                return None;
            }
            let at = self.path.len() - rest.len();
            self.spans.push(Span::new(at, at + length));
            rest = rest.get(length..)?;
            let behind = all.get(mark + 1..)?;
            if mark >= last {
                return bytes::strip(rest, behind);
            }
            let (literal, _) = behind.split_at_checked(bytes::find(MARK, behind)?)?;
            rest = bytes::strip(rest, literal)?;
            mark += 1 + literal.len();
        }
    }

    fn note(&mut self, node: &'r PathNode<T>, at: usize, next: Next) {
        let spans = self.spans.len() as u32;
        self.choices.push(Choice {
            node,
            at: at as u32,
            spans,
            next,
        });
    }

    /// Tries the next way on from a node.
    fn resume(&mut self, choice: Choice<'r, T>) -> ControlFlow<()> {
        let Choice {
            node,
            at,
            spans,
            next,
        } = choice;
        let at = at as usize;
        match next {
            // Everything here has a shorter literal head than what was found below.
            Next::Slashed | Next::Segment | Next::Rest | Next::Side
                if spans == 0 && !self.guide.is_open() =>
            {
                ControlFlow::Break(())
            }
            Next::Slashed | Next::Segment => self.crowd(choice),
            Next::Rest => {
                let child = self.path.get(at).and_then(|byte| node.kids.child(*byte));
                let Some(child) = child else {
                    return self.resume(Choice {
                        next: Next::Side,
                        ..choice
                    });
                };
                if node.is_open() {
                    self.note(node, at, Next::Side);
                }
                self.descend(child, at)
            }
            Next::Side => match &node.side {
                Some(side) => self.side(node, side, at),
                None => {
                    if node.tail.is_some() {
                        self.note(node, at, Next::Tail);
                    }
                    self.param(node, at)
                }
            },
            Next::Template(index) => self.template(node, index as usize, at),
            Next::Param => self.param(node, at),
            Next::Wild { least, end } => self.wild(node, at, least, end as usize),
            Next::Tail => self.visit_tail(node, at),
        }
    }

    /// What is left to be tried in a crowd.
    fn crowd(&mut self, choice: Choice<'r, T>) -> ControlFlow<()> {
        let Choice { node, at, next, .. } = choice;
        let at = at as usize;
        let rest = self.path.get(at..).unwrap_or_default();
        if let Kids::Crowd { crowd, .. } = &node.kids {
            if let Next::Slashed = next
                && let Some(path) = hash_path(rest).and_then(|hash| crowd.get(By::Path, hash))
            {
                self.note(node, at, Next::Segment);
                return self.descend(path, at);
            }
            if let Some(segment) = self.segment_of(node, crowd, rest) {
                return self.descend(segment, at);
            }
        }
        self.resume(Choice {
            next: Next::Rest,
            ..choice
        })
    }

    fn param(&mut self, node: &'r PathNode<T>, at: usize) -> ControlFlow<()> {
        match &node.param {
            Some(param) => self.descend(param, at),
            None => ControlFlow::Continue(()),
        }
    }

    /// Notes all ways on from a node that has rarer ones, the last to be tried first.
    fn side(&mut self, node: &'r PathNode<T>, side: &'r Side<Slot<T>>, at: usize) -> ControlFlow<()> {
        if node.tail.is_some() {
            self.note(node, at, Next::Tail);
        }
        let end = self.path.len() as u32;
        for least in [false, true] {
            if side.wild(least).is_some() {
                self.note(node, at, Next::Wild { least, end });
            }
        }
        if side.templates.is_empty() {
            return self.param(node, at);
        }
        self.note(node, at, Next::Param);
        let mut matching = self.matching(side, at);
        // No two cover a segment alike.
        matching.sort_unstable_by(|(_, one), (_, other)| template::prefer(other, one, self.segment(at)));
        for (index, _) in matching {
            self.note(node, at, Next::Template(index));
        }
        ControlFlow::Continue(())
    }

    fn segment(&self, at: usize) -> Span {
        Span::new(at, at + bytes::segment(self.path.get(at..).unwrap_or_default()))
    }

    /// The templates that match the segment, with what they take of it.
    fn matching(&self, side: &Side<Slot<T>>, at: usize) -> SmallVec<[(u32, Spans); 8]> {
        let span = self.segment(at);
        let segment = self.path.get(at..span.end()).unwrap_or_default();
        let mut matching = SmallVec::new();
        for (index, (template, _)) in side.templates.iter().enumerate() {
            self.request.count(segment.len());
            let mut spans = Spans::new();
            if template::lay(template, segment, at, &mut spans) {
                matching.push((index as u32, spans));
            }
        }
        matching
    }

    fn template(&mut self, node: &'r PathNode<T>, index: usize, at: usize) -> ControlFlow<()> {
        let Some((template, below)) = node.side.as_deref().and_then(|side| side.templates.get(index)) else {
            return ControlFlow::Continue(());
        };
        let end = self.segment(at).end();
        let segment = self.path.get(at..end).unwrap_or_default();
        if template::lay(template, segment, at, self.spans) {
            return self.descend(below, end);
        }
        ControlFlow::Continue(())
    }

    /// Lets the wildcard over several segments end at the last position before `end` at which something may follow.
    fn wild(&mut self, node: &'r PathNode<T>, at: usize, least: bool, end: usize) -> ControlFlow<()> {
        let Some(wild) = node.side.as_deref().and_then(|side| side.wild(least)) else {
            return ControlFlow::Continue(());
        };
        let start = at + usize::from(least);
        let between = self.path.get(start..self.fresh(wild, end)).unwrap_or_default();
        let found = match wild.run.bytes().first() {
            Some(first) => memchr::memrchr(*first, between),
            None => between.iter().rposition(|byte| wild.kids.child(*byte).is_some()),
        };
        self.request.count(between.len() - found.unwrap_or(0));
        let Some(found) = found else {
            self.tried(wild, start);
            return ControlFlow::Continue(());
        };
        let end = start + found;
        self.tried(wild, end);
        let next = Next::Wild {
            least,
            end: end as u32,
        };
        self.note(node, at, next);
        self.spans.push(Span::new(at, end));
        self.descend(wild, end)
    }

    /// The end from which on a wildcard has not been tried: what lies above was seen on another way to it.
    fn fresh(&self, wild: &PathNode<T>, end: usize) -> usize {
        let tried = self.tried.binary_search_by_key(&address(wild), |(node, _)| *node);
        let tried = tried.ok().and_then(|index| self.tried.get(index));
        tried.map_or(end, |(_, at)| end.min(*at as usize))
    }

    fn tried(&mut self, wild: &PathNode<T>, at: usize) {
        if self.spans.len() == 0 {
            return;
        }
        match self.tried.binary_search_by_key(&address(wild), |(node, _)| *node) {
            Ok(index) => self.tried[index].1 = self.tried[index].1.min(at as u32),
            Err(index) => self.tried.insert(index, (address(wild), at as u32)),
        }
    }

    #[inline(always)]
    fn visit_tail(&mut self, node: &'r PathNode<T>, at: usize) -> ControlFlow<()> {
        match &node.tail {
            None => ControlFlow::Continue(()),
            Some(tail) => self.visit(tail, at),
        }
    }

    #[inline(always)]
    fn visit(&mut self, slot: &'r Slot<T>, at: usize) -> ControlFlow<()> {
        match slot {
            Slot::Empty => ControlFlow::Continue(()),
            Slot::One(entry) if self.guide.take(entry, at) => ControlFlow::Break(()),
            _ => self.offer(slot, at),
        }
    }

    #[inline(never)]
    fn offer(&mut self, slot: &'r Slot<T>, at: usize) -> ControlFlow<()> {
        let met = Met {
            at,
            spans: self.spans,
            host: false,
        };
        self.guide.enter(slot, self.request, met);
        self.guide.leave(self.spans)
    }
}

fn address<T>(node: &PathNode<T>) -> usize {
    std::ptr::from_ref(node).addr()
}
