//! Random tables and requests: the router answers as the oracle, whatever changes led to the table.

use gw_router::{Profile, Router, RuleId, normalize};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::{
    oracle,
    spec::{RequestSpec, Spec, request, spec},
};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

fn profiled() -> impl Strategy<Value = Profile> {
    prop_oneof![Just(Profile::PathFirst), Just(Profile::Kong)]
}

/// Value, matched path and parameters.
type Answer = (usize, String, Vec<(String, String)>);

/// What a router answers, told without ids.
fn answer(router: &Router<usize>, request: &RequestSpec) -> Option<Answer> {
    let found = router.find(&request.lookup())?;
    let params = found
        .params()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Some((*found.value, found.matched_path().to_owned(), params))
}

fn check(profile: Profile, rules: &[Spec], requests: &[RequestSpec]) -> Result<(), TestCaseError> {
    let mut router = Router::with_profile(profile);
    for (position, rule) in rules.iter().enumerate() {
        router.insert(rule.rule(), position).unwrap();
    }
    for request in requests {
        let got = answer(&router, request);
        let Some((position, ways)) = oracle::find(profile, rules, request) else {
            prop_assert_eq!(got, None, "{:?}", request);
            continue;
        };
        let ways = ways.iter().map(|way| match way {
            Some(matched) => (
                position,
                request.path.get(..matched.length).unwrap().to_owned(),
                matched.params.clone(),
            ),
            None => (position, String::new(), Vec::new()),
        });
        let ways: Vec<_> = ways.collect();
        prop_assert!(
            got.as_ref().is_some_and(|got| ways.contains(got)),
            "{request:?}: {got:?}, not one of {ways:?}"
        );
    }
    Ok(())
}

#[derive(Clone, Debug)]
enum Change {
    Insert(Spec),
    Replace(Index, Spec),
    Remove(Index),
}

fn change() -> impl Strategy<Value = Change> {
    let any_spec = || prop_oneof![spec(false), spec(true)];
    prop_oneof![
        3 => any_spec().prop_map(Change::Insert),
        1 => (any::<Index>(), any_spec()).prop_map(|(index, spec)| Change::Replace(index, spec)),
        1 => any::<Index>().prop_map(Change::Remove),
    ]
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
            Change::Remove(index) if !self.rules.is_empty() => {
                let (id, _, value) = self.rules.remove(index.index(self.rules.len()));
                assert_eq!(self.router.remove(id).as_deref(), Some(&value));
            }
            Change::Replace(..) | Change::Remove(_) => {}
        }
    }

    fn fresh(&self) -> Router<usize> {
        let mut router = Router::with_profile(self.router.profile());
        for (_, spec, value) in &self.rules {
            router.insert(spec.rule(), *value).unwrap();
        }
        router
    }

    fn answers(&self, requests: &[RequestSpec]) -> Vec<Option<Answer>> {
        requests
            .iter()
            .map(|request| answer(&self.router, request))
            .collect()
    }
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn path_first_answers_as_the_oracle(rules in vec(spec(false), 0..24), requests in vec(request(), 1..24)) {
        check(Profile::PathFirst, &rules, &requests)?;
    }

    #[test]
    fn kong_answers_as_the_oracle(rules in vec(spec(true), 0..24), requests in vec(request(), 1..24)) {
        check(Profile::Kong, &rules, &requests)?;
    }

    #[test]
    fn a_changed_router_answers_as_a_fresh_one_and_leaves_old_clones_alone(
        profile in profiled(),
        changes in vec(change(), 1..40),
        requests in vec(request(), 1..12),
    ) {
        let mut table = Table { router: Router::with_profile(profile), rules: Vec::new() };
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
