//! The paths that a pattern matches, as a small automaton, so that two patterns can be compared exactly.

use std::collections::HashSet;

use smallvec::{SmallVec, smallvec};

use crate::{
    key::{Hop, Key},
    pattern::Tail,
    tree::MARK,
};

/// All paths that a way through the tree and a tail match; of a regular expression more than that: all that begin with
/// its literal head.
pub(super) struct Language {
    items: Vec<Item>,
}

/// What a path is matched by, one item after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Byte(u8),
    /// One byte.
    One(Class),
    /// Any number of bytes.
    Any(Class),
    /// A slash, or nothing.
    Slash,
    /// Nothing, and the path ends; or a slash, and the next item.
    Border,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// All but the slash.
    Segment,
    All,
}

/// One step of a path, as an item sees it.
#[derive(Clone, Copy)]
enum Symbol {
    Byte(u8),
    Class(Class),
}

/// Positions in the items, sorted; those reached without a byte included.
pub(super) type States = SmallVec<[u16; 8]>;

/// Bound: the steps of one comparison, of every position in hand. One that takes more finds neither inclusion nor a
/// common path.
const STEPS: usize = 1 << 15;

impl Language {
    pub(super) fn new(key: &Key, tail: Tail, ignore_slash: bool) -> Self {
        let mut items = Vec::with_capacity(key.start().len() + 2);
        push_run(&mut items, key.start());
        for (hop, run) in key.hops() {
            push_hop(&mut items, hop);
            push_run(&mut items, run);
        }
        match tail {
            Tail::End if ignore_slash => items.push(Item::Slash),
            Tail::End => {}
            Tail::CatchAll { at_least_one: true } => {
                items.extend([Item::One(Class::All), Item::Any(Class::All)])
            }
            Tail::CatchAll { .. } | Tail::Prefix | Tail::Regex => items.push(Item::Any(Class::All)),
            Tail::Segments => items.extend([Item::Border, Item::Any(Class::All)]),
        }
        Self { items }
    }

    /// The same with a tail that must not be empty.
    pub(super) fn without_empty_rest(mut self, tail: Tail) -> Self {
        match tail {
            Tail::End | Tail::CatchAll { at_least_one: true } => {}
            Tail::CatchAll { .. } | Tail::Prefix | Tail::Regex => {
                let before = self.items.len() - 1;
                self.items.insert(before, Item::One(Class::All));
            }
            Tail::Segments => {
                let border = self.items.len() - 2;
                self.items[border] = Item::Byte(b'/');
            }
        }
        self
    }

    /// The bytes up to the next slash or the end, if nothing else can follow.
    pub(super) fn segment(&self, states: &States) -> Option<Vec<u8>> {
        let [at] = states.as_slice() else { return None };
        let mut segment = Vec::new();
        for item in self.items.get(usize::from(*at)..)? {
            match item {
                Item::Byte(b'/') | Item::Slash | Item::Border => return Some(segment),
                Item::Byte(byte) => segment.push(*byte),
                Item::One(_) | Item::Any(_) => return None,
            }
        }
        Some(segment)
    }

    /// Whether every path of the other is one of this. If in doubt it is not.
    pub(super) fn includes(&self, other: &Self) -> bool {
        // Most that are compared have little in common, and that shows at once.
        if !self.has_bytes(other.shortest()) {
            return false;
        }
        let alphabet = self.alphabet();
        let mut seen: HashSet<(u16, States)> = HashSet::new();
        let mut open = vec![(0, self.start())];
        let mut left = STEPS;
        while let Some((at, states)) = open.pop() {
            if self.takes_all(&states) {
                continue;
            }
            let Some(less) = left.checked_sub(states.len()) else {
                return false;
            };
            left = less;
            if states.is_empty() || other.ends(at) && !self.accepts(&states) {
                return false;
            }
            if !seen.insert((at, states.clone())) {
                continue;
            }
            if let Some(next) = other.skip(at) {
                open.push((next, states.clone()));
            }
            let Some((symbol, next)) = other.symbol(at) else {
                continue;
            };
            match symbol {
                Symbol::Byte(byte) => open.push((next, self.step(&states, Symbol::Byte(byte)))),
                Symbol::Class(class) => {
                    let bytes = alphabet.iter().filter(|byte| class.has(**byte));
                    open.extend(bytes.map(|byte| (next, self.step(&states, Symbol::Byte(*byte)))));
                }
            }
        }
        true
    }

    /// Whether there is a path of both. If in doubt there is not.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![(0, 0)];
        while let Some((one, two)) = open.pop() {
            if self.ends(one) && other.ends(two) {
                return true;
            }
            if seen.len() >= STEPS || !seen.insert((one, two)) {
                continue;
            }
            open.extend(self.skip(one).map(|one| (one, two)));
            open.extend(other.skip(two).map(|two| (one, two)));
            if let Some((own, one)) = self.symbol(one)
                && let Some((others, two)) = other.symbol(two)
                && own.meets(others)
            {
                open.push((one, two));
            }
        }
        false
    }

    /// Whether a path is one of this language.
    pub(super) fn has(&self, path: &str) -> bool {
        self.has_bytes(path.bytes())
    }

    fn has_bytes(&self, mut path: impl Iterator<Item = u8>) -> bool {
        let states = path.try_fold(self.start(), |states, byte| {
            let after = self.after_byte(&states, byte);
            (!after.is_empty()).then_some(after)
        });
        states.is_some_and(|states| self.accepts(&states))
    }

    /// A path of this language, which where it can be any byte is one that hardly another pattern names.
    fn shortest(&self) -> impl Iterator<Item = u8> {
        let past_border = self.items.iter().position(|item| *item == Item::Border);
        let items = self.items.iter().take(past_border.unwrap_or(self.items.len()));
        items.filter_map(|item| match item {
            Item::Byte(byte) => Some(*byte),
            Item::One(_) => Some(0x7f),
            Item::Any(_) | Item::Slash | Item::Border => None,
        })
    }

    // --- Steps ---

    pub(super) fn start(&self) -> States {
        self.closed(smallvec![0])
    }

    /// Where a byte leads to.
    pub(super) fn after_byte(&self, states: &States, byte: u8) -> States {
        self.step(states, Symbol::Byte(byte))
    }

    /// Where a wildcard of the tree leads to that takes at least one byte.
    pub(super) fn after_some(&self, states: &States, class: Class) -> States {
        let mut reached = vec![false; self.items.len() + 1];
        let mut open = self.step(states, Symbol::Class(class));
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut reached[usize::from(at)], true) {
                open.extend(self.skip(at));
                let taken = self.symbol(at);
                open.extend(
                    taken
                        .filter(|(symbol, _)| symbol.meets(Symbol::Class(class)))
                        .map(|(_, next)| next),
                );
            }
        }
        let positions = (0_u16..).zip(reached);
        positions
            .filter(|(_, reached)| *reached)
            .map(|(at, _)| at)
            .collect()
    }

    pub(super) fn accepts(&self, states: &States) -> bool {
        states.iter().any(|at| self.ends(*at))
    }

    /// Whether all ways on from here, whatever follows, are paths of this language.
    fn takes_all(&self, states: &States) -> bool {
        let last = self.items.len().saturating_sub(1);
        let open = self.items.last() == Some(&Item::Any(Class::All));
        open && states.iter().any(|at| usize::from(*at) == last)
    }

    fn step(&self, states: &States, taken: Symbol) -> States {
        let next = states.iter().filter_map(|at| {
            let (symbol, next) = self.symbol(*at)?;
            symbol.meets(taken).then_some(next)
        });
        self.closed(next.collect())
    }

    /// With the positions that are reached without a byte.
    fn closed(&self, mut states: States) -> States {
        states.sort_unstable();
        let (mut all, mut end) = (States::new(), None);
        for mut at in states {
            // What comes next without a byte is the next position, or the end.
            while all.last().is_none_or(|last| *last < at) {
                all.push(at);
                match self.skip(at) {
                    Some(next) if next == at + 1 => at = next,
                    other => end = end.or(other),
                }
            }
        }
        if let Some(end) = end.filter(|end| all.last() != Some(end)) {
            all.push(end);
        }
        all
    }

    fn item(&self, at: u16) -> Option<Item> {
        self.items.get(usize::from(at)).copied()
    }

    fn ends(&self, at: u16) -> bool {
        usize::from(at) == self.items.len()
    }

    /// Where the item leads to that takes nothing.
    fn skip(&self, at: u16) -> Option<u16> {
        match self.item(at)? {
            Item::Byte(_) | Item::One(_) => None,
            Item::Any(_) | Item::Slash => Some(at + 1),
            Item::Border => Some(self.items.len() as u16),
        }
    }

    /// What the item takes, and where that leads to.
    fn symbol(&self, at: u16) -> Option<(Symbol, u16)> {
        Some(match self.item(at)? {
            Item::Byte(byte) => (Symbol::Byte(byte), at + 1),
            Item::One(class) => (Symbol::Class(class), at + 1),
            Item::Any(class) => (Symbol::Class(class), at),
            Item::Slash | Item::Border => (Symbol::Byte(b'/'), at + 1),
        })
    }

    /// Bytes of which one stands for each kind that this language tells apart.
    fn alphabet(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self
            .items
            .iter()
            .filter_map(|item| match item {
                Item::Byte(byte) => Some(*byte),
                _ => None,
            })
            .collect();
        bytes.push(b'/');
        bytes.sort_unstable();
        bytes.dedup();
        let other = (0..MARK).find(|byte| bytes.binary_search(byte).is_err());
        bytes.extend(other);
        bytes
    }
}

fn push_run(items: &mut Vec<Item>, run: &[u8]) {
    for byte in run {
        match *byte {
            MARK => items.extend([Item::One(Class::Segment), Item::Any(Class::Segment)]),
            byte => items.push(Item::Byte(byte)),
        }
    }
}

fn push_hop(items: &mut Vec<Item>, hop: &Hop) {
    match hop {
        Hop::Template(text) => push_run(items, text),
        Hop::Wild { least } => {
            if *least {
                items.push(Item::One(Class::All));
            }
            items.push(Item::Any(Class::All));
        }
    }
}

impl Class {
    fn has(self, byte: u8) -> bool {
        self == Self::All || byte != b'/'
    }
}

impl Symbol {
    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Byte(one), Self::Byte(two)) => one == two,
            (Self::Byte(byte), Self::Class(class)) | (Self::Class(class), Self::Byte(byte)) => {
                class.has(byte)
            }
            (Self::Class(_), Self::Class(_)) => true,
        }
    }
}

#[cfg(test)]
mod tests;
