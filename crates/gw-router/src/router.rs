//! The router: rules go in, come out and are replaced; requests are looked up.

use std::{fmt, sync::Arc};

use crate::{
    entry::{Entry, Stored},
    error::{InsertError, MAX_PLACES, ReplaceError},
    found::Found,
    lookup::Lookup,
    normalize::MAX_PATH,
    order::Profile,
    pattern::{Pattern, Tail, Token},
    rule::Rule,
    search::{self, Request},
    slot::Slot,
    tree::{Leaf, Node, PARAM, Place, Step, prune, seek, steps, update},
};

/// Rules and their values; a value in itself, which costs one reference count to clone.
///
/// A clone and its original share what they have in common; changing one never shows in the other.
pub struct Router<T> {
    profile: Profile,
    paths: Option<Arc<Node<Slot<T>>>>,
    /// The rules by id, of which each digit is a step.
    rules: Option<Arc<Node<Held<T>>>>,
    length: usize,
    next: u64,
}

/// Names a rule in a router and in all routers cloned from it. Ids are given in ascending order, never twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(u64);

impl<T> Router<T> {
    /// An empty router with the default profile, [`Profile::PathFirst`].
    pub fn new() -> Self {
        Self::with_profile(Profile::default())
    }

    /// An empty router.
    pub fn with_profile(profile: Profile) -> Self {
        Self {
            profile,
            paths: None,
            rules: None,
            length: 0,
            next: 0,
        }
    }

    /// The order in which rules are ranked.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Adds a rule. It does not matter whether another one looks the same.
    ///
    /// # Errors
    /// When the rule is refused; the router is unchanged then.
    pub fn insert(&mut self, rule: Rule, value: T) -> Result<RuleId, InsertError> {
        rule.check()?;
        let id = RuleId(self.next);
        self.next += 1;
        self.link(Arc::new(Stored {
            id,
            rule,
            value: Arc::new(value),
        }));
        Ok(id)
    }

    /// Puts another rule and value in the place of one: the id and the order of insertion stay.
    ///
    /// # Errors
    /// When there is no such rule or the new one is refused; the router is unchanged then.
    pub fn replace(&mut self, id: RuleId, rule: Rule, value: T) -> Result<(), ReplaceError> {
        let old = self.stored(id).cloned().ok_or(ReplaceError::Unknown { id })?;
        rule.check()?;
        self.unlink(&old);
        self.link(Arc::new(Stored {
            id,
            rule,
            value: Arc::new(value),
        }));
        Ok(())
    }

    /// Removes a rule and returns its value; `None` if there is no such rule.
    pub fn remove(&mut self, id: RuleId) -> Option<Arc<T>> {
        let old = self.stored(id).cloned()?;
        self.unlink(&old);
        Some(Arc::clone(&old.value))
    }

    /// The value of a rule.
    pub fn get(&self, id: RuleId) -> Option<&Arc<T>> {
        self.stored(id).map(|stored| &stored.value)
    }

    /// The rule that wins for a request, if any matches. A path of more than 64 KiB matches none.
    pub fn find<'r, 'q>(&'r self, lookup: &Lookup<'q>) -> Option<Found<'r, 'q, T>> {
        if lookup.path.len() > MAX_PATH {
            return None;
        }
        let entry = search::find(self.paths.as_deref()?, &Request::new(lookup), self.profile)?;
        Some(Found::new(entry, lookup.path))
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    fn stored(&self, id: RuleId) -> Option<&Arc<Stored<T>>> {
        seek(self.rules.as_deref()?, &id.key())?
            .exact
            .as_deref()?
            .0
            .as_ref()
    }

    fn link(&mut self, stored: Arc<Stored<T>>) {
        for (pattern, host) in places(&stored.rule) {
            let entry = Entry::new(self.profile, &stored, pattern, host);
            let (key, place) = key(entry.pattern());
            update(&mut self.paths, &key, place, entry.rank, |slot| {
                slot.insert(entry)
            });
        }
        self.length += 1;
        update(&mut self.rules, &stored.id.key(), Place::Exact, (), |held| {
            held.0 = Some(Arc::clone(&stored))
        });
    }

    fn unlink(&mut self, stored: &Arc<Stored<T>>) {
        for (pattern, host) in places(&stored.rule) {
            let entry = Entry::new(self.profile, stored, pattern, host);
            let (key, place) = key(entry.pattern());
            prune(&mut self.paths, &key, place, |slot| slot.remove(&entry));
        }
        self.length -= 1;
        prune(&mut self.rules, &stored.id.key(), Place::Exact, |held| {
            held.0 = None
        });
    }
}

impl Rule {
    /// Whether a router takes the rule; [`Router::insert`] asks the same.
    ///
    /// # Errors
    /// When the rule is too wide.
    pub fn check(&self) -> Result<(), InsertError> {
        let (paths, hosts) = (self.patterns.len(), self.hosts.len());
        if paths.max(1).saturating_mul(hosts.max(1)) > MAX_PLACES {
            return Err(InsertError::TooWide { paths, hosts });
        }
        Ok(())
    }
}

/// Every path of a rule with every host, by position; a rule without has one nameless.
fn places(rule: &Rule) -> impl Iterator<Item = (usize, usize)> + use<> {
    let (paths, hosts) = (rule.patterns.len().max(1), rule.hosts.len().max(1));
    (0..paths).flat_map(move |pattern| (0..hosts).map(move |host| (pattern, host)))
}

/// Where in the path tree a pattern belongs.
fn key(pattern: Option<&Pattern>) -> (Vec<Step>, Place) {
    let mut key = Vec::new();
    let Some(pattern) = pattern else {
        return (key, Place::Tail);
    };
    for token in pattern.tokens() {
        match token {
            Token::Literal(text) => key.extend(text.iter().copied().map(Step::from)),
            Token::Param => key.push(PARAM),
        }
    }
    let place = if matches!(pattern.tail(), Tail::End) {
        Place::Exact
    } else {
        Place::Tail
    };
    (key, place)
}

impl<T> Clone for Router<T> {
    fn clone(&self) -> Self {
        Self {
            paths: self.paths.clone(),
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
            .field("profile", &self.profile)
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

    /// Sixteen digits: narrow nodes are cheap to copy.
    fn key(self) -> Vec<Step> {
        steps(
            self.0
                .to_be_bytes()
                .into_iter()
                .flat_map(|byte| [byte >> 4, byte & 15]),
        )
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// --- Held ---

/// A rule in the tree of ids.
struct Held<T>(Option<Arc<Stored<T>>>);

impl<T> Leaf for Held<T> {
    type Best = ();
    const NOTHING: () = ();

    fn best(&self) {}

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Clone for Held<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::{Router, RuleId};
    use crate::{
        InsertError, Lookup, Pattern, Profile, ReplaceError, Rule,
        normalize::MAX_PATH,
        search::{self, Request},
    };

    /// What the search did, in bytes compared, nodes entered and rules looked at.
    fn work<T>(router: &Router<T>, lookup: &Lookup<'_>) -> usize {
        let request = Request::new(lookup);
        search::find(
            router.paths.as_deref().expect("a router with rules"),
            &request,
            router.profile(),
        );
        request.steps()
    }

    fn router(profile: Profile, rules: impl IntoIterator<Item = Rule>) -> Router<usize> {
        let mut router = Router::with_profile(profile);
        for (index, rule) in rules.into_iter().enumerate() {
            router.insert(rule, index).unwrap();
        }
        router
    }

    #[test]
    fn a_long_path_costs_its_length_once() {
        let rules = |method: Method| {
            let paths = ["/:a/:b/:c/x", "/:a/*", "/*", "/a*", "/{*x}", "/a/:b/*"];
            paths.map(|path| Rule::path(path).unwrap().method(method.clone()))
        };
        for profile in [Profile::PathFirst, Profile::Kong] {
            // No rule takes this method, so that every one is tried.
            let router = router(profile, rules(Method::POST));
            for unit in ["a", "/", "a/", "/a", "ab/c"] {
                let path = format!("/{}", unit.repeat(MAX_PATH / unit.len() - 1));
                let steps = work(&router, &Lookup::new(&Method::GET, "", &path));
                assert!(steps <= path.len() + 100, "{steps} steps for {unit:?}");
            }
        }
    }

    #[test]
    fn a_hostile_table_costs_no_more_than_its_size() {
        // Literal and parameter at every level: each of the 2^12 ways is a rule, and all fail on the method.
        let depth = 12;
        let path_of = |bits: usize| -> String {
            (0..depth)
                .map(|level| if bits >> level & 1 == 0 { "/a" } else { "/:x" }.to_owned())
                .enumerate()
                .map(|(level, text)| text.replace('x', &format!("p{level}")))
                .collect()
        };
        let rules = (0..1 << depth).map(|bits| Rule::path(&path_of(bits)).unwrap().method(Method::POST));
        let table = router(Profile::PathFirst, rules);
        let steps = work(&table, &Lookup::new(&Method::GET, "", &"/a".repeat(depth)));
        assert!(steps < 12 << depth, "{steps} steps for {} rules", 1 << depth);
    }

    #[test]
    fn nested_prefixes_cost_one_look_each() {
        let prefix = |length: usize| Pattern::kong(&"/a".repeat(length)).unwrap();
        for profile in [Profile::PathFirst, Profile::Kong] {
            let rules = (1..=2048).map(|length| Rule::any().pattern(prefix(length)).method(Method::POST));
            let router = router(profile, rules);
            let path = "/a".repeat(MAX_PATH / 2);
            let steps = work(&router, &Lookup::new(&Method::GET, "", &path));
            assert!(steps < 4 * 4096, "{steps} steps");
            assert!(router.find(&Lookup::new(&Method::POST, "", &path)).is_some());
        }
    }

    #[test]
    fn the_number_of_hosts_on_a_path_does_not_count() {
        for profile in [Profile::PathFirst, Profile::Kong] {
            let names = (0..10_000).map(|number| format!("host-{number}.example.com"));
            let wild = (0..1_000).map(|number| format!("*.sub-{number}.example.com"));
            let rules = names
                .chain(wild)
                .map(|name| Rule::any().host(name.parse().unwrap()));
            let router = router(profile, rules);
            for (host, found) in [
                ("host-7777.example.com", Some(7777)),
                ("x.sub-77.example.com", Some(10_077)),
                ("host-10000.example.com", None),
            ] {
                let lookup = Lookup::new(&Method::GET, host, "/a");
                assert_eq!(router.find(&lookup).map(|found| *found.value), found, "{host}");
                assert!(work(&router, &lookup) < 10, "{host}");
            }
        }
    }

    #[test]
    fn a_path_over_the_limit_matches_nothing() {
        let router = router(Profile::Kong, [Rule::any()]);
        assert!(router.find(&Lookup::path_only(&"/".repeat(MAX_PATH))).is_some());
        assert!(
            router
                .find(&Lookup::path_only(&"/".repeat(MAX_PATH + 1)))
                .is_none()
        );
    }

    #[test]
    fn an_unknown_rule_is_neither_replaced_nor_removed() {
        let mut router = router(Profile::Kong, [Rule::any()]);
        let id = RuleId::new(1);
        assert_eq!(
            router.replace(id, Rule::any(), 9),
            Err(ReplaceError::Unknown { id })
        );
        assert_eq!(router.remove(id), None);
        assert_eq!(router.remove(RuleId::new(0)).as_deref(), Some(&0));
        assert_eq!(router.remove(RuleId::new(0)), None);
        assert!(router.is_empty() && router.paths.is_none() && router.rules.is_none());
    }

    #[test]
    fn a_refused_rule_changes_nothing() {
        let wide = || {
            let paths = (0..300).map(|number| Pattern::kong(&format!("/{number}")).unwrap());
            let rule = paths.fold(Rule::any(), Rule::pattern);
            (0..300).fold(rule, |rule, number| {
                rule.host(format!("h{number}").parse().unwrap())
            })
        };
        let mut router = router(Profile::Kong, [Rule::path("/a").unwrap()]);
        let error = InsertError::TooWide {
            paths: 300,
            hosts: 300,
        };
        assert_eq!(router.insert(wide(), 1), Err(error.clone()));
        assert_eq!(
            router.replace(RuleId::new(0), wide(), 1),
            Err(ReplaceError::Refused(error))
        );
        assert_eq!(router.len(), 1);
        assert_eq!(
            router.find(&Lookup::path_only("/a")).map(|found| *found.value),
            Some(0)
        );
        assert!(router.find(&Lookup::path_only("/299")).is_none());
    }
}
