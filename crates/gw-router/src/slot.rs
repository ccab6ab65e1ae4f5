//! All rules at one place of a tree: parted by host, then by a value that a condition wants, then in order.

use std::{ops::ControlFlow, sync::Arc};

use crate::{
    entry::{Entry, Met},
    few::Few,
    host::HostIndex,
    keyed::Keyed,
    list::List,
    order::Rank,
    request::Request,
    tree::Leaf,
};

/// The rules whose path ends (or goes on with anything) at one node.
#[derive(Default)]
pub(crate) enum Slot<T> {
    #[default]
    Empty,
    One(Entry<T>),
    /// At most [`FEW`].
    Few(Arc<Few<T>>),
    Many(Arc<Many<T>>),
}

/// Bound: so many entries are looked at one by one, which takes less than finding out which of them to look at.
const FEW: usize = 8;

pub(crate) struct Many<T> {
    /// Those that neither a host nor a value sets apart.
    list: List<T>,
    hosts: Option<Arc<HostIndex<Slot<T>>>>,
    values: Option<Arc<Keyed<T>>>,
    bound: u64,
    /// How many entries there are.
    count: usize,
}

/// By what the entries of a slot are parted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Path,
    Host,
    /// And by the values of this many conditions.
    Value(usize),
}

impl Level {
    /// How many conditions have parted them.
    fn values(self) -> usize {
        match self {
            Self::Path | Self::Host => 0,
            Self::Value(count) => count,
        }
    }
}

/// What is told of the entries that a request may match.
pub(crate) trait Visitor<'r, T> {
    /// An entry, with its best rank where that is known. In a list ranks only fall; `false` skips the rest of it.
    fn visit(&mut self, entry: &'r Entry<T>, rank: Option<Rank>, met: Met<'_>) -> bool;

    /// What cannot win: all whose bound is lower.
    fn floor(&self) -> u64;

    /// Whether this entry has won against all whose best rank is not above its own.
    fn is_settled(&self, _: &'r Entry<T>) -> bool {
        false
    }
}

impl<T> Slot<T> {
    pub(crate) fn insert(&mut self, entry: Entry<T>, level: Level) {
        match self {
            Self::Empty => *self = Self::One(entry),
            Self::One(one) => {
                let mut few = Few::of(one.clone());
                few.insert(entry);
                *self = Self::Few(Arc::new(few));
            }
            Self::Few(few) if few.len() < FEW => Arc::make_mut(few).insert(entry),
            Self::Few(few) => {
                let mut many = Many::default();
                for known in few.iter() {
                    many.insert(known.clone(), level);
                }
                many.insert(entry, level);
                *self = Self::Many(Arc::new(many));
            }
            Self::Many(many) => Arc::make_mut(many).insert(entry, level),
        }
    }

    /// Removes what was inserted as this entry.
    pub(crate) fn remove(&mut self, entry: &Entry<T>, level: Level) {
        match self {
            Self::Empty => {}
            Self::One(one) => {
                if one.is(entry) {
                    *self = Self::Empty;
                }
            }
            Self::Few(few) => {
                let few = Arc::make_mut(few);
                few.remove(entry);
                if let Some(sole) = few.sole().cloned() {
                    *self = Self::One(sole);
                }
            }
            Self::Many(many) => {
                let many = Arc::make_mut(many);
                many.remove(entry, level);
                if many.count <= FEW {
                    let mut few = Few::default();
                    let _all = many.each(&mut |entry| {
                        few.insert_once(entry);
                        ControlFlow::Continue(())
                    });
                    *self = Self::Few(Arc::new(few));
                }
            }
        }
    }

    /// Offers the visitor every entry here that could still win.
    #[inline]
    pub(crate) fn offer<'r>(
        &'r self,
        request: &Request<'_>,
        met: Met<'_>,
        visitor: &mut impl Visitor<'r, T>,
    ) {
        match self {
            Self::Empty => {}
            Self::One(entry) => {
                request.count(1);
                visitor.visit(entry, None, met);
            }
            Self::Few(few) => few.offer(request, met, visitor),
            Self::Many(many) => many.offer(request, met, visitor),
        }
    }

    /// The entries here of the same host as this one, those left out that want other values, until `visit` breaks.
    pub(crate) fn alike<'r>(
        &'r self,
        entry: &Entry<T>,
        level: Level,
        visit: &mut dyn FnMut(&'r Entry<T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let many = match self {
            Self::Empty => return ControlFlow::Continue(()),
            Self::One(one) => return visit(one),
            Self::Few(few) => return few.iter().try_for_each(visit),
            Self::Many(many) => many,
        };
        if level == Level::Path
            && let Some(host) = entry.host()
        {
            let mut slot = many.hosts.iter().filter_map(|hosts| hosts.leaf(host));
            return slot.try_for_each(|slot| slot.alike(entry, Level::Host, visit));
        }
        many.list.iter().try_for_each(|ranked| visit(&ranked.entry))?;
        let mut values = many.values.iter();
        values.try_for_each(|values| values.alike(entry, visit))
    }

    /// Every entry here, in no order and some more than once, until `visit` breaks.
    pub(crate) fn each<'r>(
        &'r self,
        visit: &mut dyn FnMut(&'r Entry<T>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Empty => ControlFlow::Continue(()),
            Self::One(entry) => visit(entry),
            Self::Few(few) => few.iter().try_for_each(visit),
            Self::Many(many) => many.each(visit),
        }
    }
}

impl<T> Many<T> {
    fn insert(&mut self, entry: Entry<T>, level: Level) {
        let rank = entry.rank();
        self.bound = self.bound.max(rank.bound());
        self.count += 1;
        if level == Level::Path
            && let Some(host) = entry.host().cloned()
        {
            let bound = rank.bound();
            let hosts = Arc::make_mut(self.hosts.get_or_insert_default());
            hosts.update(&host, bound, |slot| slot.insert(entry, Level::Host));
        } else if Keyed::takes(&entry, level.values()) {
            Arc::make_mut(self.values.get_or_insert_default()).insert(&entry, level.values());
        } else {
            self.list.insert(rank, entry);
        }
    }

    /// Removes an entry that is here.
    fn remove(&mut self, entry: &Entry<T>, level: Level) {
        self.count -= 1;
        if level == Level::Path
            && let Some(host) = entry.host()
        {
            if let Some(hosts) = &mut self.hosts {
                let index = Arc::make_mut(hosts);
                index.prune(host, |slot| slot.remove(entry, Level::Host));
                if index.is_empty() {
                    self.hosts = None;
                }
            }
        } else if Keyed::takes(entry, level.values()) {
            if let Some(values) = &mut self.values {
                let keyed = Arc::make_mut(values);
                keyed.remove(entry, level.values());
                if keyed.is_empty() {
                    self.values = None;
                }
            }
        } else {
            self.list.remove(entry.rank(), entry);
        }
        let list = self.list.best().map_or(0, |rank| rank.bound());
        let hosts = self.hosts.as_ref().map_or(0, |hosts| hosts.bound());
        let values = self.values.as_ref().map_or(0, |values| values.bound());
        self.bound = list.max(hosts).max(values);
    }

    /// Every entry here, in no order and some more than once, until `visit` breaks.
    fn each<'r>(&'r self, visit: &mut dyn FnMut(&'r Entry<T>) -> ControlFlow<()>) -> ControlFlow<()> {
        self.list.iter().try_for_each(|ranked| visit(&ranked.entry))?;
        if let Some(hosts) = &self.hosts {
            hosts.each(&mut |slot| slot.each(visit))?;
        }
        self.values.iter().try_for_each(|values| values.each(visit))
    }

    fn offer<'r>(&'r self, request: &Request<'_>, met: Met<'_>, visitor: &mut impl Visitor<'r, T>) {
        if let Some(hosts) = &self.hosts
            && (visitor.floor() == 0 || hosts.bound() >= visitor.floor())
            && let Some(host) = request.host()
        {
            let met = Met { host: true, ..met };
            hosts.visit(host.name(), &mut |slot| {
                if visitor.floor() == 0 || slot.bound() >= visitor.floor() {
                    slot.offer(request, met, visitor);
                }
            });
        }
        if let Some(values) = &self.values
            && (visitor.floor() == 0 || values.bound() >= visitor.floor())
        {
            values.offer(request, met, visitor);
        }
        for piece in self.list.pieces() {
            for ranked in piece {
                request.count(1);
                if !visitor.visit(&ranked.entry, Some(ranked.rank), met) {
                    return;
                }
            }
        }
    }
}

impl<T> Leaf for Slot<T> {
    fn bound(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::One(entry) => entry.rank().bound(),
            Self::Few(few) => few.bound(),
            Self::Many(many) => many.bound,
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::One(entry) => Self::One(entry.clone()),
            Self::Few(few) => Self::Few(Arc::clone(few)),
            Self::Many(many) => Self::Many(Arc::clone(many)),
        }
    }
}

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self {
            list: List::default(),
            hosts: None,
            values: None,
            bound: 0,
            count: 0,
        }
    }
}

impl<T> Clone for Many<T> {
    fn clone(&self) -> Self {
        Self {
            list: self.list.clone(),
            hosts: self.hosts.clone(),
            values: self.values.clone(),
            bound: self.bound,
            count: self.count,
        }
    }
}
