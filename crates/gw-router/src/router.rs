//! The router: rules go in, come out and are replaced; requests are looked up.

use std::{fmt, ops::ControlFlow, sync::Arc};

use smallvec::SmallVec;

use crate::{
    best::{Best, First},
    entry::{Entry, Stored},
    error::{InsertError, MAX_PLACES, ReplaceError},
    found::Found,
    host::HostIndex,
    ids::Ids,
    key::Key,
    lookup::Lookup,
    normalize::MAX_PATH,
    options::Options,
    order::Profile,
    pattern::{Pattern, Tail},
    request::Request,
    rule::Rule,
    search::{Guide, Walk},
    slot::{Level, Slot},
    spans::Spans,
    tree::{Node, Place, Root, prune, update},
    zone::Zone,
};

/// Rules and their values; a value in itself, which costs a few reference counts to clone.
///
/// A clone and its original share what they have in common; changing one never shows in the other.
pub struct Router<T> {
    options: Options,
    /// The rules by path; under [`Profile::HostFirst`] those without hosts.
    paths: Root<Slot<T>>,
    /// Under [`Profile::HostFirst`] the rules with hosts.
    hosts: Option<Arc<HostIndex<Zone<T>>>>,
    rules: Ids<Arc<Stored<T>>>,
    length: usize,
    /// How many rules have a priority other than 0.
    prioritised: usize,
    next: u64,
}

/// Names a rule in a router and in all routers cloned from it. Ids are given in ascending order, never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

impl<T> Router<T> {
    /// An empty router with the default profile, [`Profile::PathFirst`].
    pub fn new() -> Self {
        Self::with_options(Options::default())
    }

    /// An empty router that ranks its rules in this order.
    pub fn with_profile(profile: Profile) -> Self {
        Self::with_options(Options {
            profile,
            ..Options::default()
        })
    }

    /// An empty router.
    pub fn with_options(options: Options) -> Self {
        Self {
            options,
            paths: None,
            hosts: None,
            rules: Ids::default(),
            length: 0,
            prioritised: 0,
            next: 0,
        }
    }

    /// The order in which rules are ranked.
    pub fn profile(&self) -> Profile {
        self.options.profile
    }

    /// How this router matches.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Adds a rule. It does not matter whether another one looks the same.
    ///
    /// Time: O(length of its paths and hosts), whatever the number of rules.
    ///
    /// # Errors
    /// When the rule is refused; the router is unchanged then.
    pub fn insert(&mut self, rule: Rule, value: T) -> Result<RuleId, InsertError> {
        rule.check()?;
        let mut rule = self.adapt(rule);
        self.share(&mut rule);
        self.count(&rule);
        let id = RuleId(self.next);
        self.next += 1;
        self.link(Arc::new(Stored { id, rule, value }), None);
        Ok(id)
    }

    /// Puts another rule and value in the place of one: the id and the order of insertion stay.
    ///
    /// Time: that of an insertion if the rule is the same and only the value another, else that of a removal as well.
    ///
    /// # Errors
    /// When there is no such rule or the new one is refused; the router is unchanged then.
    pub fn replace(&mut self, id: RuleId, rule: Rule, value: T) -> Result<(), ReplaceError> {
        rule.check()?;
        let mut rule = self.adapt(rule);
        let Some(known) = self.rules.get(id.0) else {
            return Err(ReplaceError::Unknown { id });
        };
        rule.share(&known.rule);
        let known = (known.rule == rule).then(|| Arc::clone(known));
        if known.is_none() {
            self.remove(id);
            self.count(&rule);
        }
        self.link(Arc::new(Stored { id, rule, value }), known.as_ref());
        Ok(())
    }

    /// Removes a rule, and tells whether there was one.
    pub fn remove(&mut self, id: RuleId) -> bool {
        let Some(stored) = self.rules.remove(id.0) else {
            return false;
        };
        self.length -= 1;
        self.prioritised -= usize::from(stored.rule.explicit_priority() != 0);
        for (pattern, host) in places(&stored.rule) {
            let entry = Entry::new(self.options.profile, &stored, pattern, host);
            let (key, place) = self.key(entry.pattern());
            let Some(host) = self.zone(&entry) else {
                prune(&mut self.paths, &key, place, |slot| {
                    slot.remove(&entry, Level::Path)
                });
                continue;
            };
            if let Some(hosts) = &mut self.hosts {
                let index = Arc::make_mut(hosts);
                index.prune(&host, |zone| {
                    zone.prune(host.port(), |paths| {
                        prune(paths, &key, place, |slot| slot.remove(&entry, Level::Host));
                    });
                });
                if index.is_empty() {
                    self.hosts = None;
                }
            }
        }
        true
    }

    /// The value of a rule.
    pub fn get(&self, id: RuleId) -> Option<&T> {
        Some(&self.rules.get(id.0)?.value)
    }

    /// A rule, as it was inserted.
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        Some(&self.rules.get(id.0)?.rule)
    }

    /// The rules and their values, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (RuleId, &Rule, &T)> {
        self.rules
            .iter()
            .map(|stored| (stored.id, &stored.rule, &stored.value))
    }

    /// The rule that wins for a request, if any matches. A path of more than 64 KiB matches none.
    ///
    /// Time: O(length of the path), whatever the number of rules, as far as rules do not stand at the same place for
    /// the same host and value. Patterns with parts of a segment that begin at one place (`{a}-{b}`, `{a}.{b}`) are
    /// tried one by one; behind a wildcard over several segments that is not the last of its pattern a search takes up
    /// to O(length of the path) for each way that leads on.
    #[inline(always)]
    pub fn find<'r, 'q>(&'r self, lookup: &Lookup<'q>) -> Option<Found<'r, 'q, T>> {
        let path = lookup.path;
        if path.len() > MAX_PATH {
            return None;
        }
        let request = Request::new(lookup);
        let mut spans = Spans::new();
        let (entry, at) = if self.first_wins() && self.hosts.is_none() && !self.options.case_insensitive {
            self.first_in(self.paths.as_deref()?, &request, path.as_bytes(), &mut spans)?
        } else {
            self.search(&request, path.as_bytes(), &mut spans)?
        };
        if entry.ends_here() {
            return Some(Found::new(entry, path, at, spans));
        }
        Some(Found::to_the_end(entry, path, at, spans))
    }

    /// Whether the first place that matches has the winner.
    #[inline]
    fn first_wins(&self) -> bool {
        self.options.profile != Profile::Kong && self.prioritised == 0
    }

    /// The winner, where its tail begins, and what its wildcards took.
    #[inline(never)]
    fn search<'r>(
        &'r self,
        request: &Request<'_>,
        path: &[u8],
        spans: &mut Spans,
    ) -> Option<(&'r Entry<T>, usize)> {
        let lower: SmallVec<[u8; 256]>;
        let mut path = path;
        if self.options.case_insensitive {
            lower = path.iter().map(u8::to_ascii_lowercase).collect();
            path = &lower;
        }
        if let Some(hosts) = &self.hosts
            && let Some(found) = self.search_zones(hosts, request, path, spans)
        {
            return found;
        }
        self.search_in(&self.paths, request, path, spans)
    }

    #[inline]
    fn search_in<'r>(
        &'r self,
        root: &'r Root<Slot<T>>,
        request: &Request<'_>,
        path: &[u8],
        spans: &mut Spans,
    ) -> Option<(&'r Entry<T>, usize)> {
        let root = root.as_deref()?;
        if self.first_wins() {
            self.first_in(root, request, path, spans)
        } else {
            self.best_in(root, request, path, spans)
        }
    }

    #[inline(always)]
    fn first_in<'r>(
        &self,
        root: &'r Node<Slot<T>>,
        request: &Request<'_>,
        path: &[u8],
        spans: &mut Spans,
    ) -> Option<(&'r Entry<T>, usize)> {
        let mut first = First::new(request);
        Walk::new(
            request,
            path,
            self.options.ignore_trailing_slash,
            spans,
            &mut first,
        )
        .run(root);
        Some((first.entry?, first.at))
    }

    fn best_in<'r>(
        &self,
        root: &'r Node<Slot<T>>,
        request: &Request<'_>,
        path: &[u8],
        spans: &mut Spans,
    ) -> Option<(&'r Entry<T>, usize)> {
        let mut best = Best::new(request, self.options.profile);
        Walk::new(
            request,
            path,
            self.options.ignore_trailing_slash,
            spans,
            &mut best,
        )
        .run(root);
        spans.copy_from(&best.spans);
        Some((best.entry?, best.at))
    }

    /// The answer of the most specific host that has one; `None` if those without hosts are to be asked.
    #[cold]
    fn search_zones<'r>(
        &'r self,
        hosts: &'r HostIndex<Zone<T>>,
        request: &Request<'_>,
        path: &[u8],
        spans: &mut Spans,
    ) -> Option<Option<(&'r Entry<T>, usize)>> {
        let host = request.host()?;
        let mut zones: SmallVec<[&Zone<T>; 8]> = SmallVec::new();
        hosts.visit(host.name(), &mut |zone| zones.push(zone));
        for zone in zones {
            for root in zone.for_port(request.port()) {
                spans.truncate(0);
                let found = self.search_in(root, request, path, spans);
                if found.is_some() || !self.options.host_fallback {
                    return Some(found);
                }
            }
        }
        spans.truncate(0);
        None
    }

    /// Shows a guide every place of a tree that fits the path; none if the path is too long.
    pub(crate) fn walk<'r, G: Guide<'r, T>>(
        &self,
        root: &'r Root<Slot<T>>,
        request: &Request<'_>,
        guide: &mut G,
    ) {
        let path = request.lookup.path;
        let Some(root) = root.as_deref().filter(|_| path.len() <= MAX_PATH) else {
            return;
        };
        let lower = self.options.case_insensitive.then(|| path.to_ascii_lowercase());
        let path = lower.as_deref().unwrap_or(path).as_bytes();
        let ignore_slash = self.options.ignore_trailing_slash;
        Walk::new(request, path, ignore_slash, &mut Spans::new(), guide).run(root);
    }

    pub(crate) fn stored(&self, id: RuleId) -> Option<&Arc<Stored<T>>> {
        self.rules.get(id.0)
    }

    pub(crate) fn all_stored(&self) -> impl Iterator<Item = &Arc<Stored<T>>> {
        self.rules.iter()
    }

    /// Whether a rule at one place can win over one at another for more than its path.
    pub(crate) fn ranks_across_places(&self) -> bool {
        !self.first_wins()
    }

    /// The trees of the request's host, the most specific first; none unless the host decides first.
    pub(crate) fn zones_of(&self, request: &Request<'_>) -> Vec<&Root<Slot<T>>> {
        let mut roots = Vec::new();
        if let Some(hosts) = &self.hosts
            && let Some(host) = request.host()
        {
            hosts.visit(host.name(), &mut |zone| {
                roots.extend(zone.for_port(request.port()))
            });
        }
        roots
    }

    pub(crate) fn zones(&self) -> Option<&HostIndex<Zone<T>>> {
        self.hosts.as_deref()
    }

    /// The tree of the rules without hosts; unless the host decides first that of all.
    pub(crate) fn paths(&self) -> &Root<Slot<T>> {
        &self.paths
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The rule as this router compares it.
    fn adapt(&self, mut rule: Rule) -> Rule {
        if self.options.case_insensitive {
            rule.ignore_case();
        }
        rule
    }

    /// Routes of one service have the same hosts, methods and conditions, and mostly come one after the other: these are
    /// held once, if the rule before has them or, where the host decides first, one of the same host.
    fn share(&self, rule: &mut Rule) {
        if rule.is_bare() {
            return;
        }
        let last = self.next.checked_sub(1).and_then(|id| self.rules.get(id));
        if last.is_some_and(|last| rule.share(&last.rule)) {
            return;
        }
        if let Some(entry) = self.neighbour(rule) {
            rule.share(&entry.stored.rule);
        }
    }

    /// Some entry in the tree of the host of a rule.
    fn neighbour(&self, rule: &Rule) -> Option<&Entry<T>> {
        let host = rule.hosts().first()?;
        let root = self.hosts.as_ref()?.leaf(host)?.of_port(host.port())?;
        let mut node = root.as_deref()?;
        loop {
            let mut found = None;
            let slots = [Some(&node.exact), node.tail.as_deref()];
            let _any = slots.into_iter().flatten().try_for_each(|slot| {
                slot.each(&mut |entry| {
                    found = Some(entry);
                    ControlFlow::Break(())
                })
            });
            match found {
                None => node = node.branches().next()?,
                found => return found,
            }
        }
    }

    fn count(&mut self, rule: &Rule) {
        self.length += 1;
        self.prioritised += usize::from(rule.explicit_priority() != 0);
    }

    /// Puts a rule at its places, in the place of one that is equal but for its value.
    fn link(&mut self, stored: Arc<Stored<T>>, known: Option<&Arc<Stored<T>>>) {
        let profile = self.options.profile;
        for (pattern, host) in places(&stored.rule) {
            let entry = Entry::new(profile, &stored, pattern, host);
            let known = known.map(|known| Entry::new(profile, known, pattern, host));
            let (key, place) = self.key(entry.pattern());
            let bound = entry.rank().bound();
            let zone = self.zone(&entry);
            let change = |slot: &mut Slot<T>, level| {
                if let Some(known) = known {
                    slot.remove(&known, level);
                }
                slot.insert(entry, level);
            };
            match zone {
                None => update(&mut self.paths, &key, place, bound, |slot| {
                    change(slot, Level::Path)
                }),
                Some(host) => {
                    Arc::make_mut(self.hosts.get_or_insert_default()).update(&host, bound, |zone| {
                        update(zone.at_port(host.port()), &key, place, bound, |slot| {
                            change(slot, Level::Host);
                        });
                    })
                }
            }
        }
        self.rules.insert(stored.id.0, stored);
    }

    /// The host under which an entry stands apart from all others.
    fn zone(&self, entry: &Entry<T>) -> Option<crate::HostPattern> {
        let host_first = self.options.profile == Profile::HostFirst;
        entry.host().filter(|_| host_first).cloned()
    }

    /// Where in the path tree a pattern belongs.
    pub(crate) fn key(&self, pattern: Option<&Pattern>) -> (Key, Place) {
        let Some(pattern) = pattern else {
            return (Key::default(), Place::Tail);
        };
        let (mut key, place) = pattern.key();
        if self.options.case_insensitive {
            key = key.into_ascii_lowercase();
        }
        if self.options.ignore_trailing_slash && pattern.shape().tail == Tail::End && !key.is_slash() {
            key.trim_last_slash();
        }
        (key, place)
    }
}

impl Rule {
    /// Whether a router takes the rule; [`Router::insert`] asks the same.
    ///
    /// # Errors
    /// When the rule is too wide.
    pub fn check(&self) -> Result<(), InsertError> {
        let (paths, hosts) = (self.patterns.len(), self.hosts().len());
        let values: usize = self
            .equalities()
            .iter()
            .map(|equality| equality.values.len())
            .product();
        if paths.max(1).saturating_mul(hosts.max(1)).saturating_mul(values) > MAX_PLACES {
            return Err(InsertError::TooWide { paths, hosts, values });
        }
        Ok(())
    }
}

/// Every path of a rule with every host, by position; a rule without has one nameless.
pub(crate) fn places(rule: &Rule) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (paths, hosts) = (rule.patterns.len().max(1), rule.hosts().len().max(1));
    (0..paths).flat_map(move |pattern| (0..hosts).map(move |host| (pattern, host)))
}

impl<T> Clone for Router<T> {
    fn clone(&self) -> Self {
        Self {
            paths: self.paths.clone(),
            hosts: self.hosts.clone(),
            rules: self.rules.clone(),
            ..*self
        }
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Router<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("options", &self.options)
            .field("len", &self.length)
            .finish_non_exhaustive()
    }
}

// --- RuleId ---

impl RuleId {
    #[cfg(test)]
    pub(crate) fn new(id: u64) -> Self {
        Self(id)
    }

    pub(crate) fn order(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
