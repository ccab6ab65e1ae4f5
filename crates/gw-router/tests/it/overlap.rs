//! What `overlaps` tells is so, on random tables: rules that never win never do, and ties are decided by order alone.

use gw_router::{Options, Overlap, Profile, RankKey, Router, RuleId, Verdict};
use proptest::{collection::vec, prelude::*};

use crate::spec::{RequestSpec, Spec, options, request, spec};

const PROFILES: [Profile; 4] = [
    Profile::PathFirst,
    Profile::HostFirst,
    Profile::PriorityFirst,
    Profile::Kong,
];

fn concerns(overlap: &Overlap, id: RuleId) -> bool {
    match overlap {
        Overlap::NeverWins {
            rule: one,
            behind: two,
        }
        | Overlap::Undecided {
            first: one,
            second: two,
        }
        | Overlap::CutsSegment {
            prefix: one,
            other: two,
        } => one.id == id || two.id == id,
        _ => false,
    }
}

fn check(options: Options, rules: &[Spec], requests: &[RequestSpec]) -> Result<(), TestCaseError> {
    let mut router = Router::with_options(options);
    for rule in rules {
        router.insert(rule.rule(), ()).unwrap();
    }
    let overlaps = router.overlaps();
    for request in requests {
        let wire = request.wire();
        let lookup = request.lookup(&wire);
        for overlap in &overlaps {
            so(&router, overlap, &lookup)?;
        }
    }
    let ids: Vec<_> = router.iter().map(|(id, ..)| id).collect();
    for id in ids {
        let of_one = router.overlaps_of(id);
        for overlap in overlaps.iter().filter(|overlap| concerns(overlap, id)) {
            let known = of_one.contains(overlap)
                || matches!(overlap, Overlap::NeverWins { rule, .. } if of_one.iter().any(
                    |other| matches!(other, Overlap::NeverWins { rule: other, .. } if other == rule)
                ));
            prop_assert!(known, "of rule {}: {}\n{:#?}", id, overlap, router.rule(id));
        }
        for request in requests {
            let wire = request.wire();
            let lookup = request.lookup(&wire);
            for overlap in &of_one {
                prop_assert!(concerns(overlap, id), "of rule {id}: {overlap}");
                so(&router, overlap, &lookup)?;
            }
        }
    }
    Ok(())
}

/// Whether what is told is not refuted by a request.
fn so(router: &Router<()>, overlap: &Overlap, lookup: &gw_router::Lookup<'_>) -> Result<(), TestCaseError> {
    match overlap {
        Overlap::NeverWins { rule, behind } => {
            prop_assert_ne!(rule.id, behind.id);
            if let Some(found) = router.find(lookup) {
                let wins = found.id() == rule.id && found.pattern() == rule.pattern.as_ref();
                prop_assert!(!wins, "{overlap}, but {lookup:?}");
            }
        }
        Overlap::Undecided { first, second } => {
            let explanation = router.explain(lookup);
            let party = |party: &gw_router::Party| {
                explanation
                    .candidates
                    .iter()
                    .find(|candidate| candidate.id == party.id && candidate.pattern == party.pattern.as_ref())
            };
            let one_way = |id| {
                router.rule(id).is_some_and(|rule| {
                    // Only then is the way by which the rule matches the one that is told of.
                    let text = format!("{rule:?}");
                    text.matches("HostPattern(").count() <= 1 && text.matches("Pattern").count() <= 2
                })
            };
            if let Some((one, two)) = party(first).zip(party(second))
                && one_way(first.id)
                && one_way(second.id)
                && one.verdict == Verdict::Won
                && let Verdict::Lost { by } = &two.verdict
            {
                prop_assert!(
                    matches!(by, RankKey::Age | RankKey::Order),
                    "{overlap}, but by {by}: {lookup:?}"
                );
            }
            if let Some(found) = router.find(lookup) {
                let wins = found.id() == second.id && found.pattern() == second.pattern.as_ref();
                let both = party(first).is_some_and(|first| !matches!(first.verdict, Verdict::Failed(_)));
                prop_assert!(!(wins && both && one_way(first.id)), "{overlap}, but {lookup:?}");
            }
        }
        Overlap::CutsSegment { prefix, other } => {
            let texts =
                [&prefix.pattern, &other.pattern].map(|pattern| pattern.as_ref().map(ToString::to_string));
            prop_assert!(
                texts.iter().all(Option::is_some) && prefix.id != other.id,
                "{overlap}"
            );
        }
        _ => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn what_overlaps_tells_is_so(
        options in options(&PROFILES),
        rules in vec(spec(false, true), 2..16),
        requests in vec(request(), 32),
    ) {
        check(options, &rules, &requests)?;
    }

    #[test]
    fn what_overlaps_tells_of_kongs_paths_is_so(
        options in options(&PROFILES),
        rules in vec(spec(true, true), 2..16),
        requests in vec(request(), 32),
    ) {
        check(options, &rules, &requests)?;
    }
}
