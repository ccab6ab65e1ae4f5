//! Overlaps of small tables, word for word, and how little of a large table is looked at.

use http::Method;
use serde_json::json;

use super::{ENTRIES, NODES, Overlap};
use crate::{Cidr, Condition, Endpoint, Expr, HostPattern, Lookup, Pattern, Profile, Router, Rule, RuleId};

fn router(profile: Profile, rules: impl IntoIterator<Item = Rule>) -> Router<()> {
    let mut router = Router::with_profile(profile);
    for rule in rules {
        router.insert(rule, ()).unwrap();
    }
    router
}

/// Each overlap as a kind and two ids.
fn short(overlaps: &[Overlap]) -> Vec<String> {
    let of = |overlap: &Overlap| match overlap {
        Overlap::NeverWins { rule, behind } => format!("{} behind {}", rule.id, behind.id),
        Overlap::Undecided { first, second } => format!("{} ties {}", first.id, second.id),
        Overlap::CutsSegment { prefix, other } => format!("{} cuts {}", prefix.id, other.id),
    };
    overlaps.iter().map(of).collect()
}

fn check(profile: Profile, rules: &[Rule], expected: &[&str]) {
    let router = router(profile, rules.iter().cloned());
    let overlaps = router.overlaps();
    assert_eq!(short(&overlaps), expected, "{profile:?}: {rules:#?}");
    for (id, ..) in router.iter() {
        let of_one = router.overlaps_of(id);
        for overlap in overlaps.iter().filter(|overlap| concerns(overlap, id)) {
            assert!(of_one.contains(overlap), "{profile:?}, rule {id}: {overlap}");
        }
        for more in of_one.iter().filter(|more| !overlaps.contains(more)) {
            // Another rule is before that one as well.
            let behind = |other: &Overlap| match (more, other) {
                (Overlap::NeverWins { rule, .. }, Overlap::NeverWins { rule: other, .. }) => rule == other,
                _ => false,
            };
            assert!(overlaps.iter().any(behind), "{profile:?}, rule {id}: {more}");
        }
    }
}

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
    }
}

fn path(text: &str) -> Rule {
    Rule::path(text).unwrap()
}

fn kong(text: &str) -> Rule {
    Rule::any().pattern(Pattern::kong(text).unwrap())
}

fn host(rule: Rule, host: &str) -> Rule {
    rule.host(host.parse::<HostPattern>().unwrap())
}

const ALL: [Profile; 4] = [
    Profile::PathFirst,
    Profile::HostFirst,
    Profile::PriorityFirst,
    Profile::Kong,
];

#[test]
fn of_duplicates_only_the_first_wins() {
    for profile in ALL {
        check(profile, &[path("/a"), path("/a")], &["1 behind 0"]);
        check(profile, &[path("/{x}"), path("/{y}")], &["1 behind 0"]);
        check(profile, &[Rule::any(), Rule::any()], &["1 behind 0"]);
        check(
            profile,
            &[host(path("/a"), "a.com"), host(path("/a"), "a.com")],
            &["1 behind 0"],
        );
        check(profile, &[kong("~/a[0-9]"), kong("~/a[0-9]")], &["1 behind 0"]);
        check(profile, &[path("/a"), path("/b"), path("/{x}/c")], &[]);
        check(
            profile,
            &[path("/a"), path("/a"), path("/a")],
            &["1 behind 0", "2 behind 0"],
        );
    }
    check(
        Profile::Kong,
        &[kong("/a").age(2), kong("/a").age(1)],
        &["0 behind 1"],
    );
    check(Profile::Kong, &[kong("/a"), kong("~/a")], &["0 behind 1"]);
}

#[test]
fn a_larger_priority_hides_what_it_covers() {
    let all = || path("/*").priority(9);
    check(
        Profile::PriorityFirst,
        &[path("/a"), path("/{x}/b"), all()],
        &["0 behind 2", "1 behind 2"],
    );
    check(
        Profile::Kong,
        &[kong("/a"), host(kong("/"), "a.com"), kong("/").priority(1)],
        &["0 behind 2", "1 behind 2"],
    );
    // A longer head wins whatever the priority.
    check(
        Profile::PathFirst,
        &[path("/a"), path("/{x}/b"), all()],
        &["1 behind 2"],
    );
    check(
        Profile::HostFirst,
        &[host(path("/{x}/b"), "a.com"), path("/{x}/b"), all()],
        &["1 behind 2"],
    );
    check(
        Profile::PriorityFirst,
        &[path("/a"), path("/*").priority(9).method(Method::GET)],
        &[],
    );
    check(
        Profile::PriorityFirst,
        &[
            path("/a").method(Method::GET),
            path("/*").priority(9).method(Method::GET).method(Method::PUT),
        ],
        &["0 behind 1"],
    );
}

#[test]
fn every_kind_of_condition_is_compared() {
    let expr = |json| Expr::from_json(&json).unwrap();
    let networks = |text: &str| [text.parse::<Cidr>().unwrap()];
    let wide = [
        path("/a").condition(Condition::query("v").present()),
        path("/a").condition(Condition::query("v").one_of(["1", "2"])),
        path("/a").remotes(networks("10.0.0.0/8")),
        path("/a").expression(expr(json!([["arg_v", "==", "1"]]))),
        path("/a").sni("*.a.com".parse().unwrap()),
        path("/a").source(Endpoint::port(80)),
        path("/a").destination(Endpoint::network("10.0.0.0/8".parse().unwrap())),
    ];
    let narrow = [
        path("/a").condition(Condition::query("v").equals("1")),
        path("/a").condition(Condition::query("v").equals("1")),
        path("/a").remotes(networks("10.1.0.0/16")),
        path("/a").expression(expr(json!([["arg_v", "==", "1"], ["arg_w", ">", 1]]))),
        path("/a").sni("b.a.com".parse().unwrap()),
        path("/a").source(Endpoint::network("10.1.0.0/16".parse().unwrap()).with_port(80)),
        path("/a").destination(Endpoint::network("10.1.0.0/16".parse().unwrap()).with_port(80)),
    ];
    for (wide, narrow) in wide.into_iter().zip(narrow) {
        let rules = [narrow.clone(), wide.clone().priority(1)];
        for profile in ALL {
            check(profile, &rules, &["0 behind 1"]);
        }
        let rules = [narrow.priority(1), wide];
        for profile in ALL {
            check(profile, &rules, &[]);
        }
    }
    let filter = path("/a").filter(|lookup: &Lookup<'_>| format!("{lookup:?}").len() > 9);
    check(
        Profile::PathFirst,
        &[filter.clone(), filter.clone()],
        &["1 behind 0"],
    );
    check(Profile::PathFirst, &[path("/a"), filter.priority(1)], &[]);
}

#[test]
fn what_only_the_order_decides_is_told() {
    let get = || path("/a").method(Method::GET);
    let header = |name: &'static str| Condition::header(http::HeaderName::from_static(name)).present();
    for profile in ALL {
        check(
            profile,
            &[get().method(Method::PUT), get().method(Method::POST)],
            &["0 ties 1"],
        );
        check(profile, &[get(), path("/a").method(Method::PUT)], &[]);
        check(profile, &[get(), get().method(Method::PUT)], &["0 ties 1"]);
        check(
            profile,
            &[
                path("/a").condition(header("x-a")),
                path("/a").condition(header("x-b")),
            ],
            &["0 ties 1"],
        );
        let valued = |value| path("/a").condition(Condition::query("v").equals(value));
        check(profile, &[valued("1"), valued("2")], &[]);
    }
    check(Profile::Kong, &[path("/{x}/b"), path("/a/{y}")], &["0 ties 1"]);
    check(Profile::PathFirst, &[path("/{x}/b"), path("/a/{y}")], &[]);
    check(
        Profile::Kong,
        &[kong(r"~/a/\d+"), kong(r"~/a/[0-9a-f]+$")],
        &["0 ties 1"],
    );
    check(Profile::Kong, &[kong(r"~/a/\d+$"), kong(r"~/a/[b-f]+$")], &[]);
    check(
        Profile::Kong,
        &[host(kong("/a"), "*.com"), host(kong("/a"), "a.*")],
        &["0 ties 1"],
    );
    check(
        Profile::Kong,
        &[host(kong("/a"), "*.com"), host(kong("/a"), "b.a.com")],
        &[],
    );
}

#[test]
fn raw_prefixes_that_cut_a_segment_are_told() {
    for profile in ALL {
        check(profile, &[path("/foo*"), path("/foobar")], &["0 cuts 1"]);
        check(profile, &[path("/foobar/{x}"), path("/foo*")], &["1 cuts 0"]);
        check(profile, &[path("/{x}/foo*"), path("/{x}/foobar")], &["0 cuts 1"]);
        check(profile, &[kong("/foo"), kong("~/foob[a-z]+")], &["0 cuts 1"]);
        check(
            profile,
            &[path("/foo*"), path("/foo/bar"), path("/fo"), path("/foo/")],
            &[],
        );
        check(profile, &[path("/foo/*"), path("/foo/bar"), kong("/")], &[]);
        check(
            profile,
            &[
                Rule::any().pattern(Pattern::prefix("/foo").unwrap()),
                path("/foobar"),
            ],
            &[],
        );
        check(
            profile,
            &[
                path("/foo*").method(Method::GET),
                path("/foobar").method(Method::PUT),
            ],
            &[],
        );
    }
}

#[test]
fn a_path_of_several_and_all_of_its_hosts_are_told_of() {
    let several = path("/a").pattern("/b".parse().unwrap());
    let router = router(Profile::PathFirst, [path("/b"), several.clone()]);
    match router.overlaps().as_slice() {
        [Overlap::NeverWins { rule, .. }] => {
            assert_eq!(rule.pattern.as_ref().map(Pattern::as_str), Some("/b"));
        }
        other => panic!("{other:?}"),
    }
    let hosts = |rule: Rule, names: &[&str]| names.iter().fold(rule, |rule, name| host(rule, name));
    for profile in ALL {
        check(
            profile,
            &[
                hosts(path("/a"), &["a.com", "b.com"]),
                hosts(path("/a"), &["b.com", "a.com"]),
            ],
            &["1 behind 0"],
        );
    }
    check(
        Profile::PathFirst,
        &[
            hosts(path("/a"), &["a.com"]),
            hosts(path("/a"), &["b.com", "a.com"]),
        ],
        &[],
    );
}

#[test]
fn of_a_large_table_only_what_lies_along_a_path_is_looked_at() {
    let sizes = ALL.map(|profile| (profile, 5_000)).into_iter();
    for (profile, size) in sizes.chain([(Profile::HostFirst, 100_000)]) {
        for priority in [0, 5] {
            let rules = (0..size).map(|number| {
                let text = match number % 4 {
                    0 => format!("/api/v1/svc{number}/items/{{id}}"),
                    1 => format!("/api/v1/svc{number}/*"),
                    2 => format!("/web/{{user}}/page{number}"),
                    _ => format!("/static/{number}"),
                };
                host(path(&text), &format!("h{}.com", number % 10)).priority(priority * (number % 2))
            });
            let mut table = router(profile, rules);
            for text in [
                "/api/v1/svc77/items/{x}",
                "/web/{x}/page",
                "/api/v2/*",
                "/static/x{y}",
                "/new",
            ] {
                let id = table.insert(host(path(text), "h1.com"), ()).unwrap();
                let (_, looked) = table.overlaps_within(id, NODES, ENTRIES);
                assert!(looked < 40, "{profile:?}: {looked} for {text}");
            }
        }
    }
}

#[test]
fn what_concerns_everything_is_bounded() {
    let rules = (0..20_000).map(|number| path(&format!("/svc{number}/x")));
    let mut table = router(Profile::PriorityFirst, rules);
    let id = table.insert(path("/{x}/x").priority(1), ()).unwrap();
    let (overlaps, looked) = table.overlaps_within(id, 500, 200);
    assert!(
        looked <= 700 && (100..=200).contains(&overlaps.len()),
        "{looked}, {}",
        overlaps.len()
    );
}

#[test]
fn hosts_and_values_do_not_count_at_a_place() {
    let of_host = (0..10_000).map(|number| host(path("/*"), &format!("h{number}.com")));
    let of_value =
        (0..10_000).map(|number| path("/v").condition(Condition::query("v").equals(&number.to_string())));
    let mut table = router(Profile::PathFirst, of_host.chain(of_value));
    let twin = table.insert(host(path("/*"), "h77.com"), ()).unwrap();
    let (overlaps, looked) = table.overlaps_within(twin, NODES, ENTRIES);
    assert_eq!(short(&overlaps), ["20000 behind 77"]);
    assert!(looked < 10, "{looked}");
    let twin = table
        .insert(path("/v").condition(Condition::query("v").equals("77")), ())
        .unwrap();
    let (overlaps, looked) = table.overlaps_within(twin, NODES, ENTRIES);
    assert_eq!(short(&overlaps), ["20001 behind 10077"]);
    assert!(looked < 10, "{looked}");
}

#[test]
fn an_unknown_rule_overlaps_nothing() {
    let mut table = router(Profile::Kong, [Rule::any(), Rule::any()]);
    let id = RuleId::new(1);
    assert_eq!(table.overlaps_of(id).len(), 1);
    table.remove(id);
    assert_eq!(
        (table.overlaps_of(id), table.overlaps()),
        (Vec::new(), Vec::new())
    );
}
