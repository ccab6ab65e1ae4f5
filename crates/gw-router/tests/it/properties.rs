//! Random tables and requests: the router answers as the oracle, whatever changes led to the table.

use gw_router::{Options, Profile, Router, RuleId, normalize};
use http::Method;
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    oracle::{self, Way},
    paths::{self, PathSpec, crossing_path, crossing_pattern},
    spec::{RequestSpec, Spec, TestSpec, options, request, spec},
};

fn config(cases: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").map_or(cases, |by_hand| by_hand.parse().unwrap_or(cases));
    ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::with_cases(cases)
    }
}

const PATHS: &[Profile] = &[Profile::PathFirst, Profile::HostFirst, Profile::PriorityFirst];
const ALL: &[Profile] = &[
    Profile::PathFirst,
    Profile::HostFirst,
    Profile::PriorityFirst,
    Profile::Kong,
];

/// What a router answers, told without ids.
fn answer(router: &Router<usize>, request: &RequestSpec) -> Option<(usize, Way)> {
    let wire = request.wire();
    let found = router.find(&request.lookup(&wire))?;
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let way = Way {
        pattern: found.pattern().map(ToString::to_string),
        host: found.host().map(ToString::to_string),
        matched: found.matched_path().to_owned(),
        params: found.params().map(owned).collect(),
    };
    Some((*found.value, way))
}

fn check(options: Options, rules: &[Spec], requests: &[RequestSpec]) -> Result<(), TestCaseError> {
    let mut router = Router::with_options(options);
    for (position, rule) in rules.iter().enumerate() {
        router.insert(rule.rule(), position).unwrap();
    }
    for request in requests {
        let got = answer(&router, request);
        let expected = oracle::find(&options, rules, request);
        let Some((position, ways)) = expected else {
            prop_assert_eq!(got, None, "{:?}", request);
            continue;
        };
        let right = got
            .as_ref()
            .is_some_and(|(value, way)| *value == position && ways.contains(way));
        prop_assert!(
            right,
            "{request:?}: {got:?}, not rule {position} as one of {ways:?}"
        );
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Change {
    Insert(Spec),
    Replace(Index, Spec),
    /// Another value under the same rule.
    Revalue(Index),
    Remove(Index),
}

fn change(prioritised: bool) -> impl Strategy<Value = Change> {
    let any_spec = move || prop_oneof![2 => spec(false, prioritised), 1 => spec(true, prioritised)];
    prop_oneof![
        3 => any_spec().prop_map(Change::Insert),
        1 => (any::<Index>(), any_spec()).prop_map(|(index, spec)| Change::Replace(index, spec)),
        1 => any::<Index>().prop_map(Change::Revalue),
        1 => any::<Index>().prop_map(Change::Remove),
    ]
}

/// Rules of which some, or none at all, have a priority.
fn rules(mostly_kong: bool) -> impl Strategy<Value = Vec<Spec>> {
    prop_oneof![
        vec(spec(mostly_kong, true), 0..24),
        vec(spec(mostly_kong, false), 0..24),
    ]
}

/// Puts all rules at one place of the tree, where nearly all match: what ranks them decides.
fn at_one_place(mut rules: Vec<Spec>, mut requests: Vec<RequestSpec>) -> (Vec<Spec>, Vec<RequestSpec>) {
    for (position, rule) in rules.iter_mut().enumerate() {
        rule.paths = vec![PathSpec::Prefix("/a".to_owned())];
        rule.snis.clear();
        rule.sources.clear();
        rule.destinations.clear();
        rule.priority = rule.priority.signum();
        if position % 3 > 0 {
            rule.hosts.clear();
        }
        if position % 3 == 1 {
            // What is left decides only among those that have nothing else.
            rule.methods.clear();
            rule.conditions.clear();
            rule.expression = None;
        }
        if !rule.methods.is_empty() {
            rule.methods.push(Method::GET);
        }
        if !rule.remotes.is_empty() {
            rule.remotes.push("0.0.0.0/0");
        }
        for condition in &mut rule.conditions {
            if let TestSpec::OneOf(values) = &mut condition.test {
                values.push("1");
            }
        }
    }
    for request in &mut requests {
        "/a/b/c".clone_into(&mut request.path);
        request.method = Some(Method::GET);
        request.remote = Some([10, 1, 2, 3].into());
        request.headers = vec![("x-a", "1"), ("x-b", "1")];
        request.cookies = vec![("c", "1"), ("d", "1")];
        request.query = Some(vec![("a", "1"), ("b", "1")]);
    }
    (rules, requests)
}

/// Puts all rules at one place of the tree, so that its form changes with their number.
fn crowd(mut changes: Vec<Change>, mut requests: Vec<RequestSpec>) -> (Vec<Change>, Vec<RequestSpec>) {
    for change in &mut changes {
        if let Change::Insert(spec) | Change::Replace(_, spec) = change {
            spec.paths = vec![PathSpec::Prefix("/a".to_owned())];
            spec.snis.clear();
            spec.sources.clear();
            spec.destinations.clear();
        }
    }
    for request in &mut requests {
        "/a/b/c".clone_into(&mut request.path);
    }
    (changes, requests)
}

/// Rules that make crowds where others begin.
fn bystanders() -> impl Iterator<Item = Spec> {
    paths::crowd().map(|path| Spec {
        paths: vec![path],
        ..Spec::default()
    })
}

/// The rules of a router in order of insertion, beside the router itself.
#[derive(Clone)]
struct Table {
    router: Router<usize>,
    rules: Vec<(RuleId, Spec, usize)>,
}

impl Table {
    fn apply(&mut self, change: Change, value: usize) {
        match change {
            Change::Insert(spec) => {
                let id = self.router.insert(spec.rule(), value).unwrap();
                self.rules.push((id, spec, value));
            }
            Change::Replace(index, spec) if !self.rules.is_empty() => {
                let position = index.index(self.rules.len());
                let rule = &mut self.rules[position];
                self.router.replace(rule.0, spec.rule(), value).unwrap();
                *rule = (rule.0, spec, value);
            }
            Change::Revalue(index) if !self.rules.is_empty() => {
                let position = index.index(self.rules.len());
                let rule = &mut self.rules[position];
                self.router.replace(rule.0, rule.1.rule(), value).unwrap();
                rule.2 = value;
            }
            Change::Remove(index) if !self.rules.is_empty() => {
                let (id, _, value) = self.rules.remove(index.index(self.rules.len()));
                assert_eq!(self.router.get(id), Some(&value));
                assert!(self.router.remove(id) && !self.router.remove(id));
            }
            Change::Replace(..) | Change::Revalue(_) | Change::Remove(_) => {}
        }
    }

    fn fresh(&self) -> Router<usize> {
        let mut router = Router::with_options(*self.router.options());
        for (_, spec, value) in &self.rules {
            router.insert(spec.rule(), *value).unwrap();
        }
        router
    }

    fn answers(&self, requests: &[RequestSpec]) -> Vec<Option<(usize, Way)>> {
        requests
            .iter()
            .map(|request| answer(&self.router, request))
            .collect()
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn it_answers_as_the_oracle(
        options in options(PATHS),
        rules in rules(false),
        requests in vec(request(), 1..24),
    ) {
        check(options, &rules, &requests)?;
    }

    #[test]
    fn kong_answers_as_the_oracle(
        options in options(&[Profile::Kong]),
        rules in rules(true),
        requests in vec(request(), 1..24),
    ) {
        check(options, &rules, &requests)?;
    }

    #[test]
    fn of_rules_at_one_place_the_right_one_answers(
        options in options(ALL),
        rules in rules(false),
        requests in vec(request(), 1..24),
    ) {
        let (rules, requests) = at_one_place(rules, requests);
        check(options, &rules, &requests)?;
    }

    #[test]
    fn in_a_crowd_the_right_one_answers(
        options in options(ALL),
        mut rules in rules(false),
        requests in vec(request(), 1..24),
        before in any::<Index>(),
    ) {
        let at = before.index(rules.len() + 1);
        rules.splice(at..at, bystanders());
        check(options, &rules, &requests)?;
    }

    #[test]
    fn of_patterns_that_cross_the_right_one_answers(
        options in options(ALL),
        patterns in vec((crossing_pattern(), prop::bool::weighted(0.1)), 1..16),
        paths in vec(crossing_path(), 1..24),
    ) {
        let rules: Vec<_> = patterns
            .into_iter()
            .map(|(pattern, high)| Spec { paths: vec![pattern], priority: high.into(), ..Spec::default() })
            .collect();
        let requests: Vec<_> =
            paths.into_iter().map(|path| RequestSpec { path, ..RequestSpec::default() }).collect();
        check(options, &rules, &requests)?;
    }

    #[test]
    fn a_changed_router_answers_as_a_fresh_one_and_leaves_old_clones_alone(
        options in options(ALL),
        changes in prop_oneof![vec(change(true), 1..40), vec(change(false), 1..40)],
        requests in vec(request(), 1..12),
        crowded in 0..3,
    ) {
        let (changes, requests) = if crowded == 1 { crowd(changes, requests) } else { (changes, requests) };
        let mut table = Table { router: Router::with_options(options), rules: Vec::new() };
        if crowded == 2 {
            bystanders().for_each(|spec| table.apply(Change::Insert(spec), 0));
        }
        let mut kept = Vec::new();
        for (value, change) in changes.into_iter().enumerate() {
            kept.push((table.clone(), table.answers(&requests)));
            table.apply(change, value);
            let fresh = table.fresh();
            prop_assert_eq!(table.router.len(), fresh.len());
            for request in &requests {
                prop_assert_eq!(answer(&table.router, request), answer(&fresh, request), "{:?}", request);
            }
        }
        for (old, answers) in kept {
            prop_assert_eq!(old.answers(&requests), answers);
        }
    }

    #[test]
    fn a_normal_path_is_its_own_normal_form(raw in "/[a./%25eE~]{0,24}") {
        if let Ok(path) = normalize(&raw) {
            let again = normalize(&path).unwrap();
            prop_assert_eq!(&again, &path);
            prop_assert!(!path.contains("//") && !path.split('/').any(|segment| matches!(segment, "." | "..")));
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "\\PC{0,32}", path in "/[{}*:\\\\a/~()?]{0,16}") {
        for text in [&text, &path] {
            let parsed = gw_router::Pattern::parse(text);
            if let Ok(pattern) = parsed {
                let mut router = Router::new();
                router.insert(gw_router::Rule::any().pattern(pattern), ()).unwrap();
                let _found = router.find(&gw_router::Lookup::path_only(text)).is_some();
            }
            let _results = (gw_router::Pattern::kong(text), text.parse::<gw_router::HostPattern>(), normalize(text));
        }
    }
}
